"""The lane's side of decoding step by step: parts, cancels, deaths, and what it teaches the gate."""

import asyncio
import secrets
import time
from contextlib import aclosing
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import redis

from app.errors import DeadlinePassed, NotFound, QueueFull, Unavailable
from app.lanes import Answer, Decoded, Inbox, Lane, Part, Presence, Reply, Request, Status, Tensor, wire
from app.lanes.gate import PATIENCE
from tests.lanes import FakePredictor, eventually, opened, predictor, run

PROMPT = np.array([[3], [5]])
SEARCH = {"max_tokens": 9}


@pytest.fixture
def url(redis_url: str) -> str:
    return redis_url


@pytest.fixture
def name() -> str:
    return f"test-{secrets.token_hex(6)}"


def tokens(*numbers: int) -> Tensor:
    return Tensor.of(np.array(numbers, np.int64))


def part(request: Request, start: int, *numbers: int, boot: str = "first") -> tuple[str, Reply]:
    decoded = Decoded([{}], 0, [start], boot)
    return request.reply, Reply(request.id, Status.PART, [tokens(*numbers)], decoded=decoded)


def whole(request: Request, *numbers: int, **fields: Any) -> tuple[str, Reply]:
    decoded = Decoded([{"finish_reason": "stop"}], fields.pop("steps", 10))
    told = {"queue_seconds": 0.1, "compute_seconds": 0.5, "batch": 2, **fields}
    return request.reply, Reply(request.id, Status.OK, [tokens(*numbers)], decoded=decoded, **told)


async def taken(inbox: Inbox, count: int = 1) -> list[Request]:
    found: list[Request] = []
    while len(found) < count:
        found += await asyncio.to_thread(inbox.receive, 8, 5.0)
    return found


class Desk:
    """A predictor of which the test is the hand."""

    def __init__(self, url: str, name: str) -> None:
        self.inbox, self.name = Inbox(url, name, f"{name}-w"), name

    def live(self, boot: str = "first") -> None:
        self.inbox.announce(Presence(f"{self.name}-w", boot, 1, "cpu", self.name, []))

    def close(self) -> None:
        self.inbox.withdraw()
        self.inbox.close()


@pytest.fixture
def desk(url: str, name: str) -> Any:
    made = Desk(url, name)
    made.live()
    yield made
    made.close()


async def told(lane: Lane, seconds: float = 5.0) -> tuple[list[list[int]], Answer]:
    parts: list[list[int]] = []
    async with aclosing(lane.stream("a/1", [PROMPT], seconds, [SEARCH])) as found:
        async for one in found:
            if isinstance(one, Answer):
                return parts, one
            parts.append(one.tokens[0])
    raise AssertionError("no answer")


def test_parts_come_as_they_are_sent_and_then_the_answer(url: str, name: str, desk: Desk) -> None:
    async def scenario() -> None:
        async with opened(url, name) as lane, aclosing(lane.stream("a/1", [PROMPT], 5, [SEARCH])) as found:
            first = asyncio.create_task(anext(found))
            (request,) = await taken(desk.inbox)
            assert (request.search, request.parts) == ([SEARCH], True)
            assert request.instances[0].array().tolist() == PROMPT.tolist()
            desk.inbox.reply([part(request, 0, 7)])
            assert await first == Part([[7]], [{}])
            assert lane.waiting == 1
            desk.inbox.reply([part(request, 1, 8, 9)])
            assert await anext(found) == Part([[8, 9]], [{}])
            desk.inbox.reply([whole(request, 7, 8, 9, 4)])
            answer = await anext(found)
            assert isinstance(answer, Answer)
            assert answer.outputs[0].tolist() == [7, 8, 9, 4]
            assert (list(answer.notes), answer.batch) == ([{"finish_reason": "stop"}], 2)
            with pytest.raises(StopAsyncIteration):
                await anext(found)
            assert lane.waiting == 0

    run(scenario())


def test_a_search_goes_with_a_plain_request_too(url: str, name: str) -> None:
    def answer(request: Request) -> Reply:
        return whole(request, *range(request.search[0]["max_tokens"]))[1]

    async def scenario() -> None:
        async with opened(url, name) as lane:
            found = await lane.send("a/1", [PROMPT], 5, [SEARCH])
            assert found.outputs[0].tolist() == list(range(9))
            assert list(found.notes) == [{"finish_reason": "stop"}]

    with predictor(url, name, answer) as fake:
        run(scenario())
    assert not fake.seen[0].parts


@pytest.mark.parametrize("how", ["stream", "send"])
def test_who_goes_away_is_taken_back_and_the_predictors_are_told(
    url: str, name: str, desk: Desk, how: str
) -> None:
    async def scenario() -> None:
        async with opened(url, name) as lane:
            call: Any = told(lane) if how == "stream" else lane.send("a/1", [PROMPT], 5, [SEARCH])
            task = asyncio.create_task(call)
            (request,) = await taken(desk.inbox)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert lane.waiting == 0
            while not (drops := desk.inbox.drops()):
                assert await asyncio.to_thread(desk.inbox.receive, 8, 5.0) == []
            assert drops == [(request.reply, request.id)]
            assert desk.inbox.orders() == []
            assert desk.inbox.drops() == []

    run(scenario())


def test_who_goes_away_before_anybody_took_it_leaves_nothing(url: str, name: str, desk: Desk) -> None:
    async def scenario() -> None:
        async with opened(url, name) as lane:
            task = asyncio.create_task(told(lane))
            with redis.Redis.from_url(url) as server:
                await eventually(lambda: server.llen(wire.lane_key(name)) == 1)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await eventually(lambda: server.llen(wire.lane_key(name)) == 0)

    run(scenario())


def test_a_plain_request_needs_no_order(url: str, name: str, desk: Desk) -> None:
    """It is done before an order would be read."""

    async def scenario() -> None:
        async with opened(url, name) as lane:
            task = asyncio.create_task(lane.send("a/1", [np.ones((2, 3), np.float32)], 5))
            await taken(desk.inbox)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await lane.predictors()
            with redis.Redis.from_url(url) as server:
                assert not server.exists(wire.control_key(f"{name}-w"))

    run(scenario())


def holds(lane: Lane, number: int, boot: str) -> bool:
    return lane._waiting[number]._holder == boot


def gone(lane: Lane, number: int) -> bool:
    return number not in lane._waiting


def test_after_a_death_a_stream_goes_on_elsewhere_where_it_was(url: str, name: str, desk: Desk) -> None:
    async def scenario() -> None:
        async with opened(url, name) as lane:
            task = asyncio.create_task(told(lane, 20))
            (first,) = await taken(desk.inbox)
            desk.inbox.reply([part(first, 0, 7, 8)])
            await eventually(partial(holds, lane, first.id, "first"))
            desk.live("second")
            (again,) = await taken(desk.inbox)
            assert again.id != first.id
            assert again.search == [{**SEARCH, "begun": [7, 8]}]
            desk.inbox.reply([part(first, 2, 99), whole(first, 7, 8, 99)])  # a ghost
            desk.inbox.reply([part(again, 2, 9, boot="second"), whole(again, 7, 8, 9)])
            parts, answer = await task
            assert answer.outputs[0].tolist() == [7, 8, 9]
            assert [token for some in parts for token in some] in ([7, 8], [7, 8, 9])
            await eventually(lambda: lane.waiting == 0)

    run(scenario())


def test_a_death_that_is_another_predictors_changes_nothing(url: str, name: str, desk: Desk) -> None:
    async def scenario(other: Inbox) -> None:
        other.announce(Presence("other", "theirs", 1, "cpu", name, []))
        async with opened(url, name) as lane:
            task = asyncio.create_task(told(lane, 20))
            (request,) = await taken(desk.inbox)
            desk.inbox.reply([part(request, 0, 7)])
            await eventually(lambda: len(lane.present) == 2)
            other.withdraw()
            await eventually(lambda: len(lane.present) == 1)
            assert list(lane._waiting) == [request.id]
            desk.inbox.reply([whole(request, 7)])
            await task
            assert await asyncio.to_thread(desk.inbox.receive, 8, 0.1) == []

    inbox = Inbox(url, name, "other")
    run(scenario(inbox))
    inbox.close()


def test_a_request_that_kills_is_given_up_and_one_that_gets_on_is_not(
    url: str, name: str, desk: Desk
) -> None:
    async def scenario() -> None:
        async with opened(url, name) as lane:
            task = asyncio.create_task(told(lane, 30))
            for place, (boot, after) in enumerate(pairwise(("first", "second", "third", "fourth"))):
                (request,) = await taken(desk.inbox)
                desk.inbox.reply([part(request, place, place, boot=boot)])
                await eventually(partial(holds, lane, request.id, boot))
                desk.live(after)
                await eventually(partial(gone, lane, request.id))
            (request,) = await taken(desk.inbox)
            assert request.search[0]["begun"] == [0, 1, 2]
            desk.live("fifth")
            with pytest.raises(Unavailable, match="twice"):
                await task

    run(scenario())


def test_deadlines_and_refusals_are_those_of_plain_requests(url: str, name: str, desk: Desk) -> None:
    async def scenario() -> None:
        async with opened(url, name) as lane:
            begun = time.monotonic()
            with pytest.raises(DeadlinePassed):
                await told(lane, 0.2)
            assert time.monotonic() - begun < 1
            await taken(desk.inbox)
            task = asyncio.create_task(told(lane))
            (request,) = await taken(desk.inbox)
            desk.inbox.reply([(request.reply, Reply(request.id, Status.MISSING, message="gone"))])
            with pytest.raises(NotFound, match="gone"):
                await task
            assert lane.refused == {"deadline-passed": 1, "not-found": 1}
            assert lane.waiting == 0

    run(scenario())


def test_without_a_predictor_nothing_is_streamed(url: str, name: str) -> None:
    async def scenario() -> None:
        async with opened(url, name) as lane:
            with pytest.raises(Unavailable):
                await told(lane)

    run(scenario())


@pytest.mark.parametrize(("steps", "admitted"), [(1, PATIENCE), (1000, 90)])
def test_who_comes_waits_for_a_pass_and_not_for_an_end(
    url: str, name: str, steps: int, admitted: int
) -> None:
    """Two seconds of computing: in one piece it lets hardly anybody wait, in steps it lets many."""

    def slow(request: Request) -> Reply:
        return whole(request, 7, steps=steps, compute_seconds=2.0, batch=4)[1]

    async def scenario(fake: FakePredictor) -> None:
        async with opened(url, name) as lane:
            await lane.send("a/1", [PROMPT], 5, [SEARCH])
            fake.go.clear()
            calls = [asyncio.create_task(lane.send("a/1", [PROMPT], 5, [SEARCH])) for _ in range(200)]
            await asyncio.sleep(0.2)
            refused = [call for call in calls if call.done() and isinstance(call.exception(), QueueFull)]
            assert 200 - len(refused) == pytest.approx(admitted, abs=2)
            fake.go.set()
            await asyncio.gather(*calls, return_exceptions=True)

    with predictor(url, name, slow) as fake:
        run(scenario(fake))
