"""Notices over a real server: which process forgets what, and when, also when the server dies or hangs."""

import asyncio
import secrets
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from app.infrastructure import notices
from app.infrastructure.notices import Notices
from tests.support.fakes.lanes import run, wait_until
from tests.support.fixtures.servers import Valkey, valkey


@pytest.fixture
def prefix() -> str:
    return f"test-{secrets.token_hex(6)}:"


@pytest.fixture
def fragile() -> Iterator[Valkey]:
    with valkey() as server:
        yield server


class Listener:
    """A process that records what it had to forget; `*` is everything."""

    def __init__(self, url: str, prefix: str) -> None:
        self.forgotten: list[str] = []
        self.notices = Notices(url, prefix, self.forgotten.append, lambda: self.forgotten.append("*"))

    def has_forgotten(self, model: str) -> bool:
        """Whether it has forgotten a model since the last call."""
        forgotten = model in self.forgotten
        self.forgotten.clear()
        return forgotten


@asynccontextmanager
async def listening(url: str, prefix: str, count: int = 1) -> AsyncIterator[list[Listener]]:
    listeners = [Listener(url, prefix) for _ in range(count)]
    async with AsyncExitStack() as stack:
        for listener in listeners:
            stack.push_async_callback(listener.notices.close)
            await listener.notices.start()
        yield listeners


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Any]:
    async with Redis.from_url(url, protocol=2) as client:
        yield client


def test_a_process_starts_with_everything_forgotten(redis_url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with listening(redis_url, prefix) as (one,):
            assert (one.forgotten, one.notices.connected) == (["*"], True)

    run(scenario())


def test_after_an_invalidation_every_process_has_forgotten_the_model(redis_url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with listening(redis_url, prefix, 3) as processes:
            for process in processes:
                process.forgotten.clear()
            for number in range(50):
                model = f"model-{number}"
                assert await processes[number % 3].notices.invalidate(model)
                assert [process.has_forgotten(model) for process in processes] == [True] * 3

    run(scenario())


def test_concurrent_invalidations_do_not_mix_up_their_acknowledgements(redis_url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with listening(redis_url, prefix, 2) as processes:
            notices_sent = [process.notices.invalidate(f"m{n}") for n in range(20) for process in processes]
            assert all(await asyncio.gather(*notices_sent))
            for process in processes:
                assert {f"m{n}" for n in range(20)} <= set(process.forgotten)

    run(scenario())


def test_an_invalidation_leaves_no_keys_behind(redis_url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with listening(redis_url, prefix, 2) as (one, _), connected(redis_url) as client:
            assert await one.notices.invalidate("m")
            assert await client.keys(f"{prefix}*") == []

    run(scenario())


def test_other_installations_on_the_same_server_get_no_notice(redis_url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with listening(redis_url, prefix) as (one,), listening(redis_url, f"{prefix}b:") as (other,):
            assert await one.notices.invalidate("m")
            assert (one.forgotten.count("m") > 0, other.forgotten) == (True, ["*"])

    run(scenario())


def test_a_process_that_does_not_acknowledge_is_waited_for_a_bounded_time(
    redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(notices, "TIMEOUT_SECONDS", 0.3)

    async def scenario() -> None:
        async with listening(redis_url, prefix, 2) as (one, two), connected(redis_url) as client:
            async with client.pubsub() as silent:
                await silent.subscribe(f"{prefix}notices")
                begun = time.monotonic()
                assert not await one.notices.invalidate("m")
                assert 0.25 < time.monotonic() - begun < 5
                assert two.has_forgotten("m")
            await subscribed(client, prefix, 2)
            assert await one.notices.invalidate("m")

    run(scenario())
    assert "not every process has acknowledged that m changed: no answer in time" in caplog.text


async def subscribed(client: Any, prefix: str, count: int) -> None:
    while (await client.pubsub_numsub(f"{prefix}notices"))[0][1] != count:
        await asyncio.sleep(0.005)


def test_acknowledgements_that_nobody_reads_disappear(redis_url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with listening(redis_url, prefix) as (one,), connected(redis_url) as client:
            await client.publish(f"{prefix}notices", f'["m","{prefix}acks"]')
            await wait_until(lambda: one.has_forgotten("m"))
            while not await client.exists(f"{prefix}acks"):
                await asyncio.sleep(0.005)
            assert 0 < await client.ttl(f"{prefix}acks") <= notices.ACK_TTL_SECONDS
            await client.delete(f"{prefix}acks")

    run(scenario())


@pytest.mark.parametrize(
    "payload", [b"", b"\xff", b"m", b"[]", b'["m"]', b"3", b'{"a":1}', b'["m",2]', b"null"]
)
def test_a_notice_that_cannot_be_decoded_invalidates_everything(
    redis_url: str, prefix: str, payload: bytes
) -> None:
    async def scenario() -> None:
        async with listening(redis_url, prefix, 2) as (one, two), connected(redis_url) as client:
            one.forgotten.clear()
            await client.publish(f"{prefix}notices", payload)
            await wait_until(lambda: one.forgotten == ["*"])
            assert await two.notices.invalidate("m")
            assert one.has_forgotten("m")

    run(scenario())


# The server's faults


def test_without_a_server_an_invalidation_returns_at_once(prefix: str, fragile: Valkey) -> None:
    fragile.kill()

    async def scenario() -> None:
        begun = time.monotonic()
        async with listening(fragile.url, prefix, 2) as (one, two):
            assert not one.notices.connected
            for _ in range(5):
                assert not await one.notices.invalidate("m")
            assert time.monotonic() - begun < 0.9
            assert (one.forgotten, two.forgotten) == (["m"] * 5, [])
            fragile.start()
            await wait_until(lambda: one.notices.connected and two.notices.connected)
            assert two.has_forgotten("*")
            assert await one.notices.invalidate("m")
            assert two.has_forgotten("m")

    run(scenario())


def test_after_every_reconnect_everything_is_forgotten(prefix: str, fragile: Valkey) -> None:
    async def scenario() -> None:
        async with listening(fragile.url, prefix, 2) as processes:
            for _ in range(3):
                for process in processes:
                    process.forgotten.clear()
                fragile.kill()
                fragile.start()
                await wait_until(lambda: all("*" in process.forgotten for process in processes))
                await wait_until(lambda: all(process.notices.connected for process in processes))
                assert await processes[0].notices.invalidate("m")
                assert processes[1].has_forgotten("m")

    run(scenario())


def test_a_connection_that_was_cut_is_made_again_at_once(prefix: str, fragile: Valkey) -> None:
    async def scenario() -> None:
        async with listening(fragile.url, prefix) as (one,), connected(fragile.url) as client:
            for _ in range(5):
                one.forgotten.clear()
                begun = time.monotonic()
                assert await client.client_kill_filter(_type="pubsub") == 1
                await wait_until(lambda: one.has_forgotten("*"))
                assert time.monotonic() - begun < 1
                await subscribed(client, prefix, 1)

    run(scenario())


def test_a_server_that_hangs_delays_an_invalidation_for_a_bounded_time(
    prefix: str, fragile: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "TIMEOUT_SECONDS", 0.3)

    async def scenario() -> None:
        async with listening(fragile.url, prefix, 2) as (one, two):
            fragile.signal(signal.SIGSTOP)
            try:
                begun = time.monotonic()
                assert not await one.notices.invalidate("m")
                assert time.monotonic() - begun < 5
            finally:
                fragile.signal(signal.SIGCONT)
            while not await one.notices.invalidate("n"):
                await asyncio.sleep(0.01)
            assert two.has_forgotten("n")

    run(scenario())


def test_a_start_waits_for_a_hanging_server_for_a_bounded_time(
    prefix: str, fragile: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "TIMEOUT_SECONDS", 0.3)
    fragile.signal(signal.SIGSTOP)

    async def scenario() -> None:
        begun = time.monotonic()
        async with listening(fragile.url, prefix) as (one,):
            assert (time.monotonic() - begun < 5, one.notices.connected) == (True, False)
            fragile.signal(signal.SIGCONT)
            await wait_until(lambda: one.notices.connected)

    run(scenario())


def test_silence_is_no_failure_but_a_dead_server_is_noticed(
    prefix: str, fragile: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "PING_SECONDS", 0.1)

    async def scenario() -> None:
        async with listening(fragile.url, prefix) as (one,), connected(fragile.url) as client:
            while (await client.info("commandstats")).get("cmdstat_ping", {"calls": 0})["calls"] < 3:
                await asyncio.sleep(0.01)
            assert one.forgotten == ["*"]
            fragile.signal(signal.SIGSTOP)
            await wait_until(lambda: not one.notices.connected)
            fragile.signal(signal.SIGCONT)
            await wait_until(lambda: one.notices.connected)
            assert one.forgotten == ["*", "*"]

    run(scenario())


@pytest.mark.parametrize("up", [True, False])
def test_closing_leaves_no_task_and_no_connection(prefix: str, fragile: Valkey, up: bool) -> None:
    async def scenario() -> None:
        if not up:
            fragile.kill()
        async with listening(fragile.url, prefix, 2) as (one, _):
            await one.notices.invalidate("m")
        assert asyncio.all_tasks() == {asyncio.current_task()}
        if up:
            async with connected(fragile.url) as client:
                while len(await client.client_list()) > 1:
                    await asyncio.sleep(0.005)

    run(scenario())


def test_notices_that_were_never_started_can_be_closed(prefix: str, fragile: Valkey) -> None:
    run(Listener(fragile.url, prefix).notices.close())
