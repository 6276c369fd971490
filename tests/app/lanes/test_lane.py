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
from app.lanes import Inbox, Lane, Presence, Reply, Request, Status, Tensor, wire
from app.lanes.inbox import Unsupported
from app.lanes.outbox import PUSH_AT
from tests.lanes import ROW, FakePredictor, eventually, opened, predictor, run
from tests.servers import Valkey, until, valkey


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
        async with opened(url, name) as lane:
            answer = await lane.send("a/1", [ROW, ROW[:1] + 1], 5)
            assert [output.tolist() for output in answer.outputs] == [
                (2 * ROW).tolist(),
                (2 * ROW[:1] + 2).tolist(),
            ]
            assert (answer.queue_seconds, answer.compute_seconds) == (0.25, 0.5)
            assert lane.waiting == 0

    with predictor(url, name) as fake:
        run(scenario())
    request = fake.seen[0]
    assert request.artifact == "a/1"
    assert request.deadline - request.sent == pytest.approx(5)


def test_two_hundred_concurrent_calls_leave_in_few_pushes(server: Valkey, name: str) -> None:
    client = redis.Redis.from_url(server.url)

    def pushes() -> int:
        return int(client.info("commandstats").get("cmdstat_rpush", {}).get("calls", 0))

    async def scenario(fake: FakePredictor) -> None:
        async with opened(server.url, name) as lane:
            await lane.send("a/1", [ROW], 5)
            fake.go.clear()
            before = pushes()
            calls = [asyncio.create_task(lane.send("a/1", [ROW + i], 5)) for i in range(200)]
            await eventually(lambda: lane.depth + len(fake.seen) >= 200)
            assert pushes() - before <= 200 / PUSH_AT + 2
            fake.go.set()
            for i, answer in enumerate(await asyncio.gather(*calls)):
                assert np.array_equal(answer.outputs[0], 2 * (ROW + i))

    with predictor(server.url, name) as fake:
        run(scenario(fake))
    client.close()


def test_rows_in_flight_are_bounded(url: str, name: str) -> None:
    async def scenario(fake: FakePredictor) -> None:
        async with opened(url, name, max_waiting=4) as lane:
            fake.go.clear()
            calls = [asyncio.create_task(lane.send("a/1", [ROW, ROW], 5)) for _ in range(2)]
            await eventually(lambda: lane.waiting == 4)
            with pytest.raises(QueueFull):
                await lane.send("a/1", [ROW], 5)
            fake.go.set()
            await asyncio.gather(*calls)
            await lane.send("a/1", [ROW], 5)

    with predictor(url, name) as fake:
        run(scenario(fake))


def test_the_lane_itself_is_bounded_over_processes(url: str, name: str) -> None:
    async def scenario(inbox: Inbox) -> None:
        inbox.announce(Presence("quiet", "first", 1, "cpu", name, []))
        async with opened(url, name, max_waiting=3) as one, opened(url, name, max_waiting=3) as other:
            full = [asyncio.create_task(one.send("a/1", [ROW], 1)) for _ in range(3)]
            await eventually(lambda: one.depth == 3)
            with pytest.raises(QueueFull):
                await other.send("a/1", [ROW], 1)
            for call in full:
                with pytest.raises(DeadlinePassed):
                    await call

    inbox = Inbox(url, name, "quiet")
    run(scenario(inbox))
    inbox.withdraw()
    inbox.close()


def test_a_lane_that_was_full_is_looked_at_again(url: str, name: str) -> None:
    """Nothing of its own waits, so no push tells a process that the others' requests are done."""

    async def answered(lane: Lane) -> bool:
        try:
            await lane.send("a/1", [ROW], 5)
        except QueueFull:
            return False
        return True

    async def scenario(inbox: Inbox) -> None:
        inbox.announce(Presence("quiet", "first", 1, "cpu", name, []))
        async with opened(url, name, max_waiting=3) as one, opened(url, name, max_waiting=3) as other:
            calls = [asyncio.create_task(one.send("a/1", [ROW], 20)) for _ in range(3)]
            await eventually(lambda: one.depth == 3)
            assert not await answered(other)
            with predictor(url, name):
                await asyncio.gather(*calls)
                deadline = time.monotonic() + 5
                while not await answered(other):
                    assert time.monotonic() < deadline
                    await asyncio.sleep(0.05)

    inbox = Inbox(url, name, "quiet")
    run(scenario(inbox))
    inbox.withdraw()
    inbox.close()


def test_a_request_nobody_waits_for_is_taken_out_of_the_lane(url: str, name: str) -> None:
    async def scenario(inbox: Inbox) -> None:
        inbox.announce(Presence("quiet", "first", 1, "cpu", name, []))
        async with opened(url, name) as lane:
            kept = asyncio.create_task(lane.send("a/1", [ROW], 30))
            calls = [asyncio.create_task(lane.send("a/1", [ROW + k], 30)) for k in range(20)]
            with redis.Redis.from_url(url) as server:
                await eventually(lambda: server.llen(wire.lane_key(name)) == 21)
                for call in calls:
                    call.cancel()
                await asyncio.gather(*calls, return_exceptions=True)
                await eventually(lambda: server.llen(wire.lane_key(name)) == 1)
                (left,) = server.lrange(wire.lane_key(name), 0, -1)
            assert wire.decode_request(left).instances[0].array().tolist() == ROW.tolist()
            assert lane.waiting == 1
            kept.cancel()

    inbox = Inbox(url, name, "quiet")
    run(scenario(inbox))
    inbox.withdraw()
    inbox.close()


def test_every_predictor_is_told_to_load_a_version_ahead(url: str, name: str) -> None:
    async def scenario(inboxes: list[Inbox]) -> None:
        for inbox, worker in zip(inboxes, "ab", strict=True):
            inbox.announce(Presence(f"{name}-{worker}", "first", 1, "cpu", name, []))
        async with opened(url, name) as lane:
            await lane.prepare("artifacts/9")
        with redis.Redis.from_url(url) as server:
            for worker in "ab":
                key = wire.control_key(f"{name}-{worker}")
                assert server.lrange(key, 0, -1) == [b"artifacts/9"]
                assert 0 < int(server.ttl(key)) <= wire.PRESENCE_SECONDS

    inboxes = [Inbox(url, name, f"{name}-{worker}") for worker in "ab"]
    run(scenario(inboxes))
    for inbox in inboxes:
        inbox.withdraw()
        inbox.close()


def test_an_order_that_cannot_be_given_harms_nobody(name: str) -> None:
    async def scenario() -> None:
        async with opened("unix:///nowhere/s", name) as lane:
            await lane.prepare("artifacts/9")
            assert not lane.reachable

    run(scenario())


def test_a_full_lane_says_so_before_anything_is_sent(url: str, name: str) -> None:
    async def scenario(inbox: Inbox) -> None:
        inbox.announce(Presence("quiet", "first", 1, "cpu", name, []))
        async with opened(url, name, max_waiting=2) as lane:
            lane.check("a/1")
            calls = [asyncio.create_task(lane.send("a/1", [ROW], 0.3)) for _ in range(2)]
            await eventually(lambda: lane.waiting == 2)
            with pytest.raises(QueueFull):
                lane.check("a/1")
            assert lane.refused == {"queue-full": 1}
            await asyncio.gather(*calls, return_exceptions=True)
            lane.check("a/1")

    inbox = Inbox(url, name, "quiet")
    run(scenario(inbox))
    inbox.withdraw()
    inbox.close()


def test_refusals_are_counted_by_kind(url: str, name: str) -> None:
    async def scenario(fake: FakePredictor) -> None:
        async with opened(url, name) as lane:
            await lane.send("a/1", [ROW], 5)
            fake.answer = lambda request: Reply(request.id, Status.AWAY, message="no store")
            with pytest.raises(Unavailable, match="no store"):
                await lane.send("a/1", [ROW], 5)
            fake.answer = lambda request: Reply(request.id, Status.MISSING)
            with pytest.raises(NotFound):
                await lane.send("a/1", [ROW], 5)
            assert lane.refused == {"unavailable": 1, "not-found": 1}

    with predictor(url, name) as fake:
        run(scenario(fake))


def test_a_deadline_passes_and_the_late_reply_is_ignored(url: str, name: str) -> None:
    async def scenario(fake: FakePredictor) -> None:
        async with opened(url, name) as lane:
            await lane.send("a/1", [ROW], 5)
            fake.go.clear()
            begun = time.monotonic()
            with pytest.raises(DeadlinePassed):
                await lane.send("a/1", [ROW], 0.1)
            assert time.monotonic() - begun < 0.4
            assert lane.waiting == 0
            fake.go.set()
            answer = await lane.send("a/1", [ROW + 1], 5)
            assert np.array_equal(answer.outputs[0], 2 * ROW + 2)

    with predictor(url, name) as fake:
        run(scenario(fake))


@pytest.mark.parametrize(
    ("status", "error"),
    [(Status.ERROR, PredictionFailed), (Status.MISSING, NotFound), (Status.EXPIRED, DeadlinePassed)],
)
def test_a_refusal_becomes_an_error(server: Valkey, name: str, status: Status, error: type[AppError]) -> None:
    async def scenario() -> None:
        async with opened(server.url, name) as lane:
            with pytest.raises(error, match="because"):
                await lane.send("a/1", [ROW], 5)

    with predictor(server.url, name, lambda request: Reply(request.id, status, message="because")):
        run(scenario())


def test_closing_answers_whoever_waits(url: str, name: str) -> None:
    async def scenario(fake: FakePredictor) -> None:
        lane = Lane(url, name)
        await lane.start()
        fake.go.clear()
        call = asyncio.create_task(lane.send("a/1", [ROW], 5))
        await eventually(lambda: lane.waiting)
        await lane.close()
        with pytest.raises(Unavailable):
            await call

    with predictor(url, name) as fake:
        run(scenario(fake))


def test_an_interrupt_wakes_the_inbox_even_when_it_came_first(url: str, name: str) -> None:
    inbox = Inbox(url, name, name)
    inbox.interrupt()
    begun = time.monotonic()
    assert inbox.receive(8) == []
    assert time.monotonic() - begun < 1
    inbox.close()


def test_the_inbox_takes_a_limit_and_drops_what_it_cannot_read(url: str, name: str) -> None:
    inbox = Inbox(url, name, name)
    client: Any = redis.Redis.from_url(url)
    good = [wire.encode(Request(i, "r", 1.0, 2.0, "a/1", [Tensor.of(ROW)])) for i in range(4)]
    client.rpush(wire.lane_key(name), good[0], b"rubbish", *good[1:])
    assert [request.id for request in inbox.receive(3)] == [0, 1]
    assert [request.id for request in inbox.receive(3)] == [2, 3]
    inbox.close()
    client.close()


def test_replies_are_one_message_a_process_and_leave_nothing_behind(url: str, name: str) -> None:
    inbox = Inbox(url, name, name)
    client: Any = redis.Redis.from_url(url)
    one, two = wire.reply_key(name + "1"), wire.reply_key(name + "2")
    inbox.reply([(one, Reply(1, Status.OK)), (two, Reply(1, Status.OK)), (one, Reply(2, Status.ERROR))])
    assert (client.llen(one), client.llen(two)) == (1, 1)
    assert [reply.id for reply in wire.decode_replies(client.lpop(one))] == [1, 2]
    assert 0 < int(client.ttl(two)) <= wire.REPLY_SECONDS
    client.delete(two)
    inbox.close()
    client.close()


def test_presence_expires_by_itself(url: str, name: str) -> None:
    inbox = Inbox(url, name, name)
    client: Any = redis.Redis.from_url(url)
    inbox.announce(Presence(name, "first", 7, "cuda:0", name, ["a/1"]))
    presence = inbox.presence()
    assert presence is not None
    assert (presence.pid, presence.device) == (7, "cuda:0")
    assert 0 < int(client.ttl(wire.predictor_key(name))) <= wire.PRESENCE_SECONDS
    inbox.withdraw()
    until(lambda: inbox.presence() is None)
    inbox.close()
    client.close()


def test_a_server_without_blmpop_is_refused_by_name(server: Valkey, name: str) -> None:
    with valkey("--rename-command", "BLMPOP", "") as old:
        inbox = Inbox(old.url, name, name)
        with pytest.raises(Unsupported, match="Redis 7"):
            inbox.check()
        inbox.close()
    inbox = Inbox(server.url, name, name)
    inbox.check()
    inbox.close()
