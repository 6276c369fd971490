"""Predictions: the way from a request's instances to its answers, the same for every protocol."""

import asyncio
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import msgspec

from app.errors import AppError, Invalid, Problem, pointer
from app.lanes import Answer, Lane
from app.services.serving.metrics import Meters
from app.services.serving.shadowing import Shadows
from app.services.serving.version_router import Catalog, Chosen, Route
from app.tasks import TASKS
from app.tasks.contract import Array, Example, Found, Output, Task
from app.typedefs import Json

STEPWISE = (Output.NEXT, Output.SEQUENCE)
INLINE = 4  # more instances than this are encoded and decoded off the event loop
MAX_INSTANCES = 4096
PLACE = re.compile(r" - at `\$(?P<path>[^`]*)`$")
STEP = re.compile(r"\.([^.\[\]]+)|\[([^\]]*)\]")


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


@dataclass(frozen=True)
class Plane:
    """What predictions go through, whatever protocol asked for them."""

    lane: Lane
    catalog: Catalog
    meters: Meters
    shadows: Shadows


def admit(plane: Plane, route: Route) -> None:
    """Raise `QueueFull`, and count it, if the version's predictions wait for too long already."""
    try:
        plane.lane.check(route.artifact, stepwise=route.graph.get("output") in STEPWISE)
    except AppError:
        plane.meters.of(route.model, route.version).fail(0.0)
        raise


async def infer(
    plane: Plane, chosen: Chosen, instances: Sequence[Any], parameters: Any, seconds: float
) -> tuple[list[Json], Answer]:
    """One prediction per instance, in order: encode, one trip through the lane, decode.

    Raises `Invalid` with pointers below `/instances` or `/parameters`, or what the lane raises.
    """
    route, begun = chosen.route, time.perf_counter()
    examples = await encoded(route, instances, parameters)
    predictions, answer = await respond(plane, route, examples, parameters, seconds, begun)
    if chosen.shadow is not None:
        again = partial(_again, plane, chosen.shadow, instances, parameters, seconds, searches(examples))
        plane.shadows.compare(plane.meters.of(route.model, chosen.shadow.version), again, predictions)
    return predictions, answer


async def encoded(route: Route, instances: Sequence[Any], parameters: Any) -> list[Example]:
    """What `encode` gives; many instances off the event loop."""
    work = (route, instances, parameters)
    return encode(*work) if len(instances) <= INLINE else await asyncio.to_thread(encode, *work)


async def decoded(route: Route, examples: Sequence[Example], answer: Answer, parameters: Any) -> list[Json]:
    """What `decode` gives; many predictions off the event loop."""
    work = (route, examples, answer, parameters)
    return decode(*work) if len(examples) <= INLINE else await asyncio.to_thread(decode, *work)


async def respond(
    plane: Plane, route: Route, examples: Sequence[Example], parameters: Any, seconds: float, begun: float
) -> tuple[list[Json], Answer]:
    """The predictions for examples, of a request that began so."""
    arrays = [example.inputs for example in examples]
    answer = await _send(plane, route, arrays, searches(examples), seconds, begun)
    predictions = await decoded(route, examples, answer, parameters)
    plane.meters.of(route.model, route.version).note(answer, time.perf_counter() - begun)
    return predictions, answer


async def compute(plane: Plane, route: Route, arrays: Sequence[Array], seconds: float) -> Answer:
    """What the network makes of arrays of (time, features), without the task around it."""
    begun = time.perf_counter()
    answer = await _send(plane, route, arrays, (), seconds, begun)
    plane.meters.of(route.model, route.version).note(answer, time.perf_counter() - begun)
    return answer


async def _send(
    plane: Plane, route: Route, arrays: Sequence[Array], search: Sequence[Json], seconds: float, begun: float
) -> Answer:
    """One trip through the lane; a failure is counted as of `begun`."""
    try:
        return await plane.lane.send(route.artifact, arrays, seconds, search)
    except AppError:
        plane.meters.of(route.model, route.version).fail(time.perf_counter() - begun)
        raise


def searches(examples: Sequence[Example]) -> Sequence[Json]:
    """How to decode each example step by step; nothing for a network that answers at once."""
    return [example.search for example in examples if example.search is not None]


async def _again(
    plane: Plane,
    route: Route,
    instances: Sequence[Any],
    parameters: Any,
    seconds: float,
    asked: Sequence[Json],
) -> list[Json]:
    examples = await asyncio.to_thread(encode, route, instances, parameters)
    # A seed that was drawn for the request is drawn once for both.
    search = [
        own | ({"seed": other["seed"]} if "seed" in other else {})
        for own, other in zip(searches(examples), asked, strict=False)
    ]
    arrays = [example.inputs for example in examples]
    answer = await plane.lane.send(route.artifact, arrays, seconds, search)
    return await asyncio.to_thread(decode, route, examples, answer, parameters)


def encode(route: Route, instances: Sequence[Any], parameters: Any) -> list[Example]:
    """Instances as the network sees them; raises `Invalid` with pointers into the request."""
    examples = []
    for index, instance in enumerate(instances):
        try:
            examples.append(route.task.encode(route.state, instance, parameters))
        except Invalid as error:
            problems = [_placed(index, problem) for problem in error.problems]
            raise Invalid(error.message, problems) from None
    return examples


def decode(route: Route, examples: Sequence[Example], answer: Answer, parameters: Any) -> list[Json]:
    """Predictions from the network's outputs."""
    found: Sequence[Any] = answer.outputs
    if answer.notes:
        found = [Found(tokens, note) for tokens, note in zip(answer.outputs, answer.notes, strict=True)]
    return [
        route.task.decode(route.state, example, outputs, parameters)
        for example, outputs in zip(examples, found, strict=True)
    ]


def _placed(index: int, problem: Problem) -> Problem:
    if problem.pointer.startswith("/parameters"):
        return problem
    return Problem(f"/instances/{index}{problem.pointer}", problem.detail)
