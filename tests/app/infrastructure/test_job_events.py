"""Waiting for changes of a job: one query per poll, woken by every change and by closing."""

import asyncio

import pytest

from app.database.engine import Sessions
from app.errors import QueueFull
from app.infrastructure.events import job_events
from app.infrastructure.events.job_events import JobFollower, append_events
from tests.app.services.jobs.test_leases import submit


def test_a_change_wakes_everyone_who_waits(sessions: Sessions) -> None:
    with sessions.begin() as session:
        job_id = submit(session)

    async def scenario() -> list[bool]:
        follower = JobFollower(sessions)
        waits = [asyncio.create_task(follower.wait_for_change(job_id, 2, 10)) for _ in range(20)]
        while follower.watched != {job_id}:
            await asyncio.sleep(0)
        with sessions.begin() as session:
            append_events(session, job_id, [("log", {"n": 1})])
        changed = await asyncio.gather(*waits)
        assert follower.watched == frozenset()
        await follower.close()
        return changed

    assert asyncio.run(scenario()) == [True] * 20


def test_an_old_revision_has_changed_at_once(sessions: Sessions) -> None:
    with sessions.begin() as session:
        job_id = submit(session)

    async def scenario() -> bool:
        follower = JobFollower(sessions)
        try:
            return await follower.wait_for_change(job_id, 1, 10)
        finally:
            await follower.close()

    assert asyncio.run(scenario())


def test_time_runs_out(sessions: Sessions) -> None:
    async def scenario() -> bool:
        follower = JobFollower(sessions)
        try:
            return await follower.wait_for_change("job_none", 1, 0.3)
        finally:
            await follower.close()

    assert not asyncio.run(scenario())


def test_closing_wakes_everyone(sessions: Sessions) -> None:
    with sessions.begin() as session:
        job_id = submit(session)

    async def scenario() -> bool:
        follower = JobFollower(sessions)
        wait = asyncio.create_task(follower.wait_for_change(job_id, 2, 60))
        while not follower.watched:
            await asyncio.sleep(0)
        await follower.close()
        return await asyncio.wait_for(wait, 2)

    assert not asyncio.run(scenario())


def test_no_more_may_wait_than_there_is_room_for(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_events, "MAX_WAITERS", 3)
    with sessions.begin() as session:
        job_id = submit(session)

    async def scenario() -> None:
        follower = JobFollower(sessions)
        waits = [asyncio.create_task(follower.wait_for_change(job_id, 2, 60)) for _ in range(3)]
        while follower.watched != {job_id}:
            follower.check_room()
            await asyncio.sleep(0)
        with pytest.raises(QueueFull, match="3 requests"):
            follower.check_room()
        waits[0].cancel()
        await asyncio.gather(waits[0], return_exceptions=True)
        follower.check_room()
        await follower.close()
        await asyncio.gather(*waits[1:])
        follower.check_room()

    asyncio.run(scenario())
