"""What is told of tokens as they come: each text once, an end for each, then the whole."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import numpy as np
import pytest

from app.errors import DeadlinePassed, Invalid
from app.lanes import Answer, Part
from app.services.serving.metrics import Meters
from app.services.serving.predictions import Plane
from app.services.serving.streaming import Delta, Done, Ended, Event, stream, teller
from app.services.serving.version_router import Route
from app.tasks.contract import END, Example
from app.tasks.generation.detokenizer import Streamed
from app.typedefs import Json

SPELLED = [b"", b"", b"", b"", b"a", b"b", "é".encode()[:1], "é".encode()[1:]]


class Lane:
    """Tells what it was made with."""

    def __init__(self, *told: Part | Answer | Exception) -> None:
        self.told = told
        self.closed = False

    async def stream(self, artifact: str, arrays: Any, seconds: float, search: Any) -> AsyncGenerator[Any]:
        assert (artifact, len(arrays), seconds) == ("artifacts/3", len(search), 7.5)
        try:
            for one in self.told:
                if isinstance(one, Exception):
                    raise one
                yield one
        finally:
            self.closed = True


class Spelling:
    """A task of four letters."""

    name = "spelling"

    def follow(self, state: Json, search: Json) -> Streamed:
        return Streamed(SPELLED, search["stop"])

    def decode(self, state: Json, example: Example, outputs: Any, parameters: Any) -> Json:
        return {"tokens": outputs.tokens.tolist(), "why": outputs.note["finish_reason"]}


def events(lane: Lane, count: int = 1, stop: Sequence[str] = (), first: int | None = None) -> list[Event]:
    route = Route("m", 3, Spelling(), "artifacts/3", {}, {})  # type: ignore[arg-type]
    meters = Meters(lane)  # type: ignore[arg-type]
    plane = Plane(lane, None, meters, None)  # type: ignore[arg-type]
    examples = [Example(np.array([[END]]), None, {"stop": list(stop)}) for _ in range(count)]

    async def scenario() -> list[Event]:
        found: list[Event] = []
        told = stream(plane, route, examples, None, 7.5, 0.0)
        async for event in told:
            found.append(event)
            if len(found) == first:
                await told.aclose()
        return found

    try:
        return asyncio.run(scenario())
    finally:
        lane.meter = meters.of("m", 3)  # type: ignore[attr-defined]


def answer(*tokens: list[int], why: str = "length") -> Answer:
    return Answer([np.array(some) for some in tokens], 0.1, 0.2, 1, [{"finish_reason": why}] * len(tokens))


def test_each_instance_is_told_and_ended_once() -> None:
    lane = Lane(
        Part([[4], []], [{}, {}]),
        Part([[5, 4], [5]], [{}, {"finish_reason": "stop"}]),
        answer([4, 5, 4, 4], [5]),
    )
    *told, done = events(lane, 2)
    assert told == [
        Delta(0, "a"),
        Delta(0, "ba"),
        Delta(1, "b"),
        Ended(1, "stop", 1),
        Delta(0, "a"),
        Ended(0, "length", 4),
    ]
    assert isinstance(done, Done)
    assert [one["tokens"] for one in done.predictions] == [[4, 5, 4, 4], [5]]
    assert lane.meter.inferences == 2  # type: ignore[attr-defined]


def test_what_is_no_text_yet_is_not_told() -> None:
    lane = Lane(Part([[6]], [{}]), Part([[7, 4]], [{}]), answer([6, 7, 4, 6]))
    *told, _ = events(lane)
    assert told == [Delta(0, "éa"), Ended(0, "length", 4)]


def test_a_stop_string_ends_it_whatever_the_predictor_says() -> None:
    lane = Lane(Part([[4, 4, 5]], [{}]), answer([4, 4, 5, 4]))
    *told, _ = events(lane, stop=["ab"])
    assert told == [Delta(0, "a"), Ended(0, "stop", 3)]


def test_an_answer_without_parts_is_told_as_a_whole() -> None:
    *told, done = events(Lane(answer([4, 5], why="stop")))
    assert told == [Delta(0, "ab"), Ended(0, "stop", 2)]
    assert isinstance(done, Done)


def test_an_error_is_raised_where_it_comes_and_counted() -> None:
    lane = Lane(Part([[4]], [{}]), DeadlinePassed())
    with pytest.raises(DeadlinePassed):
        events(lane)
    assert (lane.closed, lane.meter.failures) == (True, 1)  # type: ignore[attr-defined]


def test_who_listens_no_longer_closes_the_lanes_stream() -> None:
    lane = Lane(Part([[4]], [{}]), Part([[5]], [{}]), answer([4, 5]))
    assert events(lane, first=1) == [Delta(0, "a")]
    assert lane.closed
    assert lane.meter.failures == 0  # type: ignore[attr-defined]


def test_a_task_that_tells_nothing_on_the_way_is_refused() -> None:
    class Silent:
        name = "silent"

    with pytest.raises(Invalid) as caught:
        teller(Route("m", 3, Silent(), "artifacts/3", {}, {}))  # type: ignore[arg-type]
    assert caught.value.problems[0].pointer == "/parameters/stream"
