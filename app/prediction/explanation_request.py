"""Requests for the explanation of one prediction: those of predictions with one instance, and a method."""

from functools import cache
from typing import Any, Literal

import msgspec

from app.errors import Invalid, Problem, TooLarge
from app.prediction.request_errors import REQUEST_FIELDS, refused_instances
from app.prediction.request_parsing import MAX_INSTANCE_VALUES, check_number, checked, request_type
from app.tasks import TASKS
from app.tasks.contract import Task
from app.validation.json_slices import count_commas

GRADIENT, INTEGRATED_GRADIENTS = "gradient", "integrated_gradients"  # values of `method`
Method = Literal["gradient", "integrated_gradients"]
EXPLANATION_FIELDS = (*REQUEST_FIELDS, "method")
MAX_EXPLANATION_BYTES = 16 << 20  # of a request
MAX_EXPLAINED_STEPS = 1 << 13  # of the recurrence, that one explanation has


@cache
def _decoder(task_name: str) -> "msgspec.json.Decoder[Any]":
    task = TASKS[task_name]
    return msgspec.json.Decoder(request_type(task, task.instance, [("method", Method, GRADIENT)]))


def parse_explanation_request(task: Task, body: bytes) -> Any:
    """The `instances`, `parameters` and `method` of a JSON request; raises `Invalid`, `TooLarge`."""
    if len(body) > MAX_EXPLANATION_BYTES:
        raise TooLarge(f"A request for an explanation may have {MAX_EXPLANATION_BYTES:,} bytes")
    if len(body) > MAX_INSTANCE_VALUES and count_commas(memoryview(body)) >= MAX_INSTANCE_VALUES:
        problem = Problem("/instances/0", f"an instance may have {MAX_INSTANCE_VALUES:,} values")
        raise Invalid(problem.detail, [problem])
    request = checked(task, body, lambda task, body: _decoder(task.name).decode(body), EXPLANATION_FIELDS)
    check_number(task, request.instances)
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
