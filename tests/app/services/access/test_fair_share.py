"""Projects take turns, priorities count within one, and keys keep within their limits."""

from collections import Counter
from collections.abc import Callable

import pytest
from sqlalchemy import Engine, select

from app.database.engine import Sessions, make_sessions
from app.database.projects import ALL_PROJECTS
from app.database.tables import Job, Key
from app.identifiers import new_id
from app.services.access import keys
from app.services.access.callers import KeyLimits, Scope
from app.services.jobs import leases
from app.services.jobs.leases import Lease
from app.states import SWEEP, Status


class Queue:
    """The queue of several projects, as workers see it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.sessions: Sessions = make_sessions(engine, ALL_PROJECTS)

    def submit(self, project: str, count: int = 1, **fields: object) -> list[str]:
        with self.sessions.begin() as session:
            rows = [
                Job(
                    id=new_id("job"), project=project, kind="train", task="forecasting", dataset_id="ds",
                    model="m", network={}, training={"device": "auto"}, options={}, job_metadata={},
                ) for _ in range(count)
            ]  # fmt: skip
            for row in rows:
                for name, value in fields.items():
                    setattr(row, name, value)
            session.add_all(rows)
            return [row.id for row in rows]

    def claim(self) -> Job | None:
        with self.sessions.begin() as session:
            job_id = leases.next_queued(session, ["cpu"])
            return None if job_id is None else leases.claim(session, job_id, "w", 60)

    def end(self, job: Job) -> None:
        with self.sessions.begin() as session:
            assert leases.end(session, Lease(job.id, job.attempt), Status.FAILED)

    def served(self, count: int, workers: int = 1) -> list[str]:
        """The projects whose jobs are run, one after the other, by some workers."""
        order, running = [], list[Job]()
        for _ in range(count):
            if len(running) == workers:
                self.end(running.pop(0))
            job = self.claim()
            assert job is not None
            running.append(job)
            order.append(job.project)
        for job in running:
            self.end(job)
        return order


@pytest.fixture
def queue(engine: Engine) -> Queue:
    return Queue(engine)


@pytest.fixture
def limited(queue: Queue) -> Callable[..., str]:
    def make(**limits: int) -> str:
        with make_sessions(queue.engine, "a").begin() as session:
            return str(keys.create(session, "k", [Scope.TRAIN], KeyLimits(**limits)).row.id)

    return make


def test_a_client_with_many_jobs_delays_another_by_one(queue: Queue) -> None:
    queue.submit("a", 30)
    queue.submit("b", 3)
    queue.submit("c", 3)
    order = queue.served(9)
    assert Counter(order) == {"a": 3, "b": 3, "c": 3}
    assert all(len(set(order[start : start + 3])) == 3 for start in (0, 3, 6))
    assert queue.served(3) == ["a"] * 3


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_are_shared_evenly(queue: Queue, workers: int) -> None:
    queue.submit("a", 30)
    queue.submit("b", 12)
    counts = Counter(queue.served(12, workers))
    assert abs(counts["a"] - counts["b"]) <= 1


def test_a_late_project_gets_the_next_worker(queue: Queue) -> None:
    queue.submit("a", 10)
    held = [queue.claim() for _ in range(4)]
    assert all(held)
    (late,) = queue.submit("b")
    job = queue.claim()
    assert job is not None
    assert job.id == late


def test_runs_of_a_sweep_are_their_projects(queue: Queue) -> None:
    queue.submit("a", kind=SWEEP, status=Status.RUNNING)  # which no worker runs
    queue.submit("a", 4, sweep_id="job_s")
    queue.submit("b", 2)
    assert queue.served(4) in (["a", "b"] * 2, ["b", "a"] * 2)


def test_priorities_count_within_a_project_only(queue: Queue) -> None:
    first = queue.submit("a", 2)
    urgent = queue.submit("a", priority=5)
    queue.submit("a", priority=-1)
    other = queue.submit("b", priority=100)
    order = []
    while (job := queue.claim()) is not None:
        order.append(job.id)
        queue.end(job)
    own = [job_id for job_id in order if job_id not in other]
    assert (own[0], set(own[1:3])) == (urgent[0], set(first))
    assert order.index(other[0]) <= 1


def test_a_key_runs_no_more_jobs_than_it_may(queue: Queue, limited: Callable[..., str]) -> None:
    key = limited(running_jobs=2)
    queue.submit("a", 5, key_id=key)
    held = [queue.claim(), queue.claim()]
    assert all(held)
    assert queue.claim() is None
    (free,) = queue.submit("a", key_id=None)
    job = queue.claim()
    assert job is not None
    assert job.id == free
    assert held[0] is not None
    queue.end(held[0])
    again = queue.claim()
    assert again is not None
    assert again.key_id == key
    assert queue.claim() is None


def test_a_key_without_a_limit_is_not_held_back(queue: Queue, limited: Callable[..., str]) -> None:
    queue.submit("a", 3, key_id=limited())
    assert all(queue.claim() for _ in range(3))
    with queue.sessions() as session:
        assert session.scalars(select(Key.running_jobs)).all() == [None]
