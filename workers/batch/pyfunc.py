"""A version outside of a service, as a `python_function` of MLflow: ONNX Runtime, and the code of its task.

MLflow calls `_load_pyfunc` by its name. `recurra models export --mlflow` writes models that name this module,
and the code that it needs beside it.
"""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import orjson

from app.errors import Invalid, Problem, pointer
from app.tasks import TASKS
from app.tasks.contract import Instances, bytes_to_json
from app.typedefs import Json
from workers.batch.predict import InstancePredictor
from workers.inference.artifact_cache import verify_artifact
from workers.inference.engines import open_onnx


class ExportedVersion:
    """A version that was exported: `predict` gives a prediction, as JSON, for each instance."""

    def __init__(self, directory: Path, parameters: Json | None = None) -> None:
        """Load the files of an artifact; `parameters` are those of all predictions."""
        verify_artifact(directory, None)
        manifest = orjson.loads((directory / "manifest.json").read_bytes())
        self._task, self._state = TASKS[manifest["task"]], manifest["state"]
        self._parameters = parameters or {}
        self._engine = open_onnx(directory, "cpu")

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> list[Json]:
        """Predict instances: a DataFrame with a row for each, a list of objects, or one object.

        Raises `Invalid` with a pointer to the instance that cannot be predicted.
        """
        rows = _records(model_input)
        if not rows:
            return []
        parameters = msgspec.convert({**self._parameters, **(params or {})}, self._task.parameters)
        instances = [self._read(index, row) for index, row in enumerate(rows)]
        predictor = InstancePredictor(self._task, self._state, parameters, self._engine, lambda: False)
        results = [result for _, result in predictor.predict(_Listed(instances), range(len(rows)), _ignore)]
        for index, result in enumerate(results):
            if result.error is not None:
                raise _refused(index, result.error["pointer"], result.error["detail"])
        lines = orjson.dumps(
            [result.prediction for result in results], bytes_to_json, orjson.OPT_SERIALIZE_NUMPY
        )
        predictions: list[Json] = orjson.loads(lines)
        return predictions

    def _read(self, index: int, row: Json) -> Any:
        """An instance; columns may have the names of a data set."""
        named = {self._task.instance_names.get(name, name): value for name, value in row.items()}
        try:
            return msgspec.convert(named, self._task.instance)
        except msgspec.ValidationError as error:
            raise _refused(index, "", str(error)) from None


class _Listed(Instances):
    """Instances that are in memory."""

    def __init__(self, instances: Sequence[Any]) -> None:
        self._instances = instances

    def __len__(self) -> int:
        return len(self._instances)

    def __getitem__(self, index: int) -> Any:
        return self._instances[index]


def _refused(index: int, place: str, detail: str) -> Invalid:
    where = f"{pointer('instances', index)}{place}"
    return Invalid(f"{where}: {detail}", [Problem(where, detail)])


def _ignore(_: int) -> None:
    """Nobody is told how many are done."""


def _records(model_input: Any) -> list[Json]:
    """The instances as JSON; cells of a DataFrame without a value are left out."""
    if hasattr(model_input, "to_dict"):
        model_input = model_input.to_dict(orient="records")
    rows = [model_input] if isinstance(model_input, Mapping) else list(model_input)
    return [
        {str(name): _plain(value) for name, value in row.items() if not _is_missing(value)} for row in rows
    ]


def _plain(value: Any) -> Any:
    """Arrays of NumPy as lists; what was missing within them is null."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list):
        return [None if _is_missing(one) else _plain(one) for one in value]
    return value


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _load_pyfunc(path: str, model_config: Mapping[str, Any] | None = None) -> ExportedVersion:
    """The version in a directory, for MLflow; `model_config` may have `parameters`."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    return ExportedVersion(Path(path), dict((model_config or {}).get("parameters") or {}))
