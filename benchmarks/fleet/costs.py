"""What each thing that a fleet does costs the database, by how many jobs are queued."""

import time
from collections.abc import Callable
from functools import partial
from itertools import cycle
from typing import NamedTuple

from sqlalchemy import Engine, delete, update

from app.database.engine import Sessions, make_sessions
from app.database.tables import Job, Worker
from app.infrastructure.broker import TRAIN
from app.services.jobs import leases, queries
from app.services.jobs.dispatcher import PASS_SECONDS, Dispatcher
from app.services.jobs.leases import Lease
from app.services.jobs.workers import report_alive
from app.states import Status
from benchmarks.fleet.server import queue_jobs, server_cpu_seconds
from workers.jobs.heartbeat import RENEW_SECONDS
from workers.jobs.registration import REPORT_SECONDS

LEASE_SECONDS = 3600.0
PROGRESS = {"fraction": 0.5, "epoch": 3, "epochs": 20, "step": 5, "steps": 10, "eta_seconds": 1.0}


class Cost(NamedTuple):
    """One operation's cost."""

    name: str
    queued: int
    seconds: float  # median, as the caller sees it
    cpu_seconds: float | None  # of the server
    per_worker: float | None  # how often a busy worker does it in a second; None: see the page on fleets


class Announced:
    """A broker whose queue always holds wake-ups that nobody has read."""

    def notify(self, job_id: str, device: str) -> bool:
        """Take a wake-up."""
        del job_id, device
        return True

    def pending(self, device: str) -> int:
        """Say that some wait."""
        del device
        return 1


def measure_costs(engine: Engine, queued: int, times: int) -> list[Cost]:
    """Measure every operation `times` times with so many jobs queued."""
    sessions = make_sessions(engine)
    with sessions.begin() as session:
        session.execute(delete(Job))
    ids = queue_jobs(engine, queued + 2 * times + 1)
    running = [_claimed(sessions, job_id) for job_id in ids[: times + 1]]
    with sessions.begin() as session:
        session.execute(update(Job).where(Job.status == Status.QUEUED).values(dispatched_at=0.0))
    dispatcher = Dispatcher(sessions, Announced())
    changes = _Changes(sessions, running, ids[-1])
    operations: list[tuple[str, Callable[[], None], float | None]] = [
        ("heartbeat with progress", changes.renew, 1 / RENEW_SECONDS),
        ("dispatch pass, all of it", dispatcher.run_pass, None),
        ("dispatch pass, leases only", partial(dispatcher.run_pass, announcing=False), 1 / PASS_SECONDS),
        ("presence", changes.report, 1 / REPORT_SECONDS),
        ("claim", changes.claim, None),
        ("end", changes.end, None),
        ("poll", changes.poll, None),
    ]
    return [
        Cost(name, queued, *_measure(engine, run, times), per_worker) for name, run, per_worker in operations
    ]


class _Changes:
    """What workers and clients do, on jobs that run."""

    def __init__(self, sessions: Sessions, running: list[Lease], polled: str) -> None:
        self._sessions, self._polled = sessions, polled
        self._renewals, self._ends = cycle(running), iter(running)

    def renew(self) -> None:
        """A heartbeat."""
        with self._sessions.begin() as session:
            leases.renew(session, next(self._renewals), LEASE_SECONDS, PROGRESS, None, [])

    def claim(self) -> None:
        """Take the next job."""
        with self._sessions.begin() as session:
            job_id = leases.next_queued(session, ["cpu"])
            leases.claim(session, job_id or "", "w", LEASE_SECONDS)

    def end(self) -> None:
        """End a job that runs."""
        with self._sessions.begin() as session:
            leases.complete(session, next(self._ends), {"smape": 1.0})

    def poll(self) -> None:
        """Read a job."""
        with self._sessions() as session:
            queries.get_job(session, self._polled)

    def report(self) -> None:
        """A worker's presence."""
        row = {"host": "h", "pid": 1, "loaded": [], "memory_bytes": 1 << 30}
        with self._sessions.begin() as session:
            report_alive(session, Worker(id="w", role=TRAIN, device="cpu", **row))


def _measure(engine: Engine, run: Callable[[], None], times: int) -> tuple[float, float | None]:
    """The median seconds of a call, and the server's mean processor seconds."""
    run()  # what is planned and cached at the first time
    before, taken = server_cpu_seconds(engine), []
    for _ in range(times - 1):
        begun = time.perf_counter()
        run()
        taken.append(time.perf_counter() - begun)
    after = server_cpu_seconds(engine)
    cpu = None if before is None or after is None else (after - before) / (times - 1)
    return sorted(taken)[len(taken) // 2], cpu


def _claimed(sessions: Sessions, job_id: str) -> Lease:
    with sessions.begin() as session:
        leases.claim(session, job_id, "w", LEASE_SECONDS)
    return Lease(job_id, 1)
