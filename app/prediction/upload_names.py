"""Requests whose instances have the names of the upload that a version was trained on.

Only a request that was refused is read so: one with the task's own names costs nothing more.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import msgspec

from app.errors import Invalid, Problem, pointer
from app.prediction.request_errors import INSTANCE_PLACE, problems_moved, refused_instances
from app.prediction.request_parsing import MAX_INSTANCES
from app.tasks.contract import Task
from app.tasks.series_contract import SeriesTask
from app.typedefs import Json
from app.validation.json_slices import has_too_many_values
from app.validation.schema_errors import msgspec_problem

MAX_RECORDS = 1 << 17  # rows of a request, of all its series
CELL_BYTES = 8
MAX_NAMES_LISTED = 8  # fields of an object, in a message


class NamedRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A request whose instances are objects with any names."""

    instances: list[dict[str, Any]]
    parameters: msgspec.Raw = msgspec.Raw(b"{}")


class ParsedRequest(msgspec.Struct):
    """A request with the task's own instances and parameters.

    `places` has the index that each instance came from, where it is another than its own; `size` is about the
    bytes of the instances, where they are more than those of the body.
    """

    instances: list[Any]
    parameters: Any
    places: Sequence[int] | None = None
    size: int = 0
    dataset: None = None  # as in other requests


def as_it_was_sent(request: Any) -> AbstractContextManager[None]:
    """A context in which problems of the instances point at the objects that they were made of."""
    places = getattr(request, "places", None)

    def move(problem: Problem) -> Problem:
        match = INSTANCE_PLACE.match(problem.pointer)
        if places is None or match is None:
            return problem
        rest = problem.pointer[match.end() :]
        where = f"{rest.removeprefix('/')} of the series: " if rest else ""
        return Problem(pointer("instances", places[int(match["index"])]), f"{where}{problem.detail}")

    return nullcontext() if places is None else problems_moved(move)


_decoder = msgspec.json.Decoder(NamedRequest)


def parse_named_request(task: Task, state: Json, columns: Mapping[str, str], body: bytes) -> Any:
    """The request in a body with the names of an upload; None where it has none of them.

    `columns` are those of the upload, by their canonical names. Raises `Invalid` with pointers.
    """
    if has_too_many_values(body):
        return None
    try:
        request = _decoder.decode(body)
        parameters = msgspec.json.decode(request.parameters, type=task.parameters)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None  # whatever names it has, it is no request
    own = task.instance.__struct_fields__
    canonical = {column: name for name, column in columns.items() if column not in own}
    records = [{canonical.get(name, name): value for name, value in one.items()} for one in request.instances]
    _check_names(task, request.instances, records)
    if isinstance(task, SeriesTask) and any(map(task.record_columns.intersection, records)):
        return _series(task, task, state, records, parameters, _Place(columns, request.instances))
    fields = {name: task.instance_names.get(name, name) for record in records for name in record}
    named = [{fields[name]: value for name, value in record.items()} for record in records]
    if named == request.instances:
        return None
    _check_names(task, request.instances, named)
    instances = _renamed(task, request.instances, named)
    return ParsedRequest(instances, parameters)


def _check_names(task: Task, sent: Sequence[dict[str, Any]], named: Sequence[dict[str, Any]]) -> None:
    """Raise `Invalid` where two fields of an object as it was `sent` have one name now."""
    for index, (before, after) in enumerate(zip(sent, named, strict=True)):
        if len(before) > len(after):
            detail = f"two fields are for one purpose: {', '.join(list(before)[:MAX_NAMES_LISTED])}"
            raise refused_instances(task, [Problem(pointer("instances", index), detail)])


class _Place(NamedTuple):
    """Where in a request its records come from."""

    columns: Mapping[str, str]
    sent: Sequence[dict[str, Any]]

    def move(self, problem: Problem) -> Problem:
        """A problem of the records as one of the request, with the names that were sent."""
        steps = problem.pointer.split("/")
        if len(steps) > 2 and steps[2] in self.columns and steps[2] not in self.sent[int(steps[1])]:
            steps[2] = pointer(self.columns[steps[2]]).removeprefix("/")
        return Problem(f"/instances{'/'.join(steps)}", problem.detail)


def _series(
    task: Task,
    series: SeriesTask,
    state: Json,
    records: Sequence[dict[str, Any]],
    parameters: Any,
    place: _Place,
) -> ParsedRequest:
    """The instances of rows or columns of a table of series."""
    if not 0 < len(records) <= MAX_RECORDS:
        raise refused_instances(task, [Problem("/instances", f"takes 1 to {MAX_RECORDS:,} rows")])
    with problems_moved(place.move):
        made = series.instances_of_records(state, records)
    if len(made) > MAX_INSTANCES:
        raise refused_instances(task, [Problem("/instances", f"takes 1 to {MAX_INSTANCES} series")])
    instances = []
    for one in made:
        try:
            instances.append(msgspec.convert(one.instance, task.instance))
        except msgspec.ValidationError as error:
            problem = msgspec_problem(str(error))
            detail = f"{problem.detail} (of its series, {problem.pointer})"
            raise Invalid(problems=[Problem(pointer("instances", one.first), detail)]) from None
    size = CELL_BYTES * sum(one.cells for one in made)
    return ParsedRequest(instances, parameters, [one.first for one in made], size)


def _renamed(task: Task, sent: Sequence[dict[str, Any]], named: Sequence[dict[str, Any]]) -> list[Any]:
    """The instances of objects whose fields had other names when they were `sent`."""
    if not 0 < len(named) <= MAX_INSTANCES:
        raise refused_instances(task, [Problem("/instances", f"takes 1 to {MAX_INSTANCES} instances")])
    instances = []
    for index, (names, instance) in enumerate(zip(sent, named, strict=True)):
        try:
            instances.append(msgspec.convert(instance, task.instance))
        except msgspec.ValidationError as error:
            place, detail = msgspec_problem(str(error))
            back = dict(zip(instance, names, strict=True))
            _, *steps = place.split("/")
            steps = [back.get(steps[0], steps[0]), *steps[1:]] if steps else []
            raise refused_instances(task, [Problem(pointer("instances", index, *steps), detail)]) from None
    return instances
