"""Doorbells: rung after the commit, again when they are lost, and never piled up."""

import secrets
import time
from collections.abc import Iterator

import pytest
import redis
from sqlalchemy import update

from app.database.engine import Sessions, db_now
from app.database.tables import Job
from app.errors import Unavailable
from app.infrastructure.broker import TRAIN, Broker, celery_url
from app.services.jobs import leases, reaper
from app.services.jobs.dispatcher import Dispatcher
from app.states import Status
from tests.app.services.jobs.test_leases import claimed, expire, status, submit
from tests.servers import until


class Remembering:
    """A broker that remembers who was rung for."""

    def __init__(self, waiting: int = 0, reachable: bool = True) -> None:
        self.rung: list[str] = []
        self.queue = waiting
        self.reachable = reachable

    def ring(self, job_id: str) -> bool:
        if self.reachable:
            self.rung.append(job_id)
        return self.reachable

    def waiting(self) -> int:
        return self.queue


def dispatcher(sessions: Sessions, bell: Remembering, tick: float = 0.05) -> Dispatcher:
    return Dispatcher(sessions, bell, tick=tick, again=5)


def test_a_committed_job_is_rung_at_once(sessions: Sessions) -> None:
    bell = Remembering()
    made = dispatcher(sessions, bell, tick=60)
    made.start()
    with sessions.begin() as session:
        job_id = submit(session)
    made.ring(job_id)
    until(lambda: bell.rung == [job_id])
    made.stop()
    with sessions() as session:
        assert session.get_one(Job, job_id).dispatched_at is not None


def test_the_sweep_rings_for_jobs_nobody_rang_for(sessions: Sessions) -> None:
    with sessions.begin() as session:
        ids = [submit(session) for _ in range(3)]
    bell = Remembering(waiting=7)
    dispatcher(sessions, bell).sweep()
    assert bell.rung == sorted(ids)
    dispatcher(sessions, bell).sweep()
    assert bell.rung == sorted(ids)


def test_a_lost_doorbell_is_rung_again_but_a_waiting_one_is_not(sessions: Sessions) -> None:
    with sessions.begin() as session:
        job_id = submit(session)
        session.execute(update(Job).values(dispatched_at=db_now() - 60))
    waiting, lost = Remembering(waiting=1), Remembering(waiting=0)
    dispatcher(sessions, waiting).sweep()
    dispatcher(sessions, lost).sweep()
    assert (waiting.rung, lost.rung) == ([], [job_id])


def test_an_unreachable_broker_loses_nothing(sessions: Sessions) -> None:
    with sessions.begin() as session:
        job_id = submit(session)
    bell = Remembering(reachable=False)
    dispatcher(sessions, bell).sweep()
    with sessions() as session:
        assert reaper.unrung(session, None) == [job_id]
    bell.reachable = True
    dispatcher(sessions, bell).sweep()
    assert bell.rung == [job_id]


def test_the_sweep_takes_expired_leases_back_and_rings(sessions: Sessions) -> None:
    with sessions.begin() as session:
        job_id = submit(session)
    claimed(sessions, job_id)
    expire(sessions, job_id)
    bell = Remembering()
    made = dispatcher(sessions, bell)
    made.sweep()
    assert status(sessions, job_id) == Status.RUNNING  # whoever lives renews it before the next sweep
    made.sweep()
    assert status(sessions, job_id) == Status.QUEUED
    assert bell.rung == [job_id]


def test_a_lease_that_is_renewed_late_is_not_taken_away(sessions: Sessions) -> None:
    """The clock has jumped, or the database was away: all leases have expired, their owners live."""
    with sessions.begin() as session:
        job_id = submit(session)
    lease = claimed(sessions, job_id)
    made = dispatcher(sessions, Remembering())
    for _ in range(3):
        expire(sessions, job_id)
        made.sweep()
        with sessions.begin() as session:
            assert leases.beat(session, lease, 60, None, None, []) is not None
    made.sweep()
    assert status(sessions, job_id) == Status.RUNNING


def test_a_stream_of_jobs_does_not_keep_the_sweep_waiting(sessions: Sessions) -> None:
    with sessions.begin() as session:
        job_id, new = submit(session), submit(session)
    claimed(sessions, job_id)
    expire(sessions, job_id)
    made = dispatcher(sessions, Remembering(), tick=0.2)
    made.start()

    def back() -> bool:
        made.ring(new)
        return status(sessions, job_id) == Status.QUEUED

    until(back, what="the job's return")
    made.stop()


@pytest.fixture
def prefix(redis_url: str) -> Iterator[str]:
    made = f"test-{secrets.token_hex(4)}:"
    yield made
    with redis.Redis.from_url(redis_url) as client:
        for key in client.scan_iter(f"{made}*"):
            client.delete(key)


def test_doorbells_wait_in_a_real_queue(redis_url: str, prefix: str) -> None:
    broker = Broker(redis_url, prefix)
    assert broker.waiting() == 0
    assert broker.ring("job_1")
    assert broker.ring("job_2")
    assert broker.waiting() == 2
    with redis.Redis.from_url(redis_url) as client:
        assert client.llen(f"{prefix}{TRAIN}") == 2
        assert b"job_1" not in (client.get("job_1") or b"")
    broker.close()


def test_a_broker_that_is_away_is_noticed_quickly() -> None:
    broker = Broker("redis://127.0.0.1:1/0", "none:")
    begun = time.monotonic()
    assert not broker.ring("job_1")
    assert time.monotonic() - begun < 3
    broker.close()


def test_a_unix_socket_is_spelled_as_celery_wants_it() -> None:
    assert celery_url("unix:///run/v.sock") == "redis+socket:///run/v.sock?virtual_host=0"
    assert celery_url("redis://h:1/2") == "redis://h:1/2"


def test_counting_at_a_broker_that_is_away_says_so() -> None:
    broker = Broker("redis://127.0.0.1:1/0", "none:")
    with pytest.raises(Unavailable, match="cannot be reached"):
        broker.waiting()
    broker.close()
