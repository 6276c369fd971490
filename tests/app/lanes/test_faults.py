"""What a lane does when Redis or the predictors die, hang or forget."""

import asyncio
import secrets
import signal
import time
from collections.abc import Iterator

import numpy as np
import pytest
import redis

from app.errors import DeadlinePassed, Unavailable
from app.lanes import Inbox, Presence, wire
from tests.lanes import ROW, FakePredictor, doubled, eventually, opened, predictor, run, served
from tests.servers import Valkey, valkey


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
                live(boot)
            with pytest.raises(Unavailable, match="twice"):
                await call

    inbox = Inbox(url, name, "mortal")
    run(scenario(inbox))
    inbox.withdraw()
    inbox.close()


def test_a_client_that_left_is_not_sent_for(fragile: Valkey, name: str) -> None:
    async def scenario(inbox: Inbox) -> None:
        async with opened(fragile.url, name) as lane:
            await lane.predictors()
            with pytest.raises(DeadlinePassed):  # connects
                await lane.send("a/1", [ROW], 0.01)
            fragile.signal(signal.SIGSTOP)
            first = asyncio.create_task(lane.send("a/1", [ROW], 3))
            await eventually(lambda: lane.waiting == 1 and not lane._outbox._outgoing)
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
            assert not client.exists(wire.lane_key(name))

    inbox = Inbox(fragile.url, name, "w")
    client = redis.Redis.from_url(fragile.url)
    inbox.announce(Presence("w", "first", 1, "cpu", name, []))
    run(scenario(inbox))
    inbox.close()
    client.close()


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
