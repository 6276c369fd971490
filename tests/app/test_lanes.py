"""The lane against real servers, with a predictor that is a thread."""

import asyncio
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import numpy as np
import pytest
import redis

from app.errors import AppError, DeadlinePassed, NotFound, PredictionFailed, QueueFull, Unavailable
from app.lanes import Inbox, Lane, Presence, Reply, Request, Status, Tensor, wire
from tests.servers import Valkey, until, valkey

ROW = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    with valkey() as running:
        yield running


@pytest.fixture
def fragile() -> Iterator[Valkey]:
    with valkey() as running:
        yield running


@pytest.fixture(params=["embedded", "external"])
def url(request: pytest.FixtureRequest, server: Valkey) -> str:
    if request.param == "embedded":
        return server.url
    return os.environ.get("RECURRA_TEST_REDIS_URL") or pytest.skip("RECURRA_TEST_REDIS_URL is not set")


@pytest.fixture
def name() -> str:
    return f"test-{secrets.token_hex(6)}"


def doubled(request: Request) -> Reply:
    return Reply(
        request.id, Status.OK, [Tensor.of(2 * item.array()) for item in request.instances], 0.25, 0.5
    )


class FakePredictor:
    """Answers from a thread; can be held, can forget what it received, can be reborn."""

    def __init__(self, url: str, lane: str, answer: Callable[[Request], Reply] = doubled) -> None:
        self.inbox = Inbox(url, lane, f"fake-{lane}")
        self.lane, self.answer = lane, answer
        self.seen: list[Request] = []
        self.go = threading.Event()
        self.go.set()
        self.ended = False
        self.thread = threading.Thread(target=self._serve)

    def live(self, boot: str = "first") -> None:
        self.inbox.announce(Presence(f"fake-{self.lane}", boot, 1, "cpu", self.lane, ["a/1"]))

    def _serve(self) -> None:
        while True:
            self.go.wait()
            try:
                requests = self.inbox.receive(64)
            except (redis.RedisError, OSError):
                if self.ended:
                    return
                continue
            if self.ended:
                return
            self.seen += requests
            self.go.wait()
            self.inbox.reply([(request.reply, self.answer(request)) for request in requests])

    def end(self) -> None:
        self.ended = True
        try:
            self.inbox.withdraw()
            self.inbox.interrupt()
        except (redis.RedisError, OSError):
            pass
        self.go.set()
        self.thread.join()
        self.inbox.close()


@contextmanager
def predictor(url: str, lane: str, answer: Callable[[Request], Reply] = doubled) -> Iterator[FakePredictor]:
    fake = FakePredictor(url, lane, answer)
    fake.live()
    fake.thread.start()
    try:
        yield fake
    finally:
        fake.end()


@asynccontextmanager
async def opened(url: str, name: str, max_waiting: int = 4096) -> Any:
    lane = Lane(url, name, max_waiting)
    await lane.start()
    try:
        yield lane
    finally:
        await lane.close()


async def eventually(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


async def served(lane: Lane, seconds: float = 5.0) -> None:
    """Until the lane answers again."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            await lane.send("a/1", [ROW], 1.0)
        except (Unavailable, DeadlinePassed):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        else:
            return


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


def test_a_tensor_keeps_shape_and_values() -> None:
    back = wire.decode_request(wire.encode(Request(1, "r", 1.0, 2.0, "a/1", [Tensor.of(ROW.T)])))
    assert np.array_equal(back.instances[0].array(), ROW.T)
    assert back.instances[0].whole


def test_a_tensor_with_other_bytes_than_its_shape_is_not_whole() -> None:
    assert not Tensor((2, 3), memoryview(b"1234")).whole
    assert not Tensor((-1, -6), memoryview(b"1234" * 6)).whole


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
            assert pushes() - before <= 3
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
            late = asyncio.create_task(other.send("a/1", [ROW], 1))
            await eventually(lambda: other.depth == 4)
            with pytest.raises(QueueFull):
                await other.send("a/1", [ROW], 1)
            for call in (*full, late):
                with pytest.raises(DeadlinePassed):
                    await call

    inbox = Inbox(url, name, "quiet")
    run(scenario(inbox))
    inbox.withdraw()
    inbox.close()


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


def test_without_a_predictor_calls_fail_at_once_until_one_comes(url: str, name: str) -> None:
    async def scenario() -> None:
        async with opened(url, name) as lane:
            begun = time.monotonic()
            for _ in range(50):
                with pytest.raises(Unavailable):
                    await lane.send("a/1", [ROW], 5)
            assert time.monotonic() - begun < 1
            with predictor(url, name):
                await served(lane)
                assert [presence.versions for presence in await lane.predictors()] == [["a/1"]]

    run(scenario())


def test_when_the_last_predictor_goes_nobody_waits_for_the_deadline(url: str, name: str) -> None:
    async def scenario(fake: FakePredictor) -> None:
        async with opened(url, name) as lane:
            await lane.send("a/1", [ROW], 5)
            fake.go.clear()
            call = asyncio.create_task(lane.send("a/1", [ROW], 30))
            await eventually(lambda: lane.waiting)
            fake.inbox.withdraw()
            begun = time.monotonic()
            with pytest.raises(Unavailable):
                await call
            assert time.monotonic() - begun < 2

    with predictor(url, name) as fake:
        run(scenario(fake))


def test_what_a_dead_predictor_had_taken_is_sent_once_more(url: str, name: str) -> None:
    async def scenario(inbox: Inbox) -> None:
        def live(boot: str) -> None:
            inbox.announce(Presence("mortal", boot, 1, "cpu", name, []))

        live("first")
        async with opened(url, name) as lane:
            call = asyncio.create_task(lane.send("a/1", [ROW], 20))
            await eventually(lambda: lane.depth == 1)
            (taken,) = await asyncio.to_thread(inbox.receive, 8)
            live("second")
            (again,) = await asyncio.to_thread(inbox.receive, 8)
            assert again == taken
            inbox.reply([(taken.reply, doubled(taken)), (again.reply, doubled(again))])
            assert np.array_equal((await call).outputs[0], 2 * ROW)

            call = asyncio.create_task(lane.send("poison/1", [ROW], 20))
            for boot in ("third", "fourth"):
                assert len(await asyncio.to_thread(inbox.receive, 8)) == 1
                await eventually(lambda: lane.predictors)
                live(boot)
            with pytest.raises(Unavailable, match="twice"):
                await call

    inbox = Inbox(url, name, "mortal")
    run(scenario(inbox))
    inbox.withdraw()
    inbox.close()


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


def test_a_client_that_left_is_not_sent_for(fragile: Valkey, name: str) -> None:
    async def scenario(inbox: Inbox) -> None:
        async with opened(fragile.url, name) as lane:
            await lane.predictors()
            with pytest.raises(DeadlinePassed):  # connects
                await lane.send("a/1", [ROW], 0.01)
            fragile.signal(signal.SIGSTOP)
            first = asyncio.create_task(lane.send("a/1", [ROW], 3))
            await eventually(lambda: lane.waiting == 1 and not lane._outgoing)
            second = asyncio.create_task(lane.send("a/1", [ROW + 1], 3))
            await eventually(lambda: lane.waiting == 2)
            second.cancel()
            await asyncio.gather(second, return_exceptions=True)
            fragile.signal(signal.SIGCONT)
            await eventually(lambda: lane.depth == 2)
            requests = await asyncio.to_thread(inbox.receive, 8)
            assert [request.deadline - request.sent > 1 for request in requests] == [False, True]
            assert lane.waiting == 1
            inbox.reply([(request.reply, doubled(request)) for request in requests])
            await first
            assert await asyncio.to_thread(inbox.receive, 8) == []

    inbox = Inbox(fragile.url, name, "w")
    inbox.announce(Presence("w", "first", 1, "cpu", name, []))
    run(scenario(inbox))
    inbox.close()


def test_without_redis_calls_fail_within_a_second() -> None:
    async def scenario() -> None:
        async with opened("unix:///nowhere/at/all", "x") as lane:
            begun = time.monotonic()
            with pytest.raises(Unavailable):
                await lane.send("a/1", [ROW], 5)
            assert time.monotonic() - begun < 1

    run(scenario())


def test_a_redis_that_hangs_is_unavailable_and_comes_back(fragile: Valkey, name: str) -> None:
    async def scenario() -> None:
        async with opened(fragile.url, name) as lane:
            await served(lane)
            fragile.signal(signal.SIGSTOP)
            begun = time.monotonic()
            with pytest.raises(Unavailable):
                await lane.send("a/1", [ROW], 5)
            assert time.monotonic() - begun < 1.1
            fragile.signal(signal.SIGCONT)
            await served(lane)

    with predictor(fragile.url, name):
        run(scenario())


def test_redis_killed_and_restarted(fragile: Valkey, name: str) -> None:
    async def scenario(fake: FakePredictor) -> None:
        async with opened(fragile.url, name) as lane:
            await served(lane)
            fake.go.clear()
            calls = [asyncio.create_task(lane.send("a/1", [ROW], 5)) for _ in range(5)]
            await eventually(lambda: lane.waiting == 5)
            fragile.kill()
            begun = time.monotonic()
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(result) for result in results] == [Unavailable] * 5
            assert time.monotonic() - begun < 2
            fragile.start()
            fake.seen.clear()
            fake.live()
            fake.go.set()
            await served(lane)

    with predictor(fragile.url, name) as fake:
        run(scenario(fake))


def test_flushall_costs_what_was_in_flight_and_no_more(fragile: Valkey, name: str) -> None:
    async def scenario(fake: FakePredictor, client: redis.Redis) -> None:
        async with opened(fragile.url, name) as lane:
            await served(lane)
            fake.go.clear()
            call = asyncio.create_task(lane.send("a/1", [ROW], 5))
            await eventually(lambda: lane.waiting)
            client.flushall()
            begun = time.monotonic()
            with pytest.raises((Unavailable, DeadlinePassed)):
                await call
            assert time.monotonic() - begun < 5.2
            fake.live()
            fake.go.set()
            await served(lane)

    client = redis.Redis.from_url(fragile.url)
    with predictor(fragile.url, name) as fake:
        run(scenario(fake, client))
    client.close()


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
    client, inbox = redis.Redis.from_url(url), Inbox(url, name, name)
    good = [wire.encode(Request(i, "r", 1.0, 2.0, "a/1", [Tensor.of(ROW)])) for i in range(4)]
    client.rpush(wire.lane_key(name), good[0], b"rubbish", *good[1:])
    assert [request.id for request in inbox.receive(3)] == [0, 1]
    assert [request.id for request in inbox.receive(3)] == [2, 3]
    inbox.close()
    client.close()


def test_replies_are_one_message_a_process_and_leave_nothing_behind(url: str, name: str) -> None:
    client, inbox = redis.Redis.from_url(url), Inbox(url, name, name)
    one, two = wire.reply_key(name + "1"), wire.reply_key(name + "2")
    inbox.reply([(one, Reply(1, Status.OK)), (two, Reply(1, Status.OK)), (one, Reply(2, Status.ERROR))])
    assert (client.llen(one), client.llen(two)) == (1, 1)
    assert [reply.id for reply in wire.decode_replies(client.lpop(one))] == [1, 2]
    assert 0 < int(client.ttl(two)) <= wire.REPLY_SECONDS  # type: ignore[arg-type]
    client.delete(two)
    inbox.close()
    client.close()


def test_presence_expires_by_itself(url: str, name: str) -> None:
    client, inbox = redis.Redis.from_url(url), Inbox(url, name, name)
    inbox.announce(Presence(name, "first", 7, "cuda:0", name, ["a/1"]))
    presence = inbox.presence()
    assert presence is not None
    assert (presence.pid, presence.device) == (7, "cuda:0")
    assert 0 < int(client.ttl(wire.predictor_key(name))) <= wire.PRESENCE_SECONDS  # type: ignore[arg-type]
    inbox.withdraw()
    until(lambda: inbox.presence() is None)
    inbox.close()
    client.close()
