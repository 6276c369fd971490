"""The lane against real servers, with a predictor that is a thread."""

import asyncio
import secrets
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import redis

from app.errors import AppError, DeadlinePassed, NotFound, PredictionFailed, QueueFull, Unavailable
from app.lanes import Lane, PredictorPresence, Reply, ReplyStatus, Request, RequestConsumer, Tensor, wire
from app.lanes.request_consumer import UnsupportedServer
from app.lanes.request_sender import PUSH_BATCH_REQUESTS
from tests.support.fakes.lanes import ROW, FakePredictor, fake_predictor, open_lane, run, wait_until
from tests.support.fixtures.servers import Valkey, until, valkey


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    with valkey() as running:
        yield running


@pytest.fixture
def fragile() -> Iterator[Valkey]:
    with valkey() as running:
        yield running


@pytest.fixture
def url(redis_url: str) -> str:
    return redis_url


@pytest.fixture
def name() -> str:
    return f"test-{secrets.token_hex(6)}"


def test_a_tensor_keeps_shape_and_values() -> None:
    back = wire.decode_request(wire.encode(Request(1, "r", 1.0, 2.0, "a/1", [Tensor.of(ROW.T)])))
    assert np.array_equal(back.instances[0].array(), ROW.T)


def test_a_tensor_with_other_bytes_than_its_shape_is_refused() -> None:
    for shape in ((2, 3), (-1, -6)):
        with pytest.raises(ValueError, match=r"reshape|dimension"):
            Tensor(shape, memoryview(b"1234" * 5)).array()


def test_the_answers_come_back_in_order(url: str, name: str) -> None:
    async def scenario() -> None:
        async with open_lane(url, name) as lane:
            answer = await lane.send("a/1", [ROW, ROW[:1] + 1], 5)
            assert [output.tolist() for output in answer.outputs] == [
                (2 * ROW).tolist(),
                (2 * ROW[:1] + 2).tolist(),
            ]
            assert (answer.queue_seconds, answer.compute_seconds) == (0.25, 0.5)
            assert lane.waiting_rows == 0

    with fake_predictor(url, name) as fake:
        run(scenario())
    request = fake.received[0]
    assert request.artifact == "a/1"
    assert request.deadline - request.sent == pytest.approx(5)


def test_two_hundred_concurrent_calls_leave_in_few_pushes(server: Valkey, name: str) -> None:
    client = redis.Redis.from_url(server.url)

    def pushes() -> int:
        return int(client.info("commandstats").get("cmdstat_rpush", {}).get("calls", 0))

    async def scenario(fake: FakePredictor) -> None:
        async with open_lane(server.url, name) as lane:
            await lane.send("a/1", [ROW], 5)
            fake.go.clear()
            before = pushes()
            calls = [asyncio.create_task(lane.send("a/1", [ROW + i], 5)) for i in range(200)]
            await wait_until(lambda: lane.depth + len(fake.received) >= 200)
            assert pushes() - before <= 200 / PUSH_BATCH_REQUESTS + 2
            fake.go.set()
            for i, answer in enumerate(await asyncio.gather(*calls)):
                assert np.array_equal(answer.outputs[0], 2 * (ROW + i))

    with fake_predictor(server.url, name) as fake:
        run(scenario(fake))
    client.close()


def test_rows_in_flight_are_bounded(url: str, name: str) -> None:
    async def scenario(fake: FakePredictor) -> None:
        async with open_lane(url, name, max_waiting=4) as lane:
            fake.go.clear()
            calls = [asyncio.create_task(lane.send("a/1", [ROW, ROW], 5)) for _ in range(2)]
            await wait_until(lambda: lane.waiting_rows == 4)
            with pytest.raises(QueueFull):
                await lane.send("a/1", [ROW], 5)
            fake.go.set()
            await asyncio.gather(*calls)
            await lane.send("a/1", [ROW], 5)

    with fake_predictor(url, name) as fake:
        run(scenario(fake))


def test_the_lane_itself_is_bounded_over_processes(url: str, name: str) -> None:
    async def scenario(consumer: RequestConsumer) -> None:
        consumer.announce(PredictorPresence("quiet", "first", 1, "cpu", name, []))
        async with open_lane(url, name, max_waiting=3) as one, open_lane(url, name, max_waiting=3) as other:
            full = [asyncio.create_task(one.send("a/1", [ROW], 1)) for _ in range(3)]
            await wait_until(lambda: one.depth == 3)
            with pytest.raises(QueueFull):
                await other.send("a/1", [ROW], 1)
            for call in full:
                with pytest.raises(DeadlinePassed):
                    await call

    consumer = RequestConsumer(url, name, "quiet")
    run(scenario(consumer))
    consumer.withdraw()
    consumer.close()


def test_a_full_lane_is_probed_again(url: str, name: str) -> None:
    """An idle process pushes nothing, so only a probe shows it that the requests of others are done."""

    async def is_answered(lane: Lane) -> bool:
        try:
            await lane.send("a/1", [ROW], 5)
        except QueueFull:
            return False
        return True

    async def scenario(consumer: RequestConsumer) -> None:
        consumer.announce(PredictorPresence("quiet", "first", 1, "cpu", name, []))
        async with open_lane(url, name, max_waiting=3) as one, open_lane(url, name, max_waiting=3) as other:
            calls = [asyncio.create_task(one.send("a/1", [ROW], 20)) for _ in range(3)]
            await wait_until(lambda: one.depth == 3)
            assert not await is_answered(other)
            with fake_predictor(url, name):
                await asyncio.gather(*calls)
                deadline = time.monotonic() + 5
                while not await is_answered(other):
                    assert time.monotonic() < deadline
                    await asyncio.sleep(0.05)

    consumer = RequestConsumer(url, name, "quiet")
    run(scenario(consumer))
    consumer.withdraw()
    consumer.close()


def test_a_cancelled_request_is_removed_from_the_lane(url: str, name: str) -> None:
    async def scenario(consumer: RequestConsumer) -> None:
        consumer.announce(PredictorPresence("quiet", "first", 1, "cpu", name, []))
        async with open_lane(url, name) as lane:
            remaining = asyncio.create_task(lane.send("a/1", [ROW], 30))
            calls = [asyncio.create_task(lane.send("a/1", [ROW + k], 30)) for k in range(20)]
            with redis.Redis.from_url(url) as server:
                await wait_until(lambda: server.llen(wire.lane_key(name)) == 21)
                for call in calls:
                    call.cancel()
                await asyncio.gather(*calls, return_exceptions=True)
                await wait_until(lambda: server.llen(wire.lane_key(name)) == 1)
                (left,) = server.lrange(wire.lane_key(name), 0, -1)
            assert wire.decode_request(left).instances[0].array().tolist() == ROW.tolist()
            assert lane.waiting_rows == 1
            remaining.cancel()

    consumer = RequestConsumer(url, name, "quiet")
    run(scenario(consumer))
    consumer.withdraw()
    consumer.close()


def test_every_predictor_is_sent_a_preload(url: str, name: str) -> None:
    async def scenario(consumers: list[RequestConsumer]) -> None:
        for consumer, worker in zip(consumers, "ab", strict=True):
            consumer.announce(PredictorPresence(f"{name}-{worker}", "first", 1, "cpu", name, []))
        async with open_lane(url, name) as lane:
            await lane.preload("artifacts/9")
        with redis.Redis.from_url(url) as server:
            for worker in "ab":
                key = wire.control_key(f"{name}-{worker}")
                assert server.lrange(key, 0, -1) == [b"artifacts/9"]
                assert 0 < int(server.ttl(key)) <= wire.PRESENCE_TTL_SECONDS

    consumers = [RequestConsumer(url, name, f"{name}-{worker}") for worker in "ab"]
    run(scenario(consumers))
    for consumer in consumers:
        consumer.withdraw()
        consumer.close()


def test_a_preload_that_cannot_be_sent_is_ignored(name: str) -> None:
    async def scenario() -> None:
        async with open_lane("unix:///nowhere/s", name) as lane:
            await lane.preload("artifacts/9")
            assert not lane.redis_reachable

    run(scenario())


def test_a_full_lane_is_reported_before_anything_is_sent(url: str, name: str) -> None:
    async def scenario(consumer: RequestConsumer) -> None:
        consumer.announce(PredictorPresence("quiet", "first", 1, "cpu", name, []))
        async with open_lane(url, name, max_waiting=2) as lane:
            lane.check_capacity("a/1")
            calls = [asyncio.create_task(lane.send("a/1", [ROW], 0.3)) for _ in range(2)]
            await wait_until(lambda: lane.waiting_rows == 2)
            with pytest.raises(QueueFull):
                lane.check_capacity("a/1")
            assert lane.error_counts == {"queue-full": 1}
            await asyncio.gather(*calls, return_exceptions=True)
            lane.check_capacity("a/1")

    consumer = RequestConsumer(url, name, "quiet")
    run(scenario(consumer))
    consumer.withdraw()
    consumer.close()


def test_errors_are_counted_by_code(url: str, name: str) -> None:
    async def scenario(fake: FakePredictor) -> None:
        async with open_lane(url, name) as lane:
            await lane.send("a/1", [ROW], 5)
            fake.answer = lambda request: Reply(request.id, ReplyStatus.UNAVAILABLE, message="no store")
            with pytest.raises(Unavailable, match="no store"):
                await lane.send("a/1", [ROW], 5)
            fake.answer = lambda request: Reply(request.id, ReplyStatus.MISSING)
            with pytest.raises(NotFound):
                await lane.send("a/1", [ROW], 5)
            assert lane.error_counts == {"unavailable": 1, "not-found": 1}

    with fake_predictor(url, name) as fake:
        run(scenario(fake))


def test_a_deadline_passes_and_the_late_reply_is_ignored(url: str, name: str) -> None:
    async def scenario(fake: FakePredictor) -> None:
        async with open_lane(url, name) as lane:
            await lane.send("a/1", [ROW], 5)
            fake.go.clear()
            begun = time.monotonic()
            with pytest.raises(DeadlinePassed):
                await lane.send("a/1", [ROW], 0.1)
            assert time.monotonic() - begun < 0.4
            assert lane.waiting_rows == 0
            fake.go.set()
            answer = await lane.send("a/1", [ROW + 1], 5)
            assert np.array_equal(answer.outputs[0], 2 * ROW + 2)

    with fake_predictor(url, name) as fake:
        run(scenario(fake))


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (ReplyStatus.ERROR, PredictionFailed),
        (ReplyStatus.MISSING, NotFound),
        (ReplyStatus.EXPIRED, DeadlinePassed),
    ],
)
def test_a_reply_without_an_answer_becomes_an_error(
    server: Valkey, name: str, status: ReplyStatus, error: type[AppError]
) -> None:
    async def scenario() -> None:
        async with open_lane(server.url, name) as lane:
            with pytest.raises(error, match="because"):
                await lane.send("a/1", [ROW], 5)

    with fake_predictor(server.url, name, lambda request: Reply(request.id, status, message="because")):
        run(scenario())


def test_closing_fails_pending_calls(url: str, name: str) -> None:
    async def scenario(fake: FakePredictor) -> None:
        lane = Lane(url, name)
        await lane.start()
        fake.go.clear()
        call = asyncio.create_task(lane.send("a/1", [ROW], 5))
        await wait_until(lambda: lane.waiting_rows)
        await lane.close()
        with pytest.raises(Unavailable):
            await call

    with fake_predictor(url, name) as fake:
        run(scenario(fake))


def test_an_interrupt_wakes_the_consumer_even_when_it_came_first(url: str, name: str) -> None:
    consumer = RequestConsumer(url, name, name)
    consumer.interrupt()
    begun = time.monotonic()
    assert consumer.receive(8) == []
    assert time.monotonic() - begun < 1
    consumer.close()


def test_the_consumer_takes_up_to_a_limit_and_drops_malformed_requests(url: str, name: str) -> None:
    consumer = RequestConsumer(url, name, name)
    client: Any = redis.Redis.from_url(url)
    good = [wire.encode(Request(i, "r", 1.0, 2.0, "a/1", [Tensor.of(ROW)])) for i in range(4)]
    client.rpush(wire.lane_key(name), good[0], b"malformed", *good[1:])
    assert [request.id for request in consumer.receive(3)] == [0, 1]
    assert [request.id for request in consumer.receive(3)] == [2, 3]
    consumer.close()
    client.close()


def test_replies_are_one_message_a_process_and_leave_nothing_behind(url: str, name: str) -> None:
    consumer = RequestConsumer(url, name, name)
    client: Any = redis.Redis.from_url(url)
    one, two = wire.reply_key(name + "1"), wire.reply_key(name + "2")
    consumer.send_replies(
        [(one, Reply(1, ReplyStatus.OK)), (two, Reply(1, ReplyStatus.OK)), (one, Reply(2, ReplyStatus.ERROR))]
    )
    assert (client.llen(one), client.llen(two)) == (1, 1)
    assert [reply.id for reply in wire.decode_replies(client.lpop(one))] == [1, 2]
    assert 0 < int(client.ttl(two)) <= wire.REPLY_TTL_SECONDS
    client.delete(two)
    consumer.close()
    client.close()


def test_presence_expires_by_itself(url: str, name: str) -> None:
    consumer = RequestConsumer(url, name, name)
    client: Any = redis.Redis.from_url(url)
    consumer.announce(PredictorPresence(name, "first", 7, "cuda:0", name, ["a/1"]))
    presence = consumer.read_presence()
    assert presence is not None
    assert (presence.pid, presence.device) == (7, "cuda:0")
    assert 0 < int(client.ttl(wire.predictor_key(name))) <= wire.PRESENCE_TTL_SECONDS
    consumer.withdraw()
    until(lambda: consumer.read_presence() is None)
    consumer.close()
    client.close()


def test_a_server_without_blmpop_is_refused(server: Valkey, name: str) -> None:
    with valkey("--rename-command", "BLMPOP", "") as old:
        consumer = RequestConsumer(old.url, name, name)
        with pytest.raises(UnsupportedServer, match="Redis 7"):
            consumer.check_server()
        consumer.close()
    consumer = RequestConsumer(server.url, name, name)
    consumer.check_server()
    consumer.close()
