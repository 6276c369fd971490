"""Requests whose instances have the names of the upload that a version was trained on.

Only a request that was refused is read so: one with the task's own names costs nothing more.
"""

import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import cache
from typing import Any, NamedTuple

import msgspec

from app.errors import Invalid, Problem, pointer
from app.prediction.request_errors import (
    INSTANCE_PLACE,
    PREDICTION_FIELDS,
    problems_moved,
    refused_instances,
    refused_request,
)
from app.prediction.request_parsing import MAX_INSTANCES, TWO_SOURCES, request_type
from app.tasks import TASKS
from app.tasks.contract import Task
from app.tasks.series_contract import SeriesTask
from app.typedefs import Json
from app.validation.json_slices import has_too_many_values
from app.validation.schema_errors import msgspec_problem

CELL_BYTES = 8
MAX_NAMES_LISTED = 8  # fields of an object, in a message


class RequestLimits(NamedTuple):
    """How much is read as instances."""

    records: int  # rows of all series
    instances: int
    cells: int  # of all series, with those of steps that have no row


REQUEST_LIMITS = RequestLimits(1 << 17, MAX_INSTANCES, 1 << 22)
NO_LIMITS = RequestLimits(sys.maxsize, sys.maxsize, sys.maxsize)  # of what the caller has in memory already


class SentInstances(msgspec.Struct):
    """The instances of a request, objects with any names, whatever is beside them."""

    instances: list[dict[str, Any]]


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


_instances_decoder = msgspec.json.Decoder(SentInstances)


@cache
def _decoder(task_name: str) -> "msgspec.json.Decoder[Any]":
    named = request_type(TASKS[task_name], dict[str, Any], [("dataset", str | None, None)])
    return msgspec.json.Decoder(named)


def parse_named_request(task: Task, state: Json, columns: Mapping[str, str], body: bytes) -> Any:
    """The request in a body with the names of an upload; None where it has none of them.

    `columns` are those of the upload, by their canonical names. Raises `Invalid` with pointers.
    """
    if has_too_many_values(body):
        return None
    read = read_named(Names(task, state, columns), body, _decoder(task.name), PREDICTION_FIELDS)
    if read is None:
        return None
    sent, request = read
    if sent.dataset is not None:
        raise refused_instances(task, [Problem("/dataset", TWO_SOURCES)])
    return request


class Names(NamedTuple):
    """What instances may be named by: a version's task, its state, and the columns of its upload."""

    task: Task
    state: Json
    columns: Mapping[str, str]  # by their canonical names


def read_named(
    names: Names, body: bytes, decoder: "msgspec.json.Decoder[Any]", fields: Sequence[str]
) -> tuple[Any, ParsedRequest] | None:
    """A request as it was sent, and its instances as the task has them; None where it has no such names.

    `decoder` is of a request whose instances are any objects, `fields` are those of the request. Raises
    `Invalid` with pointers.
    """
    try:
        sent = decoder.decode(body)
    except msgspec.ValidationError as error:
        # Only where the instances have such names is it this fault that matters.
        with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            instances = _instances_decoder.decode(body).instances
            if with_own_names(names, instances, names.task.parameters()) is not None:
                raise refused_request(names.task, error, fields) from None
        return None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None  # whatever names it has, it is no request
    request = with_own_names(names, sent.instances, sent.parameters)
    return None if request is None else (sent, request)


def own_names(names: Names) -> dict[str, str]:
    """The canonical name of each column of the upload that is no field of an instance."""
    own = names.task.instance.__struct_fields__
    return {column: name for name, column in names.columns.items() if column not in own}


def with_own_names(
    names: Names, sent: Sequence[dict[str, Any]], parameters: Any, limits: RequestLimits = REQUEST_LIMITS
) -> ParsedRequest | None:
    """The instances of objects that may have the upload's names; None where these are the instance's own.

    Raises `Invalid` with pointers.
    """
    task, columns, canonical = names.task, names.columns, own_names(names)
    records = [{canonical.get(name, name): value for name, value in one.items()} for one in sent]
    _check_names(task, sent, records)
    if isinstance(task, SeriesTask) and any(map(task.record_columns.intersection, records)):
        return _series(names, task, records, parameters, _Place(columns, sent), limits)
    fields = {name: task.instance_names.get(name, name) for record in records for name in record}
    named = [{fields[name]: value for name, value in record.items()} for record in records]
    if named == sent:
        return None
    _check_names(task, sent, named)
    instances = _renamed(task, sent, named, limits)
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
    names: Names,
    series: SeriesTask,
    records: Sequence[dict[str, Any]],
    parameters: Any,
    place: _Place,
    limits: RequestLimits,
) -> ParsedRequest:
    """The instances of rows or columns of a table of series."""
    task, state, _ = names
    if not 0 < len(records) <= limits.records:
        raise refused_instances(task, [Problem("/instances", f"takes 1 to {limits.records:,} rows")])
    with problems_moved(place.move):
        made = series.instances_of_records(state, records, limits.cells)
    if len(made) > limits.instances:
        raise refused_instances(task, [Problem("/instances", f"takes 1 to {limits.instances} series")])
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


def _renamed(
    task: Task, sent: Sequence[dict[str, Any]], named: Sequence[dict[str, Any]], limits: RequestLimits
) -> list[Any]:
    """The instances of objects whose fields had other names when they were `sent`."""
    if not 0 < len(named) <= limits.instances:
        raise refused_instances(task, [Problem("/instances", f"takes 1 to {limits.instances} instances")])
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
