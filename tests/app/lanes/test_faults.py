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
from app.infrastructure.redis_failures import REDIS_FAILURES
from app.lanes import PredictorPresence, RequestConsumer, wire
from tests.support.fakes.lanes import (
    ROW,
    FakePredictor,
    double,
    fake_predictor,
    open_lane,
    run,
    wait_until,
    wait_until_served,
)
from tests.support.fixtures.servers import Valkey, valkey


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


def test_without_a_predictor_calls_fail_at_once_until_one_is_present(url: str, name: str) -> None:
    async def scenario() -> None:
        async with open_lane(url, name) as lane:
            begun = time.monotonic()
            for _ in range(50):
                with pytest.raises(Unavailable):
                    await lane.send("a/1", [ROW], 5)
            assert time.monotonic() - begun < 1
            with fake_predictor(url, name):
                await wait_until_served(lane)
                assert [presence.versions for presence in await lane.predictors()] == [["a/1"]]

    run(scenario())


def test_when_the_last_predictor_goes_pending_calls_fail_at_once(url: str, name: str) -> None:
    async def scenario(fake: FakePredictor) -> None:
        async with open_lane(url, name) as lane:
            await lane.send("a/1", [ROW], 5)
            fake.go.clear()
            call = asyncio.create_task(lane.send("a/1", [ROW], 30))
            await wait_until(lambda: lane.waiting_rows)
            fake.consumer.withdraw()
            begun = time.monotonic()
            with pytest.raises(Unavailable):
                await call
            assert time.monotonic() - begun < 2

    with fake_predictor(url, name) as fake:
        run(scenario(fake))


def test_requests_a_dead_predictor_had_received_are_sent_once_more(url: str, name: str) -> None:
    async def scenario(consumer: RequestConsumer) -> None:
        def announce(instance_id: str) -> None:
            consumer.announce(PredictorPresence("replaced", instance_id, 1, "cpu", name, []))

        announce("first")
        async with open_lane(url, name) as lane:
            call = asyncio.create_task(lane.send("a/1", [ROW], 20))
            await wait_until(lambda: lane.depth == 1)
            (received,) = await asyncio.to_thread(consumer.receive, 8)
            announce("second")
            (again,) = await asyncio.to_thread(consumer.receive, 8)
            assert again == received
            consumer.send_replies([(received.reply_to, double(received)), (again.reply_to, double(again))])
            assert np.array_equal((await call).outputs[0], 2 * ROW)

            call = asyncio.create_task(lane.send("poison/1", [ROW], 20))
            for instance_id in ("third", "fourth"):
                assert len(await asyncio.to_thread(consumer.receive, 8)) == 1
                announce(instance_id)
            with pytest.raises(Unavailable, match="twice"):
                await call

    consumer = RequestConsumer(url, name, "replaced")
    run(scenario(consumer))
    consumer.withdraw()
    consumer.close()


def test_requests_of_clients_that_left_are_not_pushed(fragile: Valkey, name: str) -> None:
    async def scenario(consumer: RequestConsumer) -> None:
        async with open_lane(fragile.url, name) as lane:
            await lane.predictors()
            with pytest.raises(DeadlinePassed):  # connects
                await lane.send("a/1", [ROW], 0.01)
            fragile.signal(signal.SIGSTOP)
            first = asyncio.create_task(lane.send("a/1", [ROW], 3))
            await wait_until(lambda: lane.waiting_rows == 1 and not lane._sender._outgoing)
            second = asyncio.create_task(lane.send("a/1", [ROW + 1], 3))
            await wait_until(lambda: lane.waiting_rows == 2)
            second.cancel()
            await asyncio.gather(second, return_exceptions=True)
            fragile.signal(signal.SIGCONT)
            await wait_until(lambda: lane.depth == 2)
            requests = await asyncio.to_thread(consumer.receive, 8)
            assert [request.deadline - request.sent > 1 for request in requests] == [False, True]
            assert lane.waiting_rows == 1
            consumer.send_replies([(request.reply_to, double(request)) for request in requests])
            await first
            assert not client.exists(wire.lane_key(name))

    consumer = RequestConsumer(fragile.url, name, "w")
    client = redis.Redis.from_url(fragile.url)
    consumer.announce(PredictorPresence("w", "first", 1, "cpu", name, []))
    run(scenario(consumer))
    consumer.close()
    client.close()


def test_without_redis_calls_fail_within_a_second() -> None:
    async def scenario() -> None:
        async with open_lane("unix:///nowhere/at/all", "x") as lane:
            begun = time.monotonic()
            with pytest.raises(Unavailable):
                await lane.send("a/1", [ROW], 5)
            assert time.monotonic() - begun < 1

    run(scenario())


def test_a_redis_that_hangs_is_unavailable_and_comes_back(fragile: Valkey, name: str) -> None:
    async def scenario() -> None:
        async with open_lane(fragile.url, name) as lane:
            await wait_until_served(lane)
            fragile.signal(signal.SIGSTOP)
            begun = time.monotonic()
            with pytest.raises(Unavailable):
                await lane.send("a/1", [ROW], 5)
            assert time.monotonic() - begun < 1.1
            fragile.signal(signal.SIGCONT)
            await wait_until_served(lane)

    with fake_predictor(fragile.url, name):
        run(scenario())


def test_redis_killed_and_restarted(fragile: Valkey, name: str) -> None:
    async def scenario(fake: FakePredictor) -> None:
        async with open_lane(fragile.url, name) as lane:
            await wait_until_served(lane)
            fake.go.clear()
            calls = [asyncio.create_task(lane.send("a/1", [ROW], 5)) for _ in range(5)]
            await wait_until(lambda: lane.waiting_rows == 5)
            fragile.kill()
            begun = time.monotonic()
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(result) for result in results] == [Unavailable] * 5
            assert time.monotonic() - begun < 2
            fragile.start()
            fake.received.clear()
            fake.announce()
            fake.go.set()
            await wait_until_served(lane)

    with fake_predictor(fragile.url, name) as fake:
        run(scenario(fake))


def test_flushall_costs_only_the_requests_in_flight(fragile: Valkey, name: str) -> None:
    async def scenario(fake: FakePredictor, client: redis.Redis) -> None:
        async with open_lane(fragile.url, name) as lane:
            await wait_until_served(lane)
            fake.go.clear()
            call = asyncio.create_task(lane.send("a/1", [ROW], 5))
            await wait_until(lambda: lane.waiting_rows)
            client.flushall()
            begun = time.monotonic()
            with pytest.raises((Unavailable, DeadlinePassed)):
                await call
            assert time.monotonic() - begun < 5.2
            fake.announce()
            fake.go.set()
            await wait_until_served(lane)

    client = redis.Redis.from_url(fragile.url)
    with fake_predictor(fragile.url, name) as fake:
        run(scenario(fake, client))
    client.close()


def test_requests_that_redis_lost_are_sent_again_once_it_is_back(fragile: Valkey, name: str) -> None:
    """Its connections broke, and what waited in it is gone; the predictor is still there."""

    async def scenario(consumer: RequestConsumer, client: redis.Redis) -> None:
        consumer.announce(PredictorPresence("steady", "first", 1, "cpu", name, []))
        async with open_lane(fragile.url, name) as lane:
            call = asyncio.create_task(lane.send("a/1", [ROW], 20))
            await wait_until(lambda: lane.depth == 1)
            client.delete(wire.lane_key(name))
            client.client_kill_filter(_type="normal", skipme=True)
            (again,) = await asyncio.to_thread(received_in_time, consumer)
            consumer.send_replies([(again.reply_to, double(again))])
            assert np.array_equal((await call).outputs[0], 2 * ROW)

    client = redis.Redis.from_url(fragile.url)
    consumer = RequestConsumer(fragile.url, name, "steady")
    run(scenario(consumer, client))
    consumer.withdraw()
    consumer.close()
    client.close()


def received_in_time(consumer: RequestConsumer) -> list[wire.Request]:
    """The requests in the lane, as soon as there are any."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if requests := consumer.receive(8):
                return requests
        except REDIS_FAILURES:  # its connection was one of those that broke
            continue
    raise AssertionError("the request did not come again")
