"""Notices over a real server: who forgets what, and when, also when the server dies or hangs."""

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
from tests.lanes import eventually, run
from tests.servers import Valkey, valkey


@pytest.fixture
def prefix() -> str:
    return f"test-{secrets.token_hex(6)}:"


@pytest.fixture
def fragile() -> Iterator[Valkey]:
    with valkey() as server:
        yield server


class Listener:
    """A process that remembers what it was told to forget; `*` is everything."""

    def __init__(self, url: str, prefix: str) -> None:
        self.forgot: list[str] = []
        self.notices = Notices(url, prefix, self.forgot.append, lambda: self.forgot.append("*"))

    def told(self, model: str) -> bool:
        """Whether it has forgotten a model, and from now on remembers again."""
        found = model in self.forgot
        self.forgot.clear()
        return found


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


def test_a_process_begins_with_nothing_remembered(redis_url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with listening(redis_url, prefix) as (one,):
            assert (one.forgot, one.notices.connected) == (["*"], True)

    run(scenario())


def test_when_a_move_is_told_every_process_has_forgotten(redis_url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with listening(redis_url, prefix, 3) as processes:
            for process in processes:
                process.forgot.clear()
            for number in range(50):
                model = f"model-{number}"
                assert await processes[number % 3].notices.tell(model)
                assert [process.told(model) for process in processes] == [True] * 3

    run(scenario())


def test_many_moves_at_once_do_not_mix_up_their_acknowledgements(redis_url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with listening(redis_url, prefix, 2) as processes:
            tells = [process.notices.tell(f"m{n}") for n in range(20) for process in processes]
            assert all(await asyncio.gather(*tells))
            for process in processes:
                assert {f"m{n}" for n in range(20)} <= set(process.forgot)

    run(scenario())


def test_a_move_leaves_nothing_behind(redis_url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with listening(redis_url, prefix, 2) as (one, _), connected(redis_url) as client:
            assert await one.notices.tell("m")
            assert await client.keys(f"{prefix}*") == []

    run(scenario())


def test_other_installations_on_the_same_server_are_not_told(redis_url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with listening(redis_url, prefix) as (one,), listening(redis_url, f"{prefix}b:") as (other,):
            assert await one.notices.tell("m")
            assert (one.forgot.count("m") > 0, other.forgot) == (True, ["*"])

    run(scenario())


def test_one_that_does_not_answer_is_waited_for_a_bounded_time(
    redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(notices, "PATIENCE", 0.3)

    async def scenario() -> None:
        async with listening(redis_url, prefix, 2) as (one, two), connected(redis_url) as client:
            async with client.pubsub() as deaf:
                await deaf.subscribe(f"{prefix}notices")
                begun = time.monotonic()
                assert not await one.notices.tell("m")
                assert 0.25 < time.monotonic() - begun < 5
                assert two.told("m")
            await subscribed(client, prefix, 2)
            assert await one.notices.tell("m")

    run(scenario())
    assert "not every process knows that m moved: no answer in time" in caplog.text


async def subscribed(client: Any, prefix: str, count: int) -> None:
    while (await client.pubsub_numsub(f"{prefix}notices"))[0][1] != count:
        await asyncio.sleep(0.005)


def test_acknowledgements_that_nobody_reads_disappear(redis_url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with listening(redis_url, prefix) as (one,), connected(redis_url) as client:
            await client.publish(f"{prefix}notices", f'["m","{prefix}acks"]')
            await eventually(lambda: one.told("m"))
            while not await client.exists(f"{prefix}acks"):
                await asyncio.sleep(0.005)
            assert 0 < await client.ttl(f"{prefix}acks") <= notices.ACK_SECONDS
            await client.delete(f"{prefix}acks")

    run(scenario())


@pytest.mark.parametrize(
    "rubbish", [b"", b"\xff", b"m", b"[]", b'["m"]', b"3", b'{"a":1}', b'["m",2]', b"null"]
)
def test_what_cannot_be_read_makes_everything_forgotten_and_is_survived(
    redis_url: str, prefix: str, rubbish: bytes
) -> None:
    async def scenario() -> None:
        async with listening(redis_url, prefix, 2) as (one, two), connected(redis_url) as client:
            one.forgot.clear()
            await client.publish(f"{prefix}notices", rubbish)
            await eventually(lambda: one.forgot == ["*"])
            assert await two.notices.tell("m")
            assert one.told("m")

    run(scenario())


# The server's faults


def test_without_a_server_a_move_succeeds_at_once(prefix: str, fragile: Valkey) -> None:
    fragile.kill()

    async def scenario() -> None:
        begun = time.monotonic()
        async with listening(fragile.url, prefix, 2) as (one, two):
            assert not one.notices.connected
            for _ in range(5):
                assert not await one.notices.tell("m")
            assert time.monotonic() - begun < 0.9
            assert (one.forgot, two.forgot) == (["m"] * 5, [])
            fragile.start()
            await eventually(lambda: one.notices.connected and two.notices.connected)
            assert two.told("*")
            assert await one.notices.tell("m")
            assert two.told("m")

    run(scenario())


def test_after_every_break_everything_is_forgotten(prefix: str, fragile: Valkey) -> None:
    async def scenario() -> None:
        async with listening(fragile.url, prefix, 2) as processes:
            for _ in range(3):
                for process in processes:
                    process.forgot.clear()
                fragile.kill()
                fragile.start()
                await eventually(lambda: all("*" in process.forgot for process in processes))
                await eventually(lambda: all(process.notices.connected for process in processes))
                assert await processes[0].notices.tell("m")
                assert processes[1].told("m")

    run(scenario())


def test_a_connection_that_was_cut_is_made_again_at_once(prefix: str, fragile: Valkey) -> None:
    async def scenario() -> None:
        async with listening(fragile.url, prefix) as (one,), connected(fragile.url) as client:
            for _ in range(5):
                one.forgot.clear()
                begun = time.monotonic()
                assert await client.client_kill_filter(_type="pubsub") == 1
                await eventually(lambda: one.told("*"))
                assert time.monotonic() - begun < 1
                await subscribed(client, prefix, 1)

    run(scenario())


def test_a_server_that_hangs_holds_a_move_up_for_a_bounded_time(
    prefix: str, fragile: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "PATIENCE", 0.3)

    async def scenario() -> None:
        async with listening(fragile.url, prefix, 2) as (one, two):
            fragile.signal(signal.SIGSTOP)
            try:
                begun = time.monotonic()
                assert not await one.notices.tell("m")
                assert time.monotonic() - begun < 5
            finally:
                fragile.signal(signal.SIGCONT)
            while not await one.notices.tell("n"):
                await asyncio.sleep(0.01)
            assert two.told("n")

    run(scenario())


def test_a_start_waits_for_a_hanging_server_only_so_long(
    prefix: str, fragile: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "PATIENCE", 0.3)
    fragile.signal(signal.SIGSTOP)

    async def scenario() -> None:
        begun = time.monotonic()
        async with listening(fragile.url, prefix) as (one,):
            assert (time.monotonic() - begun < 5, one.notices.connected) == (True, False)
            fragile.signal(signal.SIGCONT)
            await eventually(lambda: one.notices.connected)

    run(scenario())


def test_silence_is_no_fault_but_a_dead_peer_is_noticed(
    prefix: str, fragile: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "QUIET", 0.1)

    async def scenario() -> None:
        async with listening(fragile.url, prefix) as (one,), connected(fragile.url) as client:
            while (await client.info("commandstats")).get("cmdstat_ping", {"calls": 0})["calls"] < 3:
                await asyncio.sleep(0.01)
            assert one.forgot == ["*"]
            fragile.signal(signal.SIGSTOP)
            await eventually(lambda: not one.notices.connected)
            fragile.signal(signal.SIGCONT)
            await eventually(lambda: one.notices.connected)
            assert one.forgot == ["*", "*"]

    run(scenario())


@pytest.mark.parametrize("up", [True, False])
def test_closing_leaves_no_task_and_no_connection(prefix: str, fragile: Valkey, up: bool) -> None:
    async def scenario() -> None:
        if not up:
            fragile.kill()
        async with listening(fragile.url, prefix, 2) as (one, _):
            await one.notices.tell("m")
        assert asyncio.all_tasks() == {asyncio.current_task()}
        if up:
            async with connected(fragile.url) as client:
                while len(await client.client_list()) > 1:
                    await asyncio.sleep(0.005)

    run(scenario())


def test_what_was_never_started_can_be_closed(prefix: str, fragile: Valkey) -> None:
    run(Listener(fragile.url, prefix).notices.close())
