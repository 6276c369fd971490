"""Predictions: from a request's instances to its answers, the same way for every protocol."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, TypeVar

import msgspec

from app.arrays import Array
from app.errors import AppError, DeadlinePassed, Invalid, Problem
from app.lanes import Answer, Lane
from app.services.serving.joint_calls import JointCalls
from app.services.serving.metrics import PredictionMetrics, VersionMetrics
from app.services.serving.request_errors import not_json, refused_instances, refused_request
from app.services.serving.shadowing import ShadowRunner
from app.services.serving.version_router import ResolvedRoute, Route, VersionRouter
from app.tasks import TASKS
from app.tasks.contract import DecodedTokens, Example, Task
from app.tasks.encode_instances import InvalidInstance
from app.typedefs import Json

MAX_INLINE_INSTANCES = 4  # that are encoded or decoded on the event loop; more of them in a thread
MAX_INSTANCES = 4096  # of one request
Result = TypeVar("Result")
SLOW_ENCODINGS = 2  # at a time, of tasks that are slow to encode; the rest of them waits


@cache
def _request_decoder(task_name: str) -> "msgspec.json.Decoder[Any]":
    task = TASKS[task_name]
    fields: list[tuple[str, Any, Any]] = [
        ("instances", list[task.instance], msgspec.NODEFAULT),  # type: ignore[name-defined]
        ("parameters", task.parameters, task.parameters()),
    ]
    return msgspec.json.Decoder(msgspec.defstruct("Predict", fields, forbid_unknown_fields=True))


def parse_request(task: Task, body: bytes) -> Any:
    """The `instances` and `parameters` of a JSON request; raises `Invalid` with pointers."""
    try:
        request = _request_decoder(task.name).decode(body)
    except msgspec.ValidationError as error:
        raise refused_request(task, error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise not_json(body, error) from None
    if not 0 < len(request.instances) <= MAX_INSTANCES:
        problem = Problem("/instances", f"takes 1 to {MAX_INSTANCES} instances")
        raise refused_instances(task, [problem])
    return request


@dataclass(frozen=True)
class PredictionService:
    """What every protocol predicts with: the versions, the lane to the predictors, and the counters."""

    lane: Lane
    versions: VersionRouter
    metrics: PredictionMetrics
    shadows: ShadowRunner
    _joint_encoder: JointCalls = field(default_factory=lambda: JointCalls(encode))
    _joint_decoder: JointCalls = field(default_factory=lambda: JointCalls(_decode_pairs))

    def metrics_of(self, route: Route) -> VersionMetrics:
        """The counters of a route's version."""
        return self.metrics.of_version(route.model, route.version)

    def admit(self, route: Route) -> None:
        """Raise `QueueFull`, and count it, where predictions of the version already wait for too long."""
        try:
            self.lane.check_capacity(route.artifact, stepwise=route.stepwise)
        except AppError:
            self.metrics_of(route).record_failure(0.0)
            raise

    async def predict(
        self, resolved: ResolvedRoute, instances: Sequence[Any], parameters: Any, seconds: float
    ) -> tuple[list[Json], Answer]:
        """One prediction per instance, in order: encode, one trip through the lane, decode.

        Takes `seconds` at most. Raises `Invalid` with pointers below `/instances` or `/parameters`, or what
        the lane raises.
        """
        route, begun = resolved.route, time.perf_counter()
        examples = await self._encode(route, instances, parameters, seconds)
        left = max(seconds - (time.perf_counter() - begun), 0.0)
        predictions, answer = await self.predict_examples(route, examples, parameters, left, begun)
        if resolved.shadow is not None:
            settings = decoding_settings(examples)
            again = partial(self._predict_again, resolved.shadow, instances, parameters, seconds, settings)
            self.shadows.compare(self.metrics_of(resolved.shadow), again, predictions)
        return predictions, answer

    async def predict_examples(
        self, route: Route, examples: Sequence[Example], parameters: Any, seconds: float, begun: float
    ) -> tuple[list[Json], Answer]:
        """One prediction per encoded instance; `begun` is when the request began, by `perf_counter`."""
        arrays = [example.inputs for example in examples]
        answer = await self._send(route, arrays, decoding_settings(examples), seconds, begun)
        predictions = await self._decode(route, examples, answer, parameters)
        self.metrics_of(route).record_answer(answer, time.perf_counter() - begun)
        return predictions, answer

    async def _encode(
        self, route: Route, instances: Sequence[Any], parameters: Any, seconds: float
    ) -> list[Example]:
        """The same as `encode_async`, together with other requests where that is faster."""
        if route.task.encodes_together and len(instances) <= MAX_INLINE_INSTANCES:
            return await self._joint_encoder(route, instances, parameters)
        return await encode_async(route, instances, parameters, seconds)

    async def _decode(
        self, route: Route, examples: Sequence[Example], answer: Answer, parameters: Any
    ) -> list[Json]:
        """The same as `decode_async`, together with other requests where that is faster."""
        if route.task.encodes_together and len(examples) <= MAX_INLINE_INSTANCES:
            pairs = list(zip(examples, output_rows(answer), strict=True))
            return await self._joint_decoder(route, pairs, parameters)
        return await decode_async(route, examples, answer, parameters)

    async def run_network(self, route: Route, arrays: Sequence[Array], seconds: float) -> Answer:
        """The network's own outputs for arrays of (time, features), without the task around it."""
        begun = time.perf_counter()
        answer = await self._send(route, arrays, (), seconds, begun)
        self.metrics_of(route).record_answer(answer, time.perf_counter() - begun)
        return answer

    async def _send(
        self, route: Route, arrays: Sequence[Array], settings: Sequence[Json], seconds: float, begun: float
    ) -> Answer:
        """One trip through the lane; a failure is counted with the time since `begun`."""
        try:
            return await self.lane.send(route.artifact, arrays, seconds, settings)
        except AppError:
            self.metrics_of(route).record_failure(time.perf_counter() - begun)
            raise

    async def _predict_again(
        self,
        route: Route,
        instances: Sequence[Any],
        parameters: Any,
        seconds: float,
        first_settings: Sequence[Json],
    ) -> list[Json]:
        """The predictions of a shadow, with the random seeds that were drawn for the first ones."""
        examples = await encode_async(route, instances, parameters, seconds)
        settings = [
            own | ({"seed": first["seed"]} if "seed" in first else {})
            for own, first in zip(decoding_settings(examples), first_settings, strict=False)
        ]
        arrays = [example.inputs for example in examples]
        answer = await self.lane.send(route.artifact, arrays, seconds, settings)
        return await asyncio.to_thread(decode, route, examples, answer, parameters)


def decoding_settings(examples: Sequence[Example]) -> Sequence[Json]:
    """How to decode each example token by token; empty for a network that answers at once."""
    return [example.decoding for example in examples if example.decoding is not None]


@cache
def slow_encoder() -> ThreadPoolExecutor:
    """The threads for tasks that are slow to encode: what they wait for keeps nobody else from a thread."""
    return ThreadPoolExecutor(SLOW_ENCODINGS, "encoder")


async def encode_async(
    route: Route, instances: Sequence[Any], parameters: Any, seconds: float
) -> list[Example]:
    """The same as `encode`; many instances, and those of a task that is slow to encode, in a thread.

    Raises `DeadlinePassed` where the latter take, or wait for each other, longer than `seconds`. Instances
    that nobody waits for any more, since the deadline has passed or the client has left, are not encoded.
    """
    arguments = (route, instances, parameters)
    if not route.task.slow_to_encode:
        if len(instances) <= MAX_INLINE_INSTANCES:
            return encode(*arguments)
        return await asyncio.to_thread(encode, *arguments)
    given_up = threading.Event()
    try:
        return await in_slow_encoder(seconds, partial(encode, *arguments, given_up=given_up))
    finally:
        given_up.set()


async def in_slow_encoder(seconds: float, call: Callable[[], Result]) -> Result:
    """Run a call in one of the threads for what is slow; raises `DeadlinePassed` after `seconds`."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(seconds):
            return await loop.run_in_executor(slow_encoder(), call)
    except TimeoutError:
        raise DeadlinePassed from None


async def decode_async(
    route: Route, examples: Sequence[Example], answer: Answer, parameters: Any
) -> list[Json]:
    """The same as `decode`; many predictions, and those of a task that is slow to encode, in a thread."""
    arguments = (route, examples, answer, parameters)
    if len(examples) <= MAX_INLINE_INSTANCES and not route.task.slow_to_encode:
        return decode(*arguments)
    return await asyncio.to_thread(decode, *arguments)


def encode(
    route: Route, instances: Sequence[Any], parameters: Any, given_up: threading.Event | None = None
) -> list[Example]:
    """Instances as inputs of the network; raises `Invalid` with pointers into the request.

    Raises `DeadlinePassed` before the next instance once nobody waits for them any more.
    """
    awaited = instances if given_up is None else _until(given_up, instances)
    try:
        return route.task.encode(route.state, awaited, parameters)
    except InvalidInstance as error:
        problems = [_point_into_request(error.index, problem) for problem in error.problems]
        raise Invalid(error.message, problems) from None


def _until(given_up: threading.Event, instances: Sequence[Any]) -> Iterator[Any]:
    for instance in instances:
        if given_up.is_set():
            raise DeadlinePassed
        yield instance


def decode(route: Route, examples: Sequence[Example], answer: Answer, parameters: Any) -> list[Json]:
    """Predictions from the network's outputs."""
    return route.task.decode(route.state, examples, output_rows(answer), parameters)


def _decode_pairs(route: Route, pairs: Sequence[tuple[Example, Any]], parameters: Any) -> list[Json]:
    """Predictions from examples and the network's outputs for each."""
    examples, rows = zip(*pairs, strict=True)
    return route.task.decode(route.state, examples, rows, parameters)


def output_rows(answer: Answer) -> Sequence[Any]:
    """The network's outputs for each instance, as `Task.decode` takes them."""
    if not answer.notes:
        return answer.outputs
    return [DecodedTokens(tokens, note) for tokens, note in zip(answer.outputs, answer.notes, strict=True)]


def _point_into_request(index: int, problem: Problem) -> Problem:
    if problem.pointer.startswith("/parameters"):
        return problem
    return Problem(f"/instances/{index}{problem.pointer}", problem.detail)
