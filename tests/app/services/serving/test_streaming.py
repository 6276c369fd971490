"""Streams: the text of each instance once, an end for each, then the whole answer."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import numpy as np
import pytest

from app.errors import DeadlinePassed, Invalid
from app.lanes import Answer, PartialAnswer
from app.services.serving.metrics import PredictionMetrics
from app.services.serving.predictions import PredictionService
from app.services.serving.streaming import (
    InstanceEnd,
    StreamEnd,
    StreamEvent,
    TextDelta,
    stream_predictions,
    streaming_task,
)
from app.services.serving.version_router import Route
from app.tasks.contract import END, Example
from app.tasks.generation.detokenizer import TextDetokenizer
from app.typedefs import Json
from tests.support.single import OneByOne

SPELLED = [b"", b"", b"", b"", b"a", b"b", "é".encode()[:1], "é".encode()[1:]]


class Lane:
    """Streams the parts that it was made with."""

    def __init__(self, *parts: PartialAnswer | Answer | Exception) -> None:
        self.parts = parts
        self.closed = False

    async def stream(self, artifact: str, arrays: Any, seconds: float, search: Any) -> AsyncGenerator[Any]:
        assert (artifact, len(arrays), seconds) == ("artifacts/3", len(search), 7.5)
        try:
            for one in self.parts:
                if isinstance(one, Exception):
                    raise one
                yield one
        finally:
            self.closed = True


class Spelling(OneByOne):
    """A task of four letters."""

    name = "spelling"
    slow_to_encode = False

    def detokenizer(self, state: Json, decoding: Json) -> TextDetokenizer:
        return TextDetokenizer(SPELLED, decoding["stop"])

    def decode_example(self, state: Json, example: Example, outputs: Any, parameters: Any) -> Json:
        return {"tokens": outputs.tokens.tolist(), "why": outputs.note["finish_reason"]}


def events(
    lane: Lane, count: int = 1, stop: Sequence[str] = (), first: int | None = None
) -> list[StreamEvent]:
    route = Route("m", 3, Spelling(), "artifacts/3", {}, {})  # type: ignore[arg-type]
    metrics = PredictionMetrics(lane)  # type: ignore[arg-type]
    service = PredictionService(lane, None, metrics, None)  # type: ignore[arg-type]
    examples = [Example(np.array([[END]]), None, {"stop": list(stop)}) for _ in range(count)]

    async def scenario() -> list[StreamEvent]:
        events: list[StreamEvent] = []
        stream = stream_predictions(service, route, examples, None, 7.5, 0.0)
        async for event in stream:
            events.append(event)
            if len(events) == first:
                await stream.aclose()
        return events

    try:
        return asyncio.run(scenario())
    finally:
        lane.metrics = metrics.of_version("m", 3)  # type: ignore[attr-defined]


def answer(*tokens: list[int], why: str = "length") -> Answer:
    return Answer([np.array(some) for some in tokens], 0.1, 0.2, 1, [{"finish_reason": why}] * len(tokens))


class Pieces:
    """Reads two pieces, the second of which adds nothing."""

    pieces = ((0, 1), (0, 2))
    tokens = 3

    def __init__(self, example: Example) -> None:
        self.sums: list[float] = []

    def push(self, outputs: Any) -> str:
        self.sums.append(float(outputs.sum()))
        return "ab" if len(self.sums) == 1 else ""

    def close(self) -> Json:
        return {"sums": self.sums}


class Listening:
    """A task whose input goes through the network piece by piece."""

    name = "listening"

    def piece_reader(self, state: Json, example: Example, parameters: Any, *, causal: bool) -> Pieces:
        assert causal
        return Pieces(example)


class WholeLane:
    """Answers arrays with themselves until it fails."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure, self.seconds = failure, list[float]()

    async def send(self, artifact: str, arrays: Any, seconds: float) -> Answer:
        if self.failure is not None:
            raise self.failure
        self.seconds.append(seconds)
        return Answer(arrays, 0.1, 0.2, 1, [])


def pieces_of(lane: WholeLane) -> list[StreamEvent]:
    route = Route("m", 3, Listening(), "artifacts/3", {}, {"causal": True})  # type: ignore[arg-type]
    metrics = PredictionMetrics(lane)  # type: ignore[arg-type]
    service = PredictionService(lane, None, metrics, None)  # type: ignore[arg-type]
    examples = [Example(np.arange(2) + 10 * row, None) for row in range(2)]

    async def scenario() -> list[StreamEvent]:
        stream = stream_predictions(service, route, examples, None, 7.5, time.perf_counter())
        return [event async for event in stream]

    return asyncio.run(scenario())


def test_inputs_that_are_read_piece_by_piece_are_streamed_too() -> None:
    lane = WholeLane()
    *streamed, done = pieces_of(lane)
    assert streamed == [
        TextDelta(0, "ab"), InstanceEnd(0, "stop", 3), TextDelta(1, "ab"), InstanceEnd(1, "stop", 3),
    ]  # fmt: skip
    assert isinstance(done, StreamEnd)
    assert done.predictions == [{"sums": [0.0, 1.0]}, {"sums": [10.0, 21.0]}]
    assert all(7.0 < left <= 7.5 for left in lane.seconds)
    assert lane.seconds == sorted(lane.seconds, reverse=True)


def test_a_piece_that_is_not_answered_ends_the_stream() -> None:
    with pytest.raises(DeadlinePassed):
        pieces_of(WholeLane(DeadlinePassed()))


def test_each_instance_is_streamed_and_ended_once() -> None:
    lane = Lane(
        PartialAnswer([[4], []], [{}, {}]),
        PartialAnswer([[5, 4], [5]], [{}, {"finish_reason": "stop"}]),
        answer([4, 5, 4, 4], [5]),
    )
    *streamed, done = events(lane, 2)
    assert streamed == [
        TextDelta(0, "a"),
        TextDelta(0, "ba"),
        TextDelta(1, "b"),
        InstanceEnd(1, "stop", 1),
        TextDelta(0, "a"),
        InstanceEnd(0, "length", 4),
    ]
    assert isinstance(done, StreamEnd)
    assert [one["tokens"] for one in done.predictions] == [[4, 5, 4, 4], [5]]
    assert lane.metrics.inferences == 2  # type: ignore[attr-defined]


def test_an_unfinished_character_is_held_back() -> None:
    lane = Lane(PartialAnswer([[6]], [{}]), PartialAnswer([[7, 4]], [{}]), answer([6, 7, 4, 6]))
    *streamed, _ = events(lane)
    assert streamed == [TextDelta(0, "éa"), InstanceEnd(0, "length", 4)]


def test_a_stop_string_ends_it_whatever_the_predictor_says() -> None:
    lane = Lane(PartialAnswer([[4, 4, 5]], [{}]), answer([4, 4, 5, 4]))
    *streamed, _ = events(lane, stop=["ab"])
    assert streamed == [TextDelta(0, "a"), InstanceEnd(0, "stop", 3)]


def test_an_answer_without_parts_is_streamed_as_a_whole() -> None:
    *streamed, done = events(Lane(answer([4, 5], why="stop")))
    assert streamed == [TextDelta(0, "ab"), InstanceEnd(0, "stop", 2)]
    assert isinstance(done, StreamEnd)


def test_an_error_is_raised_where_it_comes_and_counted() -> None:
    lane = Lane(PartialAnswer([[4]], [{}]), DeadlinePassed())
    with pytest.raises(DeadlinePassed):
        events(lane)
    assert (lane.closed, lane.metrics.failures) == (True, 1)  # type: ignore[attr-defined]


def test_a_reader_that_stops_closes_the_lanes_stream() -> None:
    lane = Lane(PartialAnswer([[4]], [{}]), PartialAnswer([[5]], [{}]), answer([4, 5]))
    assert events(lane, first=1) == [TextDelta(0, "a")]
    assert lane.closed
    assert lane.metrics.failures == 0  # type: ignore[attr-defined]


def test_a_task_without_a_detokenizer_is_refused() -> None:
    class Silent:
        name = "silent"

    with pytest.raises(Invalid) as caught:
        streaming_task(Route("m", 3, Silent(), "artifacts/3", {}, {}))  # type: ignore[arg-type]
    assert caught.value.problems[0].pointer == "/parameters/stream"
