"""The rows of workers: reported, busy, silent, and deleted."""

import pytest
from sqlalchemy import select, update

from app.database.engine import Sessions, db_now
from app.database.tables import Worker
from app.infrastructure.liveness import LIVE_SECONDS
from app.services.jobs import leases, workers
from app.services.jobs.workers import DELETE_AFTER_SECONDS
from app.states import Status
from tests.app.services.jobs.test_leases import claimed, submit


def row(name: str = "w1", **fields: object) -> Worker:
    defaults = {"role": "train", "device": "cpu", "host": "h", "pid": 1, "loaded": []}
    return Worker(id=name, **(defaults | fields))


def report(sessions: Sessions, worker: Worker) -> None:
    with sessions.begin() as session:
        workers.report_alive(session, worker)


def silent(sessions: Sessions, name: str, seconds: float) -> None:
    with sessions.begin() as session:
        session.execute(update(Worker).where(Worker.id == name).values(last_seen=db_now() - seconds))


def live(sessions: Sessions) -> list[tuple[str, str | None]]:
    with sessions() as session:
        return [(worker.id, job_id) for worker, job_id in workers.list_live(session)]


def test_a_report_refreshes_the_row_and_keeps_its_start(sessions: Sessions) -> None:
    report(sessions, row())
    silent(sessions, "w1", 10)
    with sessions() as session:
        first = session.get_one(Worker, "w1")
    report(sessions, row(loaded=["m/1"], device="cuda:0"))
    with sessions() as session:
        second = session.get_one(Worker, "w1")
    assert (second.loaded, second.device) == (["m/1"], "cuda:0")
    assert second.started_at == first.started_at
    assert second.last_seen > first.last_seen + 9


@pytest.mark.parametrize(("seconds", "shown"), [(LIVE_SECONDS - 2, True), (LIVE_SECONDS + 1, False)])
def test_a_silent_worker_vanishes_from_the_list(sessions: Sessions, seconds: float, shown: bool) -> None:
    report(sessions, row())
    silent(sessions, "w1", seconds)
    assert bool(live(sessions)) == shown


def test_a_worker_long_gone_is_deleted_by_another_that_lives(sessions: Sessions) -> None:
    for name, seconds in (("gone", DELETE_AFTER_SECONDS + 60), ("away", DELETE_AFTER_SECONDS - 60)):
        report(sessions, row(name))
        silent(sessions, name, seconds)
    report(sessions, row("here"))
    with sessions() as session:
        assert set(session.scalars(select(Worker.id))) == {"away", "here"}
    assert live(sessions) == [("here", None)]


def test_removing_a_worker_deletes_its_row_only(sessions: Sessions) -> None:
    for name in ("w1", "w2"):
        report(sessions, row(name))
    for _ in range(2):
        with sessions.begin() as session:
            workers.remove(session, "w1")
    assert live(sessions) == [("w2", None)]


def test_a_worker_is_listed_with_the_job_it_runs(sessions: Sessions) -> None:
    for name in ("w1", "w2"):
        report(sessions, row(name))
    with sessions.begin() as session:
        job_id, finished = submit(session), submit(session)
    old = claimed(sessions, finished, "w2")
    with sessions.begin() as session:
        leases.end(session, old, Status.FAILED, code="x")
    lease = claimed(sessions, job_id, "w1")
    assert live(sessions) == [("w1", job_id), ("w2", None)]
    with sessions.begin() as session:
        leases.release(session, lease, crashed=False)
    assert live(sessions) == [("w1", None), ("w2", None)]
