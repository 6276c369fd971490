"""The queue in numbers, as Prometheus gets them."""

from sqlalchemy import update

from app.database.engine import Sessions
from app.database.tables import Job, Worker
from app.services.jobs import workers
from app.services.jobs.queries import QueueState, read_queue
from app.states import SWEEP
from tests.support.fixtures.service import Service

NOTHING = QueueState({"paused": 0, "queued": 0, "running": 0}, 0.0, {"train": 0, "serve": 0})


def test_an_empty_installation_has_numbers_too(sessions: Sessions) -> None:
    with sessions() as session:
        assert read_queue(session) == NOTHING


def test_jobs_that_are_not_over_are_counted_and_the_longest_wait(running: Service) -> None:
    waiting, other, taken, done, sweep = (running.job(model=name) for name in "abcde")
    running.claim(taken)
    running.http.post(f"/v1/jobs/{done}/cancel").raise_for_status()
    with running.state.sessions.begin() as session:
        session.execute(update(Job).where(Job.id == sweep).values(kind=SWEEP))
        session.execute(update(Job).where(Job.id == waiting).values(updated_at=Job.updated_at - 3000))
        session.execute(
            update(Job).where(Job.id.in_([taken, sweep])).values(updated_at=Job.updated_at - 9000)
        )
        workers.report_alive(session, Worker(id="w", role="train", device="cpu", host="h", pid=1, loaded=[]))
    with running.state.readers() as session:
        state = read_queue(session)
    assert state.jobs == {"paused": 0, "queued": 2, "running": 1}
    assert 3000 <= state.oldest_queued_seconds < 8000
    assert state.workers == {"train": 1, "serve": 0}
    assert other
