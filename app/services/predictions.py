"""Predictions: which version answers, and the way from a request's bytes to an answer's bytes."""

import asyncio
import re
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec
import orjson
from sqlalchemy.exc import SQLAlchemyError

from app.db import Sessions
from app.errors import AppError, Invalid, NotFound, Problem, pointer
from app.lanes import Answer, Lane
from app.services import models
from app.storage import Storage
from app.tasks import TASKS
from app.tasks.base import Example, Json, Task

FRESH = 1.0  # seconds a resolved name is believed; a move in another process is seen within it
ROUTES, STATES = 4096, 512  # entries kept
INLINE = 4  # more instances than this are encoded and decoded off the event loop
MAX_INSTANCES = 4096
PLACE = re.compile(r" - at `\$(?P<path>[^`]*)`$")
STEP = re.compile(r"\.([^.\[\]]+)|\[([^\]]*)\]")


@dataclass(frozen=True)
class Route:
    """A version that can answer: where its files are and what its task needs to know."""

    model: str
    version: int
    task: Task
    artifact: str
    state: Json


@dataclass(frozen=True)
class Wanted:
    """How a request names a version."""

    model: str
    version: int | None
    alias: str | None


class Catalog:
    """Resolves names without the database on the way of each request; an outage leaves the last answer."""

    def __init__(self, readers: Sessions, storage: Storage) -> None:
        self._readers = readers
        self._storage = storage
        self._routes: OrderedDict[Wanted, tuple[float, Route]] = OrderedDict()
        self._states: OrderedDict[str, Json] = OrderedDict()
        self._moves = 0  # how often names were forgotten
        self._lock = threading.Lock()  # aliases move in threads, and an OrderedDict bears no two writers

    async def route(self, wanted: Wanted) -> Route:
        """The version to answer with; raises `NotFound`."""
        found, now, moves = self._routes.get(wanted), time.monotonic(), self._moves
        if found is not None and now - found[0] < FRESH:
            return found[1]
        try:
            route = await asyncio.to_thread(self._resolve, wanted)
        except SQLAlchemyError:
            if found is None:
                raise
            route = found[1]
        except AppError:
            with self._lock:
                self._routes.pop(wanted, None)
            raise
        with self._lock:
            if moves == self._moves:  # else it may have been read before the move
                _keep(self._routes, wanted, (now, route), ROUTES)
        return route

    def forget(self, model: str) -> None:
        """Look a model's names up again: an alias was moved here."""
        with self._lock:
            self._moves += 1
            for wanted in [key for key in self._routes if key.model == model]:
                del self._routes[wanted]

    def _resolve(self, wanted: Wanted) -> Route:
        with self._readers() as session:
            row = models.resolve(session, wanted.model, wanted.version, wanted.alias)
        task = TASKS.get(row.task)
        if task is None:
            raise NotFound(f"The model {row.model} is for {row.task}, a task this server does not have")
        return Route(row.model, row.version, task, row.artifact, self._state(row.artifact))

    def _state(self, artifact: str) -> Json:
        state = self._states.get(artifact)
        if state is None:
            manifest = orjson.loads(b"".join(self._storage.read(f"{artifact}/manifest.json")))
            state = manifest["state"]
            with self._lock:
                _keep(self._states, artifact, state, STATES)
        return state


def _keep(entries: "OrderedDict[Any, Any]", key: object, value: object, bound: int) -> None:
    entries[key] = value
    entries.move_to_end(key)
    while len(entries) > bound:
        entries.popitem(last=False)


@cache
def _decoder(name: str) -> "msgspec.json.Decoder[Any]":
    task = TASKS[name]
    fields: list[tuple[str, Any, Any]] = [
        ("instances", list[task.instance], msgspec.NODEFAULT),  # type: ignore[name-defined]
        ("parameters", task.parameters, task.parameters()),
    ]
    return msgspec.json.Decoder(msgspec.defstruct("Predict", fields, forbid_unknown_fields=True))


def parse(task: Task, body: bytes) -> Any:
    """The request's instances and parameters; raises `Invalid` with a pointer at the bad element."""
    try:
        request = _decoder(task.name).decode(body)
    except msgspec.ValidationError as error:
        raise Invalid(problems=[_problem(str(error))]) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"The body is not JSON: {error}", [Problem("", f"not JSON: {error}")]) from None
    if not 0 < len(request.instances) <= MAX_INSTANCES:
        raise Invalid(problems=[Problem("/instances", f"takes 1 to {MAX_INSTANCES} instances")])
    return request


def _problem(text: str) -> Problem:
    place = PLACE.search(text)
    if place is None:
        return Problem("", text)
    steps = [name or index for name, index in STEP.findall(place["path"])]
    # The parser does not tell a mapping's keys: the pointer ends before them.
    known = steps[: steps.index("...")] if "..." in steps else steps
    return Problem(pointer(*known), text[: place.start()])


async def predict(lane: Lane, route: Route, body: bytes, seconds: float) -> tuple[bytes, Answer]:
    """Answer one request: parse, encode, one trip through the lane, decode."""
    request = parse(route.task, body)
    inline = len(request.instances) <= INLINE
    examples = _encode(route, request) if inline else await asyncio.to_thread(_encode, route, request)
    answer = await lane.send(route.artifact, [example.inputs for example in examples], seconds)
    work = (route, request, examples, answer)
    return (_decode(*work) if inline else await asyncio.to_thread(_decode, *work)), answer


def _encode(route: Route, request: Any) -> list[Example]:
    examples = []
    for index, instance in enumerate(request.instances):
        try:
            examples.append(route.task.encode(route.state, instance, request.parameters))
        except Invalid as error:
            problems = [_placed(index, problem) for problem in error.problems]
            raise Invalid(error.message, problems) from None
    return examples


def _placed(index: int, problem: Problem) -> Problem:
    if problem.pointer.startswith("/parameters"):
        return problem
    return Problem(f"/instances/{index}{problem.pointer}", problem.detail)


def _decode(route: Route, request: Any, examples: list[Example], answer: Answer) -> bytes:
    predictions = [
        route.task.decode(route.state, example, outputs, request.parameters)
        for example, outputs in zip(examples, answer.outputs, strict=True)
    ]
    body = {"model": route.model, "version": route.version, "predictions": predictions}
    return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
