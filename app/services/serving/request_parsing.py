"""The `instances` and `parameters` of JSON requests; what is large is parsed in a thread, piece by piece."""

from functools import cache
from typing import Any

import msgspec

from app.errors import Invalid, Problem
from app.services.serving.request_errors import not_json, refused_instances, refused_request
from app.tasks import TASKS
from app.tasks.contract import Task
from app.thread_pools import COMPUTING
from app.validation.json_slices import MAX_JSON_VALUES, SLICE_BYTES, count_commas, has_too_many_values

MAX_INLINE_BYTES = 16 << 10  # of a request that is parsed, encoded and decoded on the event loop
MAX_INSTANCES = 4096  # of one request
MAX_INSTANCE_VALUES = 1 << 20  # of one instance, which is parsed at once
PLACE = " - at `$"  # before the path at the end of msgspec's messages


def _request_type(task: Task, instance: Any) -> Any:
    fields: list[tuple[str, Any, Any]] = [
        ("instances", list[instance], msgspec.NODEFAULT),
        ("parameters", task.parameters, task.parameters()),
    ]
    return msgspec.defstruct("Predict", fields, forbid_unknown_fields=True)


@cache
def _request_decoder(task_name: str) -> "msgspec.json.Decoder[Any]":
    task = TASKS[task_name]
    return msgspec.json.Decoder(_request_type(task, task.instance))


@cache
def _split_decoders(task_name: str) -> "tuple[msgspec.json.Decoder[Any], msgspec.json.Decoder[Any]]":
    """Of a request whose instances are left as they are, and of one instance."""
    task = TASKS[task_name]
    return msgspec.json.Decoder(_request_type(task, msgspec.Raw)), msgspec.json.Decoder(task.instance)


async def parse_request_async(task: Task, body: bytes, seconds: float) -> Any:
    """The same as `parse_request`; what is large in a thread. Raises `DeadlinePassed` after `seconds`."""
    if len(body) <= MAX_INLINE_BYTES:
        return parse_request(task, body)
    return await COMPUTING.run_within(seconds, parse_request, task, body)


def parse_request(task: Task, body: bytes) -> Any:
    """The `instances` and `parameters` of a JSON request; raises `Invalid` with pointers."""
    try:
        request = (
            _parse_pieces(task, body) if len(body) > SLICE_BYTES else _request_decoder(task.name).decode(body)
        )
    except msgspec.ValidationError as error:
        raise refused_request(task, error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise not_json(body, error) from None
    if not 0 < len(request.instances) <= MAX_INSTANCES:
        problem = Problem("/instances", f"takes 1 to {MAX_INSTANCES} instances")
        raise refused_instances(task, [problem])
    return request


def _parse_pieces(task: Task, body: bytes) -> Any:
    """A large request, one instance after the other."""
    if has_too_many_values(body):
        problem = Problem(
            "", f"a request may have {MAX_JSON_VALUES:,} values; split it, or predict a data set"
        )
        raise Invalid(problem.detail, [problem])
    whole, single = _split_decoders(task.name)
    request = whole.decode(body)
    if len(request.instances) <= MAX_INSTANCES:
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
