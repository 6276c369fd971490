"""Writes a version as a model of MLflow: a directory that predicts without Recurra, a server, or torch.

MLflow itself is not needed to write it. The model has the version's files, the code of its task and of ONNX
Runtime's engines, and the list of the packages that these import. Nothing is pickled.
"""

import json
import shutil
import sys
import uuid
from collections.abc import Iterator
from importlib.metadata import version as package_version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from app.cli.parameter_kinds import value_kinds
from app.tasks import TASKS
from app.tasks.contract import Task
from app.times import rfc3339
from app.typedefs import Json

LOADER = "workers.batch.pyfunc"
ARTIFACT, CODE = "artifact", "code"  # directories of the model
# Modules of the service that no prediction needs.
LEFT_OUT = {
    "app": {
        "api", "cli", "samples", "services", "database", "ingest", "main.py", "server.py", "connections.py",
    },
    "workers": {
        "artifact", "diagnostics", "evaluation", "explanation", "inputs", "jobs", "nn", "outputs", "serving",
        "sweeps", "training", "main.py",
    },
}  # fmt: skip
PACKAGES = (  # that the others import, as they are installed here
    "av", "backports.zstd", "kaldi-native-fbank", "msgspec", "numpy", "obstore", "onnxruntime", "orjson",
    "pydantic", "soundfile", "soxr", "symusic", "tokenizers",
)  # fmt: skip
STREAM = "stream"  # a parameter of answers that come in pieces
MLFLOW_TYPES: dict[type, str] = {
    msgspec.inspect.IntType: "long",
    msgspec.inspect.FloatType: "double",
    msgspec.inspect.StrType: "string",
    msgspec.inspect.BoolType: "boolean",
}
MLMODEL_FORMAT = "3.0.0"  # of MLflow, whose later versions read it


def write(directory: Path, artifact: Path, version: Json, now: float) -> None:
    """Write the model of a version, whose files are in `artifact`, into an empty directory."""
    shutil.copytree(artifact, directory / ARTIFACT)
    for package in LEFT_OUT:
        _copy_code(package, directory / CODE / package)
    pins = [f"{name}=={package_version(name)}" for name in PACKAGES if _is_installed(name)]
    python = ".".join(map(str, sys.version_info[:3]))
    (directory / "requirements.txt").write_text("\n".join(["mlflow", *pins]) + "\n")
    _write_yaml(directory / "python_env.yaml", {"python": python, "dependencies": ["-r requirements.txt"]})
    conda: Json = {
        "name": "mlflow-env",
        "channels": ["conda-forge"],
        "dependencies": [f"python={python}", "pip", {"pip": ["mlflow", *pins]}],
    }
    _write_yaml(directory / "conda.yaml", conda)
    _write_yaml(directory / "MLmodel", _description(version, python, now))


def _description(version: Json, python: str, now: float) -> Json:
    parameters = _parameter_specs(TASKS[version["task"]])
    signature = {"signature": {"params": json.dumps(parameters)}} if parameters else {}
    return signature | {
        "flavors": {
            "python_function": {
                "loader_module": LOADER,
                "data": ARTIFACT,
                "code": CODE,
                "config": {"parameters": {}},
                "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
                "python_version": python,
            }
        },
        "mlflow_version": MLMODEL_FORMAT,
        "model_uuid": uuid.uuid4().hex,
        "utc_time_created": rfc3339(now).replace("T", " ").replace("Z", ""),
        "metadata": {
            "recurra": {name: version[name] for name in ("model", "version", "task", "job", "sha256")},
            "metrics": version["metrics"],
            "baseline": version["baseline"],
        },
    }


def _parameter_specs(task: Task) -> list[Json]:
    """The parameters of a task's requests as those of a signature, without which MLflow takes none.

    MLflow passes the defaults of what nobody sets: null, so that the task's own hold, or those of
    `model_config`. For a list, which cannot be null, it is an empty one.
    """
    specs = list[Json]()
    for field in msgspec.structs.fields(task.parameters):
        kinds = value_kinds(msgspec.inspect.type_info(field.type))
        listed = next((one for one in kinds if isinstance(one, msgspec.inspect.ListType)), None)
        scalar = kinds[0] if listed is None else listed.item_type
        unset: Json = {"default": None, "shape": None} if listed is None else {"default": [], "shape": [-1]}
        if field.name != STREAM:
            specs.append({"name": field.name, "type": MLFLOW_TYPES[type(scalar)], **unset})
    return specs


def _copy_code(package: str, target: Path) -> None:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"the package {package} is not installed")
    root = Path(spec.submodule_search_locations[0])
    for path in _sources(root, LEFT_OUT[package]):
        copied = target / path.relative_to(root)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copied)


def _sources(root: Path, left_out: set[str]) -> Iterator[Path]:
    for path in sorted(root.rglob("*.py")):
        if path.relative_to(root).parts[0] not in left_out:
            yield path


def _is_installed(name: str) -> bool:
    try:
        package_version(name)
    except ImportError:
        return False
    return True


def _write_yaml(path: Path, value: Any) -> None:
    """Write JSON, which is YAML as well."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
