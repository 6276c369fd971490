"""Pools of threads: bounded, and what nobody waits for is not done."""

import asyncio
import threading

import pytest

from app.errors import DeadlinePassed, QueueFull
from app.thread_pools import ThreadPool
from tests.support.fixtures.servers import until


def test_a_call_has_its_arguments_and_its_result_or_its_error() -> None:
    pool = ThreadPool("test", 1, 0)
    assert asyncio.run(pool.run(divmod, 7, 2)) == (3, 1)
    assert asyncio.run(pool.run_within(30, int, "11", base=2)) == 3
    with pytest.raises(ZeroDivisionError):
        asyncio.run(pool.run(divmod, 7, 0))
    assert pool.idle


def test_more_than_may_wait_are_refused_at_once() -> None:
    pool, go_on, done = ThreadPool("test", 2, 3), threading.Event(), list[int]()

    def work(number: int) -> int:
        assert go_on.wait(30)
        done.append(number)
        return number

    async def scenario() -> None:
        tasks = [asyncio.create_task(pool.run(work, number)) for number in range(5)]
        await asyncio.sleep(0)
        with pytest.raises(QueueFull) as refused:
            await pool.run(work, 5)
        assert (refused.value.status, refused.value.retry_after) == (429, 1)
        tasks[4].cancel()  # it still waits, so it is never done and leaves its place
        await asyncio.gather(tasks[4], return_exceptions=True)
        tasks.append(asyncio.create_task(pool.run(work, 6)))
        await asyncio.sleep(0)
        go_on.set()
        assert await asyncio.gather(*tasks[:4], tasks[5]) == [0, 1, 2, 3, 6]

    asyncio.run(scenario())
    assert sorted(done) == [0, 1, 2, 3, 6]
    until(lambda: pool.idle)


def test_a_deadline_does_not_wait_for_the_thread() -> None:
    pool, go_on = ThreadPool("test", 1, 1), threading.Event()

    async def scenario() -> None:
        with pytest.raises(DeadlinePassed):
            await pool.run_within(0.01, go_on.wait, 30)
        with pytest.raises(DeadlinePassed):  # which waits behind the first
            await pool.run_within(0.01, go_on.wait, 30)

    try:
        asyncio.run(scenario())
    finally:
        go_on.set()
    until(lambda: pool.idle)
