"""What is wrong with a request for predictions, told with the names that the model's task knows."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import msgspec

from app.errors import Invalid, Problem, describe_problems
from app.tasks.contract import Task
from app.typedefs import Json
from app.validation.json_text import json_problem
from app.validation.names import unknown_name
from app.validation.schema_errors import UNKNOWN_FIELD, msgspec_problem

REQUEST_FIELDS = ("instances", "parameters")
PREDICTION_FIELDS = (*REQUEST_FIELDS, "dataset")
QUERY_FIELDS = ("version", "alias")
MAX_DIAGNOSED_BYTES = 1 << 18  # of a body that is read once more to say where it is no JSON
INSTANCE_PLACE = re.compile(r"/instances/(?P<index>[0-9]+)")


def not_json(body: bytes | memoryview, error: Exception) -> Invalid:
    """The error for a body that its parser refused as JSON."""
    if len(body) > MAX_DIAGNOSED_BYTES:
        return Invalid(f"The body is not JSON: {error}", [Problem("", f"not JSON: {error}")])
    problem = json_problem(bytes(body), str(error))
    if problem.pointer:
        return Invalid(problems=[problem])
    return Invalid(f"The body is not JSON: {problem.detail}", [Problem("", f"not JSON: {problem.detail}")])


def refused_request(
    task: Task, error: msgspec.ValidationError, fields: Sequence[str] = REQUEST_FIELDS
) -> Invalid:
    """The error for a JSON request that is not one of this task; `fields` are those that a request has."""
    problem = msgspec_problem(str(error))
    if match := UNKNOWN_FIELD.search(problem.detail):
        problem = problem._replace(detail=_unknown_field(task, problem.pointer, match["name"], fields))
    return refused_instances(task, [problem])


def refused_instances(task: Task, problems: list[Problem]) -> Invalid:
    """The error for problems of a request, which also says what the task's instances and parameters are."""
    reason = describe_problems(problems)
    end = "" if reason.endswith((".", "?", ")")) else "."
    return Invalid(f"{reason}{end} {describe_request(task)}", problems)


@contextmanager
def request_described(task: Task) -> Iterator[None]:
    """Let what refuses instances or parameters inside also say what the task's are."""
    try:
        yield
    except Invalid as error:
        if not error.problems:
            raise
        raise refused_instances(task, error.problems) from None


@contextmanager
def problems_moved(move: Callable[[Problem], Problem]) -> Iterator[None]:
    """Let what refuses instances inside point at where they came from."""
    try:
        yield
    except Invalid as error:
        if not error.problems:
            raise
        raise Invalid(problems=[move(problem) for problem in error.problems]) from None


def describe_request(task: Task) -> str:
    """A sentence with the fields of the task's instances and parameters."""
    fields = msgspec.structs.fields(task.instance)
    needed = [field.name for field in fields if field.required]
    names = [field.name if field.name in needed or not needed else f"{field.name}?" for field in fields]
    sentence = f"This is a {task.name} model: an instance has {_join(names)}"
    parameters = task.parameters.__struct_fields__
    return f"{sentence}; parameters are {_join(parameters)}." if parameters else f"{sentence}."


def _join(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _unknown_field(task: Task, place: str, name: str, fields: Sequence[str] = REQUEST_FIELDS) -> str:
    """The sentence about a field that is unknown in the object at a pointer."""
    parameters = task.parameters.__struct_fields__
    places: Json = {
        "the request": fields,
        "`instances`": task.instance.__struct_fields__,
        "`parameters`": parameters,
        "the query of the address": QUERY_FIELDS,
    }
    here = {"": "the request", "/parameters": "`parameters`"}.get(place, "`instances`")
    known = places.pop(here)
    return unknown_name("field", name, known, places)


def parameter_reason(task: Task, message: str) -> str:
    """What msgspec's message about the task's parameters says, with the name that was probably meant."""
    match = UNKNOWN_FIELD.search(message)
    return message if match is None else _unknown_field(task, "/parameters", match["name"])
