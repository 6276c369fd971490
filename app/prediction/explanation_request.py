"""Requests for the explanation of one prediction: those of predictions with one instance, and a method."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

import msgspec

from app.errors import Invalid, Problem, TooLarge
from app.prediction.request_errors import REQUEST_FIELDS, refused_instances
from app.prediction.request_parsing import MAX_INSTANCE_VALUES, check_number, checked, request_type
from app.prediction.upload_names import Names, ParsedRequest, read_named
from app.tasks import TASKS
from app.tasks.contract import Task
from app.typedefs import Json
from app.validation.json_slices import count_commas

GRADIENT, INTEGRATED_GRADIENTS = "gradient", "integrated_gradients"  # values of `method`
Method = Literal["gradient", "integrated_gradients"]
EXPLANATION_FIELDS = (*REQUEST_FIELDS, "method")
MAX_EXPLANATION_BYTES = 16 << 20  # of a request
MAX_EXPLAINED_STEPS = 1 << 13  # of the recurrence, that one explanation has


class ParsedExplanationRequest(ParsedRequest, kw_only=True):
    """A request that had other names, with the task's own instance and parameters."""

    method: Method


@cache
def _decoder(task_name: str, *, named: bool) -> "msgspec.json.Decoder[Any]":
    """Of a request with the task's own instance; `named` of one with an object that has any names."""
    task = TASKS[task_name]
    instance = dict[str, Any] if named else task.instance
    return msgspec.json.Decoder(request_type(task, instance, [("method", Method, GRADIENT)]))


def _decode(task: Task, body: bytes) -> Any:
    return _decoder(task.name, named=False).decode(body)


def parse_explanation_request(task: Task, body: bytes) -> Any:
    """The `instances`, `parameters` and `method` of a JSON request; raises `Invalid`, `TooLarge`."""
    if len(body) > MAX_EXPLANATION_BYTES:
        raise TooLarge(f"A request for an explanation may have {MAX_EXPLANATION_BYTES:,} bytes")
    if len(body) > MAX_INSTANCE_VALUES and count_commas(memoryview(body)) >= MAX_INSTANCE_VALUES:
        problem = Problem("/instances/0", f"an instance may have {MAX_INSTANCE_VALUES:,} values")
        raise Invalid(problem.detail, [problem])
    request = checked(task, body, _decode, EXPLANATION_FIELDS)
    check_number(task, request.instances)
    return _of_one_instance(task, request)


def read_explanation_request(task: Task, state: Json, columns: Mapping[str, str], body: bytes) -> Any:
    """The same, of an instance that may have the names of an upload with these `columns`.

    Of a series it may be rows of the table; problems that encoding finds are then those of
    `as_it_was_sent(request)`.
    """
    try:
        return parse_explanation_request(task, body)
    except Invalid:
        named = _parse_named(Names(task, state, columns), body)
        if named is None:
            raise
        return _of_one_instance(task, named)


def _parse_named(names: Names, body: bytes) -> ParsedExplanationRequest | None:
    if count_commas(memoryview(body)) >= MAX_INSTANCE_VALUES:
        return None
    read = read_named(names, body, _decoder(names.task.name, named=True), EXPLANATION_FIELDS)
    if read is None:
        return None
    sent, request = read
    return ParsedExplanationRequest(
        request.instances, request.parameters, request.places, request.size, method=sent.method
    )


def _of_one_instance(task: Task, request: Any) -> Any:
    if len(request.instances) != 1:
        detail = f"an explanation is of one instance, not of {len(request.instances):,}"
        raise refused_instances(task, [Problem("/instances", detail)])
    if getattr(request.parameters, "stream", False):
        detail = "an explanation cannot be streamed"
        raise refused_instances(task, [Problem("/parameters/stream", detail)])
    return request


def check_steps(steps: int) -> None:
    """Raise `Invalid` for an instance with more steps than an explanation has."""
    if steps > MAX_EXPLAINED_STEPS:
        detail = f"has {steps:,} steps; an explanation takes at most {MAX_EXPLAINED_STEPS:,}"
        raise Invalid(problems=[Problem("/instances/0", detail)])
