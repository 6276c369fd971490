"""The lanes' own Redis connections, against real servers."""

import asyncio
import signal
import ssl
import time
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from app.infrastructure.redis_failures import REDIS_FAILURES
from app.lanes import redis_connections
from app.lanes.redis_connections import AsyncRedisConnection, encode_commands
from tests.support.fixtures.servers import Valkey, valkey


@pytest.fixture
def fragile() -> Iterator[Valkey]:
    with valkey() as running:
        yield running


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


def test_commands_are_encoded_as_resp_arrays() -> None:
    commands = [("SET", "ä", b"\x00\r\n"), ("EXPIRE", "k", 30)]
    expected = b"*3\r\n$3\r\nSET\r\n$2\r\n\xc3\xa4\r\n$3\r\n\x00\r\n\r\n"
    assert encode_commands(commands) == expected + b"*3\r\n$6\r\nEXPIRE\r\n$1\r\nk\r\n$2\r\n30\r\n"


def test_many_callers_share_a_connection_and_each_gets_its_own_result(redis_url: str) -> None:
    async def scenario() -> None:
        connection = AsyncRedisConnection(redis_url)
        calls = [connection.call(("ECHO", str(k)), ("ECHO", str(-k)), within=5) for k in range(300)]
        answers = await asyncio.gather(*calls)
        assert answers == [[str(k).encode(), str(-k).encode()] for k in range(300)]
        (first,), (second,) = (
            await connection.call(("CLIENT", "ID"), within=5),
            await connection.call(("CLIENT", "ID"), within=5),
        )
        assert first == second
        await connection.close()

    run(scenario())


def test_large_values_arrive_whole(redis_url: str) -> None:
    async def scenario() -> None:
        connection = AsyncRedisConnection(redis_url)
        blob = bytes(range(256)) * 40_000
        assert await connection.call(("ECHO", blob), within=10) == [blob]
        await connection.close()

    run(scenario())


def test_a_refusal_is_raised_and_leaves_the_connection_in_step(redis_url: str) -> None:
    async def scenario() -> None:
        connection = AsyncRedisConnection(redis_url)
        for _ in range(3):
            with pytest.raises(ResponseError, match="unknown"):
                await connection.call(("ECHO", "a"), ("NONSENSE",), ("ECHO", "b"), within=5)
            assert await connection.call(("ECHO", "c"), within=5) == [b"c"]
        await connection.close()

    run(scenario())


def test_pending_calls_fail_when_the_server_dies_and_the_next_call_reconnects(
    fragile: Valkey,
) -> None:
    async def scenario() -> None:
        connection = AsyncRedisConnection(fragile.url)
        await connection.call(("PING",), within=5)
        waiting = [asyncio.ensure_future(connection.call(("BLPOP", f"k{k}", 0), within=30)) for k in range(3)]
        await asyncio.sleep(0)
        begun = time.monotonic()
        fragile.kill()
        for call in waiting:
            with pytest.raises(REDIS_FAILURES):
                await call
        with pytest.raises(REDIS_FAILURES):
            await connection.call(("PING",), within=5)
        assert time.monotonic() - begun < 3
        fragile.start()
        assert await connection.call(("PING",), within=5) == [b"PONG"]
        await connection.close()

    run(scenario())


def test_a_call_to_a_hanging_server_times_out(fragile: Valkey) -> None:
    async def scenario() -> None:
        connection = AsyncRedisConnection(fragile.url)
        await connection.call(("PING",), within=5)
        fragile.signal(signal.SIGSTOP)
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            await connection.call(("PING",), within=0.2)
        assert 0.15 < time.monotonic() - begun < 2
        fragile.signal(signal.SIGCONT)
        assert await connection.call(("ECHO", "mine"), within=5) == [
            b"mine"
        ]  # not the late answer of the other
        await connection.close()

    run(scenario())


def test_a_cancelled_call_does_not_shift_the_results(redis_url: str) -> None:
    async def scenario() -> None:
        connection = AsyncRedisConnection(redis_url)
        await connection.call(("PING",), within=5)
        left = asyncio.ensure_future(connection.call(("ECHO", "left"), within=5))
        await asyncio.sleep(0)
        left.cancel()
        assert await connection.call(("ECHO", "stayed"), within=5) == [b"stayed"]
        await connection.close()

    run(scenario())


def test_closing_fails_pending_calls(redis_url: str) -> None:
    async def scenario() -> None:
        connection = AsyncRedisConnection(redis_url)
        await connection.call(("PING",), within=5)
        waiting = asyncio.ensure_future(connection.call(("BLPOP", "nothing-comes-here", 0), within=30))
        await asyncio.sleep(0)
        await connection.close()
        with pytest.raises(RedisConnectionError):
            await waiting
        await connection.close()

    run(scenario())


@pytest.mark.parametrize("url", ["unix:///nowhere/s", "redis://127.0.0.1:1/0", "redis://name.invalid:6379"])
def test_a_missing_server_is_a_failure_rather_than_a_wait(url: str) -> None:
    async def scenario() -> None:
        connection = AsyncRedisConnection(url)
        for _ in range(2):
            with pytest.raises(REDIS_FAILURES):
                await connection.call(("PING",), within=5)
        await connection.close()

    run(scenario())


def test_the_password_and_database_are_sent_first(fragile: Valkey) -> None:
    async def scenario(server: Valkey) -> None:
        open_one = AsyncRedisConnection(server.url)
        await open_one.call(("CONFIG", "SET", "requirepass", "s@cret"), within=5)
        await open_one.close()
        wrong = AsyncRedisConnection(f"unix://:nope@{server.socket}")
        for _ in range(2):
            with pytest.raises(ResponseError, match="WRONGPASS"):
                await wrong.call(("PING",), within=5)
        none = AsyncRedisConnection(server.url)
        with pytest.raises(ResponseError, match="NOAUTH"):
            await none.call(("PING",), within=5)
        for user in ("", "default"):
            right = AsyncRedisConnection(f"unix://{user}:s%40cret@{server.socket}?db=3")
            assert await right.call(("SET", "k", user or "x"), within=5) == [b"OK"]
            (info,) = await right.call(("CLIENT", "INFO"), within=5)
            assert b"db=3" in info
            await right.close()
        for connection in (wrong, none):
            await connection.close()

    run(scenario(fragile))


@pytest.mark.parametrize(
    ("url", "verified", "named"),
    [("rediss://h/0", True, True), ("rediss://h/0?ssl_cert_reqs=none", False, False)],
)
def test_tls_is_verified_unless_the_url_says_otherwise(url: str, verified: bool, named: bool) -> None:
    context = redis_connections._tls_context(AsyncRedisConnection(url)._options)
    assert context is not None
    assert (context.verify_mode == ssl.CERT_REQUIRED) == verified
    assert context.check_hostname == named


def test_plain_urls_have_no_tls() -> None:
    assert redis_connections._tls_context(AsyncRedisConnection("redis://h/0")._options) is None
