"""The OpenAPI document completed: raw routes, schemas by task, the errors of each interface, and examples."""

from collections.abc import Iterable
from typing import Any

import msgspec

from app.api import protocol_schemas, response_schemas
from app.api.openapi.tasks import job_examples, predict_examples, task_components
from app.api.problems import COMPONENTS, error_responses
from app.api.response_schemas import REF, reference
from app.schemas import TASK_NAME_SCHEMA, JobIn
from app.services.nixtla.requests import NixtlaCrossValidationIn, NixtlaForecastIn
from app.services.sweeps.search import SweepIn
from app.typedefs import Json

BODY_ERRORS = ("409", "413", "415")  # of operations with a body
FURTHER_ERRORS = {
    "create_dataset": ("507",),
    "predict": ("429", "504"),
    "explain": ("429", "504"),
    "listen": ("429", "504"),
    "predict_nixtla_series": ("429", "504"),
    "predict_nixtla_windows": ("429", "504"),
}
FRAMEWORK_COMPONENTS = ("HTTPValidationError", "ValidationError")  # errors as FastAPI would answer them
CHANGING = ("post", "put", "delete")  # methods that the present state, or the origin of a page, may forbid


def complete_document(document: Json, raw: Iterable[tuple[str, Json]]) -> None:
    """Add to FastAPI's document what it does not know; `raw` are paths with their operations for POST."""
    for path, operation in raw:
        document["paths"].setdefault(path, {})["post"] = operation
    components = document.setdefault("components", {}).setdefault("schemas", {})
    components |= task_components() | _response_components() | COMPONENTS
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _complete_operation(path, method, operation)
    _add_examples(document["paths"])
    for name in FRAMEWORK_COMPONENTS:
        components.pop(name, None)
    for part in ("components", "paths"):
        document[part] = _with_task_references(document[part])
    document["components"]["schemas"]["TaskName"] = TASK_NAME_SCHEMA | {
        "description": "A kind of sequence learning."
    }


def _response_components() -> Json:
    modules = (response_schemas, protocol_schemas)
    kinds = [
        kind for module in modules for kind in vars(module).values() if hasattr(kind, "__struct_fields__")
    ]
    kinds += [NixtlaForecastIn, NixtlaCrossValidationIn]
    _, components = msgspec.json.schema_components(kinds, ref_template=REF + "{name}")
    return components


def _complete_operation(path: str, method: str, operation: Json) -> None:
    """Add the summary and the errors of an operation."""
    name = operation.get("operationId", "")
    operation["summary"] = name.replace("_", " ").capitalize()
    statuses = {"404", "421", "422", "500", "503", *FURTHER_ERRORS.get(name, ())}
    statuses |= set(BODY_ERRORS) if "requestBody" in operation else set()
    statuses |= {"403", "409"} if method in CHANGING else set()
    operation["responses"].pop("422", None)  # FastAPI's own
    for status, response in error_responses(path, statuses).items():
        operation["responses"].setdefault(status, response)
    operation["responses"] = dict(sorted(operation["responses"].items()))


def _add_examples(paths: Json) -> None:
    requests = {
        "/v1/jobs": job_examples(JobIn),
        "/v1/sweeps": job_examples(SweepIn),
        "/v1/models/{name}/predict": predict_examples(),
        "/v1/models/{name}/explain": predict_examples(),
    }
    for path, examples in requests.items():
        if path in paths:
            paths[path]["post"]["requestBody"]["content"]["application/json"]["examples"] = examples


def _with_task_references(value: Any) -> Any:
    """The same document with one schema for the names of tasks, so that clients get one type."""
    if isinstance(value, list):
        return [_with_task_references(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    if value.get("enum") == TASK_NAME_SCHEMA["enum"]:
        others = {name: inner for name, inner in value.items() if name not in (*TASK_NAME_SCHEMA, "title")}
        return reference("TaskName") | others
    return {name: _with_task_references(inner) for name, inner in value.items()}
