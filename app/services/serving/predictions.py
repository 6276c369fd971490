"""Predictions: from a request's instances to its answers, the same way for every protocol."""

import threading
import time
from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from app.arrays import Array
from app.errors import AppError, DeadlinePassed, Invalid, Problem
from app.lanes import Answer, Lane
from app.prediction.codec import write_answer, write_predictions
from app.prediction.request_parsing import MAX_INLINE_BYTES, parse_request, split_request
from app.prediction.upload_names import parse_named_request
from app.services.serving.metrics import PredictionMetrics, VersionMetrics
from app.services.serving.shadowing import ShadowRunner
from app.services.serving.version_router import ResolvedRoute, Route, VersionRouter
from app.tasks.contract import DecodedTokens, Example
from app.thread_pools import COMPUTING, DECODING_MEDIA
from app.typedefs import Json

MAX_INLINE_INSTANCES = 4  # that are encoded or decoded on the event loop; more of them in a thread
MAX_INLINE_NUMBERS = 1 << 12  # of outputs, for each quantile, that are decoded on the event loop
MAX_BODY_ROWS, MAX_BODY_NUMBERS = 64, 1 << 13  # likewise, of a request that a predictor encodes and decodes
MAX_ANSWER_NUMBERS = 1 << 24  # likewise, of one answer
PIECE_BYTES, PIECE_NUMBERS = 1 << 17, 1 << 15  # of a large request and of its outputs, for one call of a task


@dataclass(frozen=True)
class PredictionService:
    """What every protocol predicts with: the versions, the lane to the predictors, and the counters."""

    lane: Lane
    versions: VersionRouter
    metrics: PredictionMetrics
    shadows: ShadowRunner

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
        self,
        resolved: ResolvedRoute,
        instances: Sequence[Any],
        parameters: Any,
        seconds: float,
        size: int = 0,
    ) -> tuple[list[Json], Answer]:
        """One prediction per instance, in order: encode, one trip through the lane, decode.

        Takes `seconds` at most; `size` is how many bytes the instances came in. Raises `Invalid` with
        pointers below `/instances` or `/parameters`, or what the lane raises.
        """
        route, begun = resolved.route, time.perf_counter()
        _check_answer_size(route, len(instances), parameters)
        examples = await encode_async(route, instances, parameters, seconds, size)
        predictions, answer = await self.predict_examples(route, examples, parameters, seconds, begun)
        if resolved.shadow is not None:
            settings = decoding_settings(examples)
            again = partial(
                self._predict_again, resolved.shadow, instances, parameters, seconds, settings, size
            )
            self.shadows.compare(self.metrics_of(resolved.shadow), again, predictions)
        return predictions, answer

    async def predict_examples(
        self, route: Route, examples: Sequence[Example], parameters: Any, seconds: float, begun: float
    ) -> tuple[list[Json], Answer]:
        """One prediction per encoded instance, within `seconds` of `begun`, by `perf_counter`."""
        arrays = [example.inputs for example in examples]
        left = seconds_left(seconds, begun)
        answer = await self._send(route, arrays, decoding_settings(examples), left, begun)
        predictions = await decode_async(route, examples, answer, parameters, seconds_left(seconds, begun))
        self.metrics_of(route).record_answer(answer, time.perf_counter() - begun)
        return predictions, answer

    async def predict_body(
        self, route: Route, body: bytes, rows: int, seconds: float, begun: float
    ) -> tuple[bytes, Answer]:
        """The JSON array of the predictions for a body's instances, which `rows_for_predictor` has counted.

        Raises as `predict`, within `seconds` of `begun`, by `perf_counter`.
        """
        left = seconds_left(seconds, begun)
        answer = await self._counted(route, self.lane.send_body(route.artifact, body, rows, left), begun)
        self.metrics_of(route).record_answer(answer, time.perf_counter() - begun, rows)
        return answer.predictions, answer

    async def run_network(self, route: Route, arrays: Sequence[Array], seconds: float) -> Answer:
        """The network's own outputs for arrays of (time, features), without the task around it."""
        begun = time.perf_counter()
        answer = await self._send(route, arrays, (), seconds, begun)
        self.metrics_of(route).record_answer(answer, time.perf_counter() - begun)
        return answer

    async def _send(
        self, route: Route, arrays: Sequence[Array], settings: Sequence[Json], seconds: float, begun: float
    ) -> Answer:
        """One trip through the lane."""
        return await self._counted(route, self.lane.send(route.artifact, arrays, seconds, settings), begun)

    async def _counted(self, route: Route, trip: Awaitable[Answer], begun: float) -> Answer:
        """The answer of a trip through the lane; a failure is counted with the time since `begun`."""
        try:
            return await trip
        except Invalid:  # which says nothing of the version
            raise
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
        size: int,
    ) -> list[Json]:
        """The predictions of a shadow, with the random seeds that were drawn for the first ones."""
        begun = time.perf_counter()
        examples = await encode_async(route, instances, parameters, seconds, size)
        settings = [
            own | ({"seed": first["seed"]} if "seed" in first else {})
            for own, first in zip(decoding_settings(examples), first_settings, strict=False)
        ]
        arrays = [example.inputs for example in examples]
        answer = await self.lane.send(route.artifact, arrays, seconds_left(seconds, begun), settings)
        return await decode_async(route, examples, answer, parameters, seconds_left(seconds, begun))


def decoding_settings(examples: Sequence[Example]) -> Sequence[Json]:
    """How to decode each example token by token; empty for a network that answers at once."""
    return [example.decoding for example in examples if example.decoding is not None]


def seconds_left(seconds: float, begun: float) -> float:
    """What is left of some seconds since `begun`, by `perf_counter`."""
    return max(seconds - (time.perf_counter() - begun), 0.0)


def rows_for_predictor(resolved: ResolvedRoute, body: bytes) -> int:
    """How many instances of a JSON request the predictor encodes, together with those of other requests.

    0: the request is too large for that, or is answered in another way. Raises `Invalid`.
    """
    route = resolved.route
    if len(body) > MAX_INLINE_BYTES or route.task.slow_to_encode or route.stepwise or resolved.shadow:
        return 0
    request = split_request(route.task, body)
    rows = len(request.instances)
    numbers = rows * route.graph.get("width", 1) * _longest_list(request.parameters)
    return rows if rows <= MAX_BODY_ROWS and numbers <= MAX_BODY_NUMBERS else 0


def _check_answer_size(route: Route, instances: int, parameters: Any) -> None:
    """Raise `Invalid` where an answer would be too large to be held in memory."""
    numbers = instances * route.graph.get("width", 1) * _longest_list(parameters)
    if numbers > MAX_ANSWER_NUMBERS:
        detail = (
            f"the answer would be of some {numbers:,} numbers, of {MAX_ANSWER_NUMBERS:,} that it may have"
        )
        raise Invalid(problems=[Problem("/instances", f"{detail}: send fewer, or predict a data set")])


def _is_small(instances: Sequence[Any], size: int) -> bool:
    """Whether instances that came in `size` bytes may be encoded on the event loop."""
    return len(instances) <= MAX_INLINE_INSTANCES and size <= MAX_INLINE_BYTES


def is_soon_decoded(answer: Answer, parameters: Any) -> bool:
    """Whether outputs may be decoded on the event loop."""
    few = len(answer.outputs) <= MAX_INLINE_INSTANCES
    return few and _decoding_numbers(answer.outputs, parameters) <= MAX_INLINE_NUMBERS


def _decoding_numbers(outputs: Sequence[Array], parameters: Any) -> int:
    """About how many numbers are decoded: the outputs, for each entry of the parameters' longest list."""
    return sum(output.size for output in outputs) * _longest_list(parameters)


def _longest_list(parameters: Any) -> int:
    """Entries of the longest list among the parameters, at least 1."""
    values = (getattr(parameters, name) for name in getattr(parameters, "__struct_fields__", ()))
    return max((len(value) for value in values if isinstance(value, list)), default=1) or 1


async def parse_request_async(route: Route, body: bytes, seconds: float) -> Any:
    """The request in a body, whose instances may have the names of the version's upload.

    What is large is parsed in a thread. Raises `DeadlinePassed` after `seconds`.
    """
    begun = time.perf_counter()
    try:
        if len(body) <= MAX_INLINE_BYTES:
            return parse_request(route.task, body)
        return await COMPUTING.run_within(seconds, parse_request, route.task, body)
    except Invalid:
        named = await parse_named_request_async(route, body, seconds_left(seconds, begun))
        if named is None:
            raise
        return named


async def parse_named_request_async(route: Route, body: bytes, seconds: float) -> Any:
    """The same as `parse_named_request`, in a thread: few rows may be far apart in time."""
    arguments = (route.task, route.state, route.columns, body)
    return await COMPUTING.run_within(seconds, parse_named_request, *arguments)


async def encode_async(
    route: Route, instances: Sequence[Any], parameters: Any, seconds: float, size: int = 0
) -> list[Example]:
    """The same as `Codec.encode`; what is large, and instances of a task that is slow to encode, in a thread.

    Raises `DeadlinePassed` where these take, or wait for others, longer than `seconds`. Instances that nobody
    waits for any more, since the deadline has passed or the client has left, are not encoded.
    """
    slow = route.task.slow_to_encode
    if not slow and _is_small(instances, size):
        return route.codec.encode(instances, parameters)
    given_up = threading.Event()
    pool = DECODING_MEDIA if slow else COMPUTING
    try:
        arguments = (route, instances, parameters, given_up, size)
        return await pool.run_within(seconds, _encode_pieces, *arguments)
    finally:
        given_up.set()


async def decode_async(
    route: Route, examples: Sequence[Example], answer: Answer, parameters: Any, seconds: float
) -> list[Json]:
    """The same as `Codec.decode`; many outputs, and those of a task that is slow to encode, in a thread.

    Raises `DeadlinePassed` where that takes longer than `seconds`.
    """
    if not route.task.slow_to_encode and is_soon_decoded(answer, parameters):
        return route.codec.decode(examples, output_rows(answer), parameters)
    given_up = threading.Event()
    try:
        arguments = (route, examples, answer, parameters, given_up)
        return await COMPUTING.run_within(seconds, _decode_pieces, *arguments)
    finally:
        given_up.set()


def _encode_pieces(
    route: Route, instances: Sequence[Any], parameters: Any, given_up: threading.Event, size: int
) -> list[Example]:
    """The same in pieces: other threads, and the event loop, get their turn between two of them.

    Raises `DeadlinePassed` before the next instance once nobody waits for them any more.
    """
    step = max(1, PIECE_BYTES * len(instances) // size) if size else len(instances)
    examples = list[Example]()
    for first in range(0, len(instances), step):
        awaited = _until(given_up, instances[first : first + step])
        examples += route.codec.encode(awaited, parameters, first)
    return examples


def _until(given_up: threading.Event, instances: Sequence[Any]) -> Iterator[Any]:
    for instance in instances:
        if given_up.is_set():
            raise DeadlinePassed
        yield instance


def _decode_pieces(
    route: Route, examples: Sequence[Example], answer: Answer, parameters: Any, given_up: threading.Event
) -> list[Json]:
    """The same in pieces; raises `DeadlinePassed` before the next one once nobody waits for them any more."""
    numbers = max(_decoding_numbers(answer.outputs, parameters), 1)
    step = max(1, PIECE_NUMBERS * len(examples) // numbers)
    rows, predictions = output_rows(answer), list[Json]()
    for first in range(0, len(examples), step):
        if given_up.is_set():
            raise DeadlinePassed
        last = first + step
        predictions += route.codec.decode(examples[first:last], rows[first:last], parameters)
    return predictions


async def write_body_async(
    route: Route, predictions: Sequence[Json], answer: Answer, parameters: Any, seconds: float
) -> bytes:
    """The body of an answer; a large one is written in a thread, within `seconds`."""
    if is_soon_decoded(answer, parameters):
        return write_body(route, predictions)
    return await COMPUTING.run_within(seconds, write_body, route, predictions)


def write_body(route: Route, predictions: Sequence[Json]) -> bytes:
    """The body of an answer."""
    return write_answer(route.model, route.version, write_predictions(predictions))


def output_rows(answer: Answer) -> Sequence[Any]:
    """The network's outputs for each instance, as `Task.decode` takes them."""
    if not answer.notes:
        return answer.outputs
    return [DecodedTokens(tokens, note) for tokens, note in zip(answer.outputs, answer.notes, strict=True)]
