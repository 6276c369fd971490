"""The API side of step-by-step decoding: partial replies, cancellations, deaths, and admission."""

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
from app.lanes import (
    Answer,
    DecodingInfo,
    Lane,
    PartialAnswer,
    PredictorPresence,
    Reply,
    ReplyStatus,
    Request,
    RequestConsumer,
    Tensor,
    wire,
)
from app.lanes.admission import MAX_WAIT_FACTOR
from app.lanes.lane import MANY_ROWS
from tests.support.fakes.lanes import FakePredictor, fake_predictor, open_lane, run, wait_until

PROMPT = np.array([[3], [5]])
DECODING = {"max_tokens": 9}


@pytest.fixture
def url(redis_url: str) -> str:
    return redis_url


@pytest.fixture
def name() -> str:
    return f"test-{secrets.token_hex(6)}"


def tokens(*numbers: int) -> Tensor:
    return Tensor.of(np.array(numbers, np.int64))


def part(request: Request, start: int, *numbers: int, instance_id: str = "first") -> tuple[str, Reply]:
    decoded = DecodingInfo([{}], 0, [start], instance_id)
    return request.reply_to, Reply(request.id, ReplyStatus.PARTIAL, [tokens(*numbers)], decoded=decoded)


def whole(request: Request, *numbers: int, **fields: Any) -> tuple[str, Reply]:
    decoded = DecodingInfo([{"finish_reason": "stop"}], fields.pop("steps", 10))
    timings = {"queue_seconds": 0.1, "compute_seconds": 0.5, "batch": 2, **fields}
    return request.reply_to, Reply(request.id, ReplyStatus.OK, [tokens(*numbers)], decoded=decoded, **timings)


async def receive(consumer: RequestConsumer, count: int = 1) -> list[Request]:
    requests: list[Request] = []
    while len(requests) < count:
        requests += await asyncio.to_thread(consumer.receive, 8, 5.0)
    return requests


class ManualPredictor:
    """A predictor that receives and replies only when the test says so."""

    def __init__(self, url: str, name: str) -> None:
        self.consumer, self.name = RequestConsumer(url, name, f"{name}-w"), name

    def announce(self, instance_id: str = "first") -> None:
        self.consumer.announce(PredictorPresence(f"{self.name}-w", instance_id, 1, "cpu", self.name, []))

    def close(self) -> None:
        self.consumer.withdraw()
        self.consumer.close()


@pytest.fixture
def manual(url: str, name: str) -> Any:
    made = ManualPredictor(url, name)
    made.announce()
    yield made
    made.close()


async def stream(lane: Lane, seconds: float = 5.0) -> tuple[list[list[int]], Answer]:
    tokens: list[list[int]] = []
    async with aclosing(lane.stream("a/1", [PROMPT], seconds, [DECODING])) as parts:
        async for part in parts:
            if isinstance(part, Answer):
                return tokens, part
            tokens.append(part.tokens[0])
    raise AssertionError("no answer")


def test_partial_answers_come_as_they_are_sent_and_then_the_answer(
    url: str, name: str, manual: ManualPredictor
) -> None:
    async def scenario() -> None:
        async with (
            open_lane(url, name) as lane,
            aclosing(lane.stream("a/1", [PROMPT], 5, [DECODING])) as parts,
        ):
            first = asyncio.create_task(anext(parts))
            (request,) = await receive(manual.consumer)
            assert (request.decoding, request.stream) == ([DECODING], True)
            assert request.instances[0].array().tolist() == PROMPT.tolist()
            manual.consumer.send_replies([part(request, 0, 7)])
            assert await first == PartialAnswer([[7]], [{}])
            assert lane.waiting_rows == 1
            manual.consumer.send_replies([part(request, 1, 8, 9)])
            assert await anext(parts) == PartialAnswer([[8, 9]], [{}])
            manual.consumer.send_replies([whole(request, 7, 8, 9, 4)])
            answer = await anext(parts)
            assert isinstance(answer, Answer)
            assert answer.outputs[0].tolist() == [7, 8, 9, 4]
            assert (list(answer.notes), answer.batch) == ([{"finish_reason": "stop"}], 2)
            with pytest.raises(StopAsyncIteration):
                await anext(parts)
            assert lane.waiting_rows == 0

    run(scenario())


def test_a_plain_request_may_have_decoding_settings_too(url: str, name: str) -> None:
    def answer(request: Request) -> Reply:
        return whole(request, *range(request.decoding[0]["max_tokens"]))[1]

    async def scenario() -> None:
        async with open_lane(url, name) as lane:
            result = await lane.send("a/1", [PROMPT], 5, [DECODING])
            assert result.outputs[0].tolist() == list(range(9))
            assert list(result.notes) == [{"finish_reason": "stop"}]

    with fake_predictor(url, name, answer) as fake:
        run(scenario())
    assert not fake.received[0].stream


@pytest.mark.parametrize("how", ["stream", "send", "many rows"])
def test_when_the_client_leaves_the_predictors_are_sent_a_cancellation(
    url: str, name: str, manual: ManualPredictor, how: str
) -> None:
    async def scenario() -> None:
        async with open_lane(url, name) as lane:
            calls: dict[str, Any] = {
                "stream": lambda: stream(lane),
                "send": lambda: lane.send("a/1", [PROMPT], 5, [DECODING]),
                "many rows": lambda: lane.send("a/1", [np.ones((2, 3), np.float32)] * (MANY_ROWS + 1), 5),
            }
            call = calls[how]()
            task = asyncio.create_task(call)
            (request,) = await receive(manual.consumer)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert lane.waiting_rows == 0
            while not (cancellations := manual.consumer.take_cancellations()):
                assert await asyncio.to_thread(manual.consumer.receive, 8, 5.0) == []
            assert cancellations == [(request.reply_to, request.id)]
            assert manual.consumer.take_preloads() == []
            assert manual.consumer.take_cancellations() == []

    run(scenario())


def test_when_the_client_leaves_a_request_not_yet_received_is_removed(
    url: str, name: str, manual: ManualPredictor
) -> None:
    async def scenario() -> None:
        async with open_lane(url, name) as lane:
            task = asyncio.create_task(stream(lane))
            with redis.Redis.from_url(url) as server:
                await wait_until(lambda: server.llen(wire.lane_key(name)) == 1)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await wait_until(lambda: server.llen(wire.lane_key(name)) == 0)

    run(scenario())


def test_a_plain_request_is_not_cancelled(url: str, name: str, manual: ManualPredictor) -> None:
    """It is computed before a cancellation would be read."""

    async def scenario() -> None:
        async with open_lane(url, name) as lane:
            task = asyncio.create_task(lane.send("a/1", [np.ones((2, 3), np.float32)], 5))
            await receive(manual.consumer)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await lane.predictors()
            with redis.Redis.from_url(url) as server:
                assert not server.exists(wire.control_key(f"{name}-w"))

    run(scenario())


def holds(lane: Lane, request_id: int, instance_id: str) -> bool:
    return lane._pending[request_id]._predictor == instance_id


def gone(lane: Lane, request_id: int) -> bool:
    return request_id not in lane._pending


def test_after_a_death_another_predictor_continues_the_stream(
    url: str, name: str, manual: ManualPredictor
) -> None:
    async def scenario() -> None:
        async with open_lane(url, name) as lane:
            task = asyncio.create_task(stream(lane, 20))
            (first,) = await receive(manual.consumer)
            manual.consumer.send_replies([part(first, 0, 7, 8)])
            await wait_until(partial(holds, lane, first.id, "first"))
            manual.announce("second")
            (again,) = await receive(manual.consumer)
            assert again.id != first.id
            assert again.decoding == [{**DECODING, "begun": [7, 8]}]
            manual.consumer.send_replies(
                [part(first, 2, 99), whole(first, 7, 8, 99)]
            )  # from the predictor that was thought dead
            manual.consumer.send_replies([part(again, 2, 9, instance_id="second"), whole(again, 7, 8, 9)])
            parts, answer = await task
            assert answer.outputs[0].tolist() == [7, 8, 9]
            assert [token for some in parts for token in some] in ([7, 8], [7, 8, 9])
            await wait_until(lambda: lane.waiting_rows == 0)

    run(scenario())


def test_a_stream_that_no_predictor_has_taken_waits_in_the_lane_once(
    url: str, name: str, manual: ManualPredictor
) -> None:
    """Sent again under another id, it would else be decoded twice."""

    async def scenario() -> None:
        async with open_lane(url, name) as lane:
            task = asyncio.create_task(stream(lane, 20))
            await wait_until(lambda: lane.depth == 1)
            (first,) = lane._pending
            manual.announce("second")
            await wait_until(partial(gone, lane, first))
            (request,) = await receive(manual.consumer)
            assert list(lane._pending) == [request.id]
            assert await asyncio.to_thread(manual.consumer.receive, 8, 0.1) == []
            manual.consumer.send_replies([whole(request, 7)])
            await task

    run(scenario())


def test_the_death_of_another_predictor_changes_nothing(url: str, name: str, manual: ManualPredictor) -> None:
    async def scenario(other: RequestConsumer) -> None:
        other.announce(PredictorPresence("other", "theirs", 1, "cpu", name, []))
        async with open_lane(url, name) as lane:
            task = asyncio.create_task(stream(lane, 20))
            (request,) = await receive(manual.consumer)
            manual.consumer.send_replies([part(request, 0, 7)])
            await wait_until(lambda: len(lane.known_predictors) == 2)
            other.withdraw()
            await wait_until(lambda: len(lane.known_predictors) == 1)
            assert list(lane._pending) == [request.id]
            manual.consumer.send_replies([whole(request, 7)])
            await task
            assert await asyncio.to_thread(manual.consumer.receive, 8, 0.1) == []

    consumer = RequestConsumer(url, name, "other")
    run(scenario(consumer))
    consumer.close()


def test_a_request_that_kills_is_abandoned_unless_it_makes_progress(
    url: str, name: str, manual: ManualPredictor
) -> None:
    async def scenario() -> None:
        async with open_lane(url, name) as lane:
            task = asyncio.create_task(stream(lane, 30))
            for index, (instance_id, after) in enumerate(pairwise(("first", "second", "third", "fourth"))):
                (request,) = await receive(manual.consumer)
                manual.consumer.send_replies([part(request, index, index, instance_id=instance_id)])
                await wait_until(partial(holds, lane, request.id, instance_id))
                manual.announce(after)
                await wait_until(partial(gone, lane, request.id))
            (request,) = await receive(manual.consumer)
            assert request.decoding[0]["begun"] == [0, 1, 2]
            manual.announce("fifth")
            with pytest.raises(Unavailable, match="twice"):
                await task

    run(scenario())


def test_deadlines_and_errors_are_those_of_plain_requests(
    url: str, name: str, manual: ManualPredictor
) -> None:
    async def scenario() -> None:
        async with open_lane(url, name) as lane:
            begun = time.monotonic()
            with pytest.raises(DeadlinePassed):
                await stream(lane, 0.2)
            assert time.monotonic() - begun < 1
            await receive(manual.consumer)
            task = asyncio.create_task(stream(lane))
            (request,) = await receive(manual.consumer)
            manual.consumer.send_replies(
                [(request.reply_to, Reply(request.id, ReplyStatus.MISSING, message="gone"))]
            )
            with pytest.raises(NotFound, match="gone"):
                await task
            assert lane.error_counts == {"deadline-passed": 1, "not-found": 1}
            assert lane.waiting_rows == 0

    run(scenario())


def test_without_a_predictor_nothing_is_streamed(url: str, name: str) -> None:
    async def scenario() -> None:
        async with open_lane(url, name) as lane:
            with pytest.raises(Unavailable):
                await stream(lane)

    run(scenario())


@pytest.mark.parametrize(("steps", "admitted"), [(1, MAX_WAIT_FACTOR), (400, 77)])
def test_admission_counts_one_step_of_a_request_and_not_all_of_it(
    url: str, name: str, steps: int, admitted: int
) -> None:
    """Two seconds of compute: as one pass they leave room for few requests, as many steps for many."""

    def slow(request: Request) -> Reply:
        return whole(request, 7, steps=steps, compute_seconds=2.0, batch=4)[1]

    async def scenario(fake: FakePredictor) -> None:
        async with open_lane(url, name) as lane:
            await lane.send("a/1", [PROMPT], 5, [DECODING])
            fake.go.clear()
            calls = [asyncio.create_task(lane.send("a/1", [PROMPT], 5, [DECODING])) for _ in range(200)]
            await asyncio.sleep(0.2)
            refused = [call for call in calls if call.done() and isinstance(call.exception(), QueueFull)]
            assert 200 - len(refused) == pytest.approx(admitted, abs=2)
            fake.go.set()
            await asyncio.gather(*calls, return_exceptions=True)

    with fake_predictor(url, name, slow) as fake:
        run(scenario(fake))


def test_decoded_requests_make_room_for_as_many(url: str, name: str) -> None:
    def slow(request: Request) -> Reply:
        return whole(request, 7, steps=1000, compute_seconds=2.0, batch=4)[1]

    async def scenario() -> None:
        async with open_lane(url, name) as lane:
            for count in (1, 60, 60):  # of at most 90 together
                calls = [lane.send("a/1", [PROMPT], 20, [DECODING]) for _ in range(count)]
                assert len(await asyncio.gather(*calls)) == count

    with fake_predictor(url, name, slow):
        run(scenario())
