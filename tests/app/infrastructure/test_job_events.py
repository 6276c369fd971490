"""Following a job: one query a tick, woken by every change, and by the end."""

import asyncio

from app.database.engine import Sessions
from app.infrastructure.job_events import Follower, append
from tests.app.services.jobs.test_leases import submit


def test_a_change_wakes_everyone_who_waits(sessions: Sessions) -> None:
    with sessions.begin() as session:
        job_id = submit(session)

    async def scenario() -> list[bool]:
        follower = Follower(sessions)
        waits = [asyncio.create_task(follower.changed(job_id, 2, 10)) for _ in range(20)]
        while follower.watched != {job_id}:
            await asyncio.sleep(0)
        with sessions.begin() as session:
            append(session, job_id, [("log", {"n": 1})])
        found = await asyncio.gather(*waits)
        assert follower.watched == frozenset()
        await follower.close()
        return found

    assert asyncio.run(scenario()) == [True] * 20


def test_an_old_revision_is_news_at_once(sessions: Sessions) -> None:
    with sessions.begin() as session:
        job_id = submit(session)

    async def scenario() -> bool:
        follower = Follower(sessions)
        try:
            return await follower.changed(job_id, 1, 10)
        finally:
            await follower.close()

    assert asyncio.run(scenario())


def test_time_runs_out(sessions: Sessions) -> None:
    async def scenario() -> bool:
        follower = Follower(sessions)
        try:
            return await follower.changed("job_none", 1, 0.3)
        finally:
            await follower.close()

    assert not asyncio.run(scenario())


def test_closing_lets_everyone_go(sessions: Sessions) -> None:
    with sessions.begin() as session:
        job_id = submit(session)

    async def scenario() -> bool:
        follower = Follower(sessions)
        wait = asyncio.create_task(follower.changed(job_id, 2, 60))
        while not follower.watched:
            await asyncio.sleep(0)
        await follower.close()
        return await asyncio.wait_for(wait, 2)

    assert not asyncio.run(scenario())
