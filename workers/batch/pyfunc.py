"""A version outside of a service, as a `python_function` of MLflow: ONNX Runtime, and the code of its task.

MLflow calls `_load_pyfunc` by its name. `recurra models export --mlflow` writes models that name this module,
and the code that it needs beside it.
"""

import math
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import orjson

from app.errors import Invalid, Problem, pointer
from app.prediction.upload_names import (
    NO_LIMITS,
    Names,
    ParsedRequest,
    as_it_was_sent,
    own_names,
    with_own_names,
)
from app.tasks import TASKS
from app.tasks.contract import Instances, bytes_to_json
from app.tasks.series_contract import SeriesTask
from app.typedefs import Json
from workers.batch.predict import InstancePredictor
from workers.inference.artifact_cache import verify_artifact
from workers.inference.engines import open_onnx

MISSING_TYPES = ("NaTType", "NAType")  # of pandas


class ExportedVersion:
    """A version that was exported: `predict` gives a prediction, as JSON, for each instance."""

    def __init__(self, directory: Path, parameters: Json | None = None) -> None:
        """Load the files of an artifact; `parameters` are those of all predictions."""
        verify_artifact(directory, None)
        manifest = orjson.loads((directory / "manifest.json").read_bytes())
        self._task, self._state = TASKS[manifest["task"]], manifest["state"]
        self._series = self._task if isinstance(self._task, SeriesTask) else None
        self._names = Names(self._task, self._state, manifest.get("columns", {}))
        self._parameters = parameters or {}
        self._engine = open_onnx(directory, "cpu")

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> Any:
        """Predict instances: a DataFrame with a row for each, a list of objects, or one object.

        Series may be rows of a table in long form; of a DataFrame of these the result is one, too, with a row
        for each step. Names may be those of the upload. `params` that are None or empty lists are left out:
        MLflow passes all that there are. Raises `Invalid` with a pointer to what cannot be predicted.
        """
        rows = _records(model_input)
        if not rows:
            return []
        request = self._request(rows, params or {})
        with as_it_was_sent(request):
            predictions = self._predictions(request.instances, request.parameters)
        if request.places is None or self._series is None or not _is_frame(model_input):
            return predictions
        firsts = [rows[place] for place in request.places]
        return self._as_frame(self._series, model_input, firsts, predictions)

    def _request(self, rows: list[Json], params: Mapping[str, Any]) -> ParsedRequest:
        """The instances of rows, in which missing cells are None, and the parameters."""
        chosen = {name: value for name, value in params.items() if value is not None and value != []}
        parameters = msgspec.convert({**self._parameters, **chosen}, self._task.parameters)
        known = [{name: cell for name, cell in row.items() if cell is not None} for row in rows]
        sent = known if self._series is None else rows
        request = with_own_names(self._names, sent, parameters, NO_LIMITS)
        if request is not None:
            return request
        return ParsedRequest([self._read(index, row) for index, row in enumerate(known)], parameters)

    def _predictions(self, instances: Sequence[Any], parameters: Any) -> list[Json]:
        predictor = InstancePredictor(self._task, self._state, parameters, self._engine, lambda: False)
        answers = predictor.predict(_Listed(instances), range(len(instances)), _ignore)
        results = [result for _, result in answers]
        for index, result in enumerate(results):
            if result.error is not None:
                raise _refused(index, result.error["pointer"], result.error["detail"])
        lines = orjson.dumps(
            [result.prediction for result in results], bytes_to_json, orjson.OPT_SERIALIZE_NUMPY
        )
        predictions: list[Json] = orjson.loads(lines)
        return predictions

    def _read(self, index: int, row: Json) -> Any:
        try:
            return msgspec.convert(row, self._task.instance)
        except msgspec.ValidationError as error:
            raise _refused(index, "", str(error)) from None

    def _as_frame(self, task: SeriesTask, frame: Any, rows: list[Json], predictions: list[Json]) -> Any:
        """The predictions of series as a frame like that of their rows, of which `rows` has the first."""
        names = own_names(self._names)
        back = {canonical: name for name, canonical in names.items() if name in rows[0]}
        columns: dict[str, list[Any]] = {}
        for row, prediction in zip(rows, predictions, strict=True):
            record = {names.get(name, name): cell for name, cell in row.items()}
            for name, cells in task.prediction_columns(record, prediction).items():
                columns.setdefault(back.get(name, name), []).extend(cells)
        return _like(frame, columns)


class _Listed(Instances):
    """Instances that are in memory."""

    def __init__(self, instances: Sequence[Any]) -> None:
        self._instances = instances

    def __len__(self) -> int:
        return len(self._instances)

    def __getitem__(self, index: int) -> Any:
        return self._instances[index]


def _refused(index: int, place: str, detail: str) -> Invalid:
    where = place if place.startswith("/parameters") else f"{pointer('instances', index)}{place}"
    return Invalid(f"{where}: {detail}", [Problem(where, detail)])


def _ignore(_: int) -> None:
    """Nobody is told how many are done."""


def _is_frame(model_input: Any) -> bool:
    """Whether it is a DataFrame of pandas, which is not imported where nobody has one."""
    return hasattr(model_input, "to_dict") and hasattr(model_input, "columns")


def _records(model_input: Any) -> list[Json]:
    """Rows or objects as JSON; cells without a value are None."""
    if _is_frame(model_input):
        model_input = model_input.to_dict(orient="records")
    rows = [model_input] if isinstance(model_input, Mapping) else list(model_input)
    return [{str(name): _plain(value) for name, value in row.items()} for row in rows]


def _plain(value: Any) -> Any:
    """Arrays of NumPy as lists, time stamps as texts; what was missing, within lists too, is null."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list):
        return [None if _is_missing(one) else _plain(one) for one in value]
    if _is_missing(value):
        return None
    if hasattr(value, "to_timestamp"):  # a period of pandas
        value = value.to_timestamp()
    return value.isoformat() if hasattr(value, "isoformat") else value


def _is_missing(value: Any) -> bool:
    """Whether it is None, NaN or one of pandas' own, which is not even equal to itself."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    return type(value).__name__ in MISSING_TYPES


def _like(frame: Any, columns: dict[str, list[Any]]) -> Any:
    """A frame of these columns; those that `frame` has are of its types, where they can be."""
    made = type(frame)(columns)
    for name in columns:
        if name in frame.columns:
            with suppress(ValueError, TypeError):
                made[name] = made[name].astype(frame[name].dtype)
    return made


def _load_pyfunc(path: str, model_config: Mapping[str, Any] | None = None) -> ExportedVersion:
    """The version in a directory, for MLflow; `model_config` may have `parameters`."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    return ExportedVersion(Path(path), dict((model_config or {}).get("parameters") or {}))
