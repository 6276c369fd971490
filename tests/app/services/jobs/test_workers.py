"""Workers come, are busy, fall silent, and are forgotten."""

import pytest
from sqlalchemy import select, update

from app.database.engine import Sessions, db_now
from app.database.tables import Worker
from app.services.jobs import leases, workers
from app.services.jobs.workers import FRESH, STALE
from app.states import Status
from tests.app.services.jobs.test_leases import claimed, submit


def row(name: str = "w1", **fields: object) -> Worker:
    known = {"role": "train", "device": "cpu", "host": "h", "pid": 1, "loaded": []}
    return Worker(id=name, **(known | fields))


def see(sessions: Sessions, worker: Worker) -> None:
    with sessions.begin() as session:
        workers.seen(session, worker)


def silent(sessions: Sessions, name: str, seconds: float) -> None:
    with sessions.begin() as session:
        session.execute(update(Worker).where(Worker.id == name).values(last_seen=db_now() - seconds))


def live(sessions: Sessions) -> list[tuple[str, str | None]]:
    with sessions() as session:
        return [(worker.id, job_id) for worker, job_id in workers.live(session)]


def test_a_beat_refreshes_what_is_said_and_keeps_the_start(sessions: Sessions) -> None:
    see(sessions, row())
    silent(sessions, "w1", 10)
    with sessions() as session:
        first = session.get_one(Worker, "w1")
    see(sessions, row(loaded=["m/1"], device="cuda:0"))
    with sessions() as session:
        second = session.get_one(Worker, "w1")
    assert (second.loaded, second.device) == (["m/1"], "cuda:0")
    assert second.started_at == first.started_at
    assert second.last_seen > first.last_seen + 9


@pytest.mark.parametrize(("seconds", "shown"), [(FRESH - 2, True), (FRESH + 1, False)])
def test_a_silent_worker_vanishes_from_the_list(sessions: Sessions, seconds: float, shown: bool) -> None:
    see(sessions, row())
    silent(sessions, "w1", seconds)
    assert bool(live(sessions)) == shown


def test_a_worker_long_gone_is_deleted_by_another_that_lives(sessions: Sessions) -> None:
    for name, seconds in (("gone", STALE + 60), ("away", STALE - 60)):
        see(sessions, row(name))
        silent(sessions, name, seconds)
    see(sessions, row("here"))
    with sessions() as session:
        assert set(session.scalars(select(Worker.id))) == {"away", "here"}
    assert live(sessions) == [("here", None)]


def test_a_worker_that_leaves_is_gone_at_once_and_only_it(sessions: Sessions) -> None:
    for name in ("w1", "w2"):
        see(sessions, row(name))
    for _ in range(2):
        with sessions.begin() as session:
            workers.leave(session, "w1")
    assert live(sessions) == [("w2", None)]


def test_what_a_worker_is_busy_with_is_the_job_it_runs(sessions: Sessions) -> None:
    for name in ("w1", "w2"):
        see(sessions, row(name))
    with sessions.begin() as session:
        job_id, finished = submit(session), submit(session)
    old = claimed(sessions, finished, "w2")
    with sessions.begin() as session:
        leases.end(session, old, Status.FAILED, code="x")
    lease = claimed(sessions, job_id, "w1")
    assert live(sessions) == [("w1", job_id), ("w2", None)]
    with sessions.begin() as session:
        leases.give_back(session, lease, crashed=False)
    assert live(sessions) == [("w1", None), ("w2", None)]
