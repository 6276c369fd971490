"""The `instances` and `parameters` of JSON requests; what is large is parsed piece by piece."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import msgspec

from app.errors import Invalid, Problem
from app.prediction.request_errors import (
    PREDICTION_FIELDS,
    not_json,
    refused_instances,
    refused_request,
)
from app.tasks import TASKS
from app.tasks.contract import Task
from app.validation.json_slices import MAX_JSON_VALUES, SLICE_BYTES, count_commas, has_too_many_values

MAX_INLINE_BYTES = 16 << 10  # of a request that is parsed, encoded and decoded on the event loop
MAX_INSTANCES = 4096  # of one request
MAX_INSTANCE_VALUES = 1 << 20  # of one instance, which is parsed at once
PLACE = " - at `$"  # before the path at the end of msgspec's messages
NO_INSTANCES = "has neither `instances` nor a `dataset`"
TWO_SOURCES = "name instances or a data set, not both"


def request_type(
    task: Task,
    instance: Any,
    others: Sequence[tuple[str, Any, Any]] = (),
    default: Any = msgspec.NODEFAULT,
) -> Any:
    """The type of a request; `others` are further fields, each with its type and its default.

    `default` is what `instances` are where a request has none; by default it needs some.
    """
    instances: Any = list[instance]
    fields: list[tuple[str, Any, Any]] = [
        ("instances", instances if default is msgspec.NODEFAULT else instances | msgspec.UnsetType, default),
        ("parameters", task.parameters, task.parameters()),
        *others,
    ]
    return msgspec.defstruct("Predict", fields, forbid_unknown_fields=True)


def _prediction_type(task: Task, instance: Any) -> Any:
    """The type of a request for predictions, of instances or of a data set."""
    return request_type(task, instance, [("dataset", str | None, None)], msgspec.UNSET)


@cache
def _request_decoder(task_name: str) -> "msgspec.json.Decoder[Any]":
    task = TASKS[task_name]
    return msgspec.json.Decoder(_prediction_type(task, task.instance))


@cache
def _split_decoders(task_name: str) -> "tuple[msgspec.json.Decoder[Any], msgspec.json.Decoder[Any]]":
    """Of a request whose instances are left as they are, and of one instance."""
    task = TASKS[task_name]
    return msgspec.json.Decoder(_prediction_type(task, msgspec.Raw)), msgspec.json.Decoder(task.instance)


def parse_request(task: Task, body: bytes) -> Any:
    """The `instances` and `parameters` of a JSON request, or its `dataset`; raises `Invalid` with pointers.

    A request for a data set has no instances.
    """
    if len(body) > SLICE_BYTES:
        return _with_source(task, checked(task, body, _parse_pieces, PREDICTION_FIELDS))
    return _with_source(task, checked(task, body, _decode, PREDICTION_FIELDS))


def split_request(task: Task, body: bytes) -> Any:
    """The same, but each instance stays the JSON that it is; only what is around them is checked."""
    return _with_source(task, checked(task, body, _split, PREDICTION_FIELDS))


def _decode(task: Task, body: bytes) -> Any:
    return _request_decoder(task.name).decode(body)


def _split(task: Task, body: bytes) -> Any:
    return _split_decoders(task.name)[0].decode(body)


def _with_source(task: Task, request: Any) -> Any:
    """A request with a list of instances, which is empty where it names a data set."""
    if request.instances is not msgspec.UNSET:
        if request.dataset is not None:
            raise refused_instances(task, [Problem("/dataset", TWO_SOURCES)])
        check_number(task, request.instances)
        return request
    if request.dataset is None:
        raise refused_instances(task, [Problem("", NO_INSTANCES)])
    request.instances = []
    return request


def check_number(task: Task, instances: Sequence[Any]) -> None:
    """Raise `Invalid` for more or fewer instances than a request may have."""
    if not 0 < len(instances) <= MAX_INSTANCES:
        raise refused_instances(task, [Problem("/instances", f"takes 1 to {MAX_INSTANCES} instances")])


def checked(task: Task, body: bytes, parse: Callable[[Task, bytes], Any], fields: Sequence[str]) -> Any:
    """A request with these fields as `parse` reads it from a body; raises `Invalid` with pointers."""
    try:
        return parse(task, body)
    except msgspec.ValidationError as error:
        raise refused_request(task, error, fields) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise not_json(body, error) from None


def _parse_pieces(task: Task, body: bytes) -> Any:
    """A large request, one instance after the other."""
    if has_too_many_values(body):
        problem = Problem(
            "", f"a request may have {MAX_JSON_VALUES:,} values; split it, or predict a data set"
        )
        raise Invalid(problem.detail, [problem])
    whole, single = _split_decoders(task.name)
    request = whole.decode(body)
    if request.instances is not msgspec.UNSET and len(request.instances) <= MAX_INSTANCES:
        for index, instance in enumerate(request.instances):
            request.instances[index] = _parse_instance(single, index, instance)
    return request


def _parse_instance(decoder: "msgspec.json.Decoder[Any]", index: int, text: msgspec.Raw) -> Any:
    if len(text) > MAX_INSTANCE_VALUES and count_commas(memoryview(text)) >= MAX_INSTANCE_VALUES:
        problem = Problem(f"/instances/{index}", f"an instance may have {MAX_INSTANCE_VALUES:,} values")
        raise Invalid(problem.detail, [problem])
    try:
        return decoder.decode(text)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(PLACE)
        raise msgspec.ValidationError(f"{message}{PLACE}.instances[{index}]{path or '`'}") from None
