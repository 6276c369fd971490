"""The rate of a key's requests is bounded over all API processes, and by each where Redis is away."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from app.errors import LimitReached
from app.services.access.callers import Caller, KeyLimits
from app.services.access.rates import RequestRates
from tests.support.fixtures.servers import Valkey


def caller(rate: float | None, key_id: str = "key_1") -> Caller:
    return Caller("a", frozenset(), key_id, "k", KeyLimits(requests_per_second=rate))


async def taken(rates: RequestRates, who: Caller, times: int) -> int:
    """How many of so many requests are allowed."""
    allowed = 0
    for _ in range(times):
        try:
            await rates.count(who)
            allowed += 1
        except LimitReached:
            pass
    return allowed


def with_processes(url: str, act: Callable[[RequestRates, RequestRates], Awaitable[None]]) -> None:
    """Do something with what two API processes count by."""

    async def run() -> None:
        first, second = RequestRates(url, "t:"), RequestRates(url, "t:")
        try:
            await act(first, second)
        finally:
            await first.close()
            await second.close()

    asyncio.run(run())


def test_two_processes_count_together(redis_server: Valkey) -> None:
    async def act(first: RequestRates, second: RequestRates) -> None:
        begun = time.monotonic()
        allowed = await taken(first, caller(5.0), 6) + await taken(second, caller(5.0), 6)
        assert 5 <= allowed <= 5 + 5 * (time.monotonic() - begun) + 1
        rare = caller(0.001, "key_2")
        assert await taken(first, rare, 1) == 1
        with pytest.raises(LimitReached, match=r"0\.001 requests a second") as refused:
            await second.count(rare)
        assert 900 < (refused.value.retry_after or 0) <= 1000
        assert await taken(second, caller(None, "key_3"), 500) == 500

    with_processes(redis_server.url, act)


def test_a_key_that_was_refused_is_let_in_again_when_it_was_told(redis_server: Valkey) -> None:
    async def act(first: RequestRates, second: RequestRates) -> None:
        often = caller(20.0)
        while await taken(first, often, 1):
            pass
        deadline = time.monotonic() + 30
        while not await taken(second, often, 1):
            assert time.monotonic() < deadline

    with_processes(redis_server.url, act)


def test_each_process_counts_by_itself_while_redis_is_away() -> None:
    async def act(first: RequestRates, second: RequestRates) -> None:
        rare = caller(0.001)
        assert [await taken(one, rare, 3) for one in (first, second)] == [1, 1]

    with_processes("unix:///nowhere/redis.sock", act)
