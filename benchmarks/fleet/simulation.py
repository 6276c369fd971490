"""Workers that claim, renew and end real jobs of the table, and train nothing."""

import multiprocessing
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError

from app.database.engine import Sessions, make_engine, make_sessions
from app.database.tables import Worker
from app.infrastructure.broker import TRAIN
from app.services.jobs import leases
from app.services.jobs.dispatcher import PASS_SECONDS, Dispatcher
from app.services.jobs.leases import Lease
from app.services.jobs.workers import report_alive
from benchmarks.fleet.costs import PROGRESS, Announced
from workers.jobs.heartbeat import RENEW_SECONDS
from workers.jobs.registration import REPORT_SECONDS

T = TypeVar("T")

LEASE_SECONDS = 60.0
CONNECTIONS = 8  # of one process, whatever its workers: the server is not ours alone
IDLE_SECONDS = 0.2  # until a worker without a job looks again, as after a wake-up


@dataclass
class Tally:
    """What some workers did: the seconds of each operation, by its name."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    claims_lost: int = 0  # to another worker that chose the same job
    leases_lost: int = 0
    errors: int = 0

    def timed(self, name: str, run: Callable[[], T]) -> T:
        """Run something and record how long it took."""
        begun = time.perf_counter()
        result = run()
        self.seconds.setdefault(name, []).append(time.perf_counter() - begun)
        return result

    def add(self, other: "Tally") -> None:
        """Add what others did."""
        for name, seconds in other.seconds.items():
            self.seconds.setdefault(name, []).extend(seconds)
        self.claims_lost += other.claims_lost
        self.leases_lost += other.leases_lost
        self.errors += other.errors


@dataclass(frozen=True)
class Shift:
    """What one process of the simulation does."""

    url: str
    workers: int
    job_seconds: float
    seed: int


class SimulatedWorker:
    """One worker, in a thread, until no job is queued any more; its dispatcher in another."""

    def __init__(
        self, sessions: Sessions, slots: threading.BoundedSemaphore, shift: Shift, number: int
    ) -> None:
        self._slots = slots
        self._sessions, self._shift, self._name = sessions, shift, f"w-{shift.seed}-{number}"
        self._random = random.Random(shift.seed * 1000 + number)  # noqa: S311 - repeatable, no secret
        self._ended = threading.Event()
        self.tally, self._passes = Tally(), Tally()

    def run(self) -> None:
        """Work, and dispatch meanwhile."""
        dispatching = threading.Thread(target=self._dispatch)
        time.sleep(self._random.uniform(0, PASS_SECONDS))  # workers do not start at the same moment
        dispatching.start()
        while (lease := self._claim()) is not None:
            self._work(lease)
        self._ended.set()
        dispatching.join()
        self.tally.add(self._passes)

    def _dispatch(self) -> None:
        dispatcher, reported_at = Dispatcher(self._sessions, Announced()), float("-inf")
        while not self._ended.wait(PASS_SECONDS):
            try:
                with self._slots:
                    if time.monotonic() - reported_at >= REPORT_SECONDS:
                        reported_at = time.monotonic()
                        self._passes.timed("presence", self._report)
                    self._passes.timed("dispatch pass", dispatcher.run_due_pass)
            except SQLAlchemyError:
                self._passes.errors += 1

    def _report(self) -> None:
        row = {"device": "cpu", "host": "h", "pid": 1, "loaded": []}
        with self._sessions.begin() as session:
            report_alive(session, Worker(id=self._name, role=TRAIN, **row))

    def _claim(self) -> Lease | None:
        """The lease of the next job; None when none is queued."""
        while True:
            try:
                with self._slots, self._sessions.begin() as session:
                    begun = time.perf_counter()
                    job_id = leases.next_queued(session, ["cpu"])
                    if job_id is None:
                        return None
                    job = leases.claim(session, job_id, self._name, LEASE_SECONDS)
            except SQLAlchemyError:
                self.tally.errors += 1
                time.sleep(IDLE_SECONDS)
                continue
            if job is not None:
                self.tally.seconds.setdefault("claim", []).append(time.perf_counter() - begun)
                return Lease(job.id, job.attempt)
            self.tally.claims_lost += 1

    def _work(self, lease: Lease) -> None:
        deadline = time.monotonic() + self._shift.job_seconds
        while (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, RENEW_SECONDS))
            if not self._change("heartbeat", lambda: self._renew(lease)):
                self.tally.leases_lost += 1
                return
        if not self._change("end", lambda: self._end(lease)):
            self.tally.leases_lost += 1

    def _change(self, name: str, change: Callable[[], bool]) -> bool:
        while True:
            try:
                with self._slots:
                    return self.tally.timed(name, change)
            except SQLAlchemyError:
                self.tally.errors += 1
                time.sleep(IDLE_SECONDS)

    def _renew(self, lease: Lease) -> bool:
        with self._sessions.begin() as session:
            return leases.renew(session, lease, LEASE_SECONDS, PROGRESS, None, []) is not None

    def _end(self, lease: Lease) -> bool:
        with self._sessions.begin() as session:
            return leases.complete(session, lease, {"smape": 1.0})


def run_shift(shift: Shift) -> Tally:
    """Run the workers of one process to the end of the queue."""
    engine = make_engine(shift.url)
    sessions, slots = make_sessions(engine), threading.BoundedSemaphore(CONNECTIONS)
    workers = [SimulatedWorker(sessions, slots, shift, number) for number in range(shift.workers)]
    threads = [threading.Thread(target=worker.run) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    engine.dispose()
    total = Tally()
    for worker in workers:
        total.add(worker.tally)
    return total


def run_fleet(url: str, workers: int, job_seconds: float, processes: int) -> Tally:
    """Run so many workers, in a few processes, until no job is queued; what they did."""
    share, rest = divmod(workers, processes)
    shifts = [Shift(url, share + (seed < rest), job_seconds, seed) for seed in range(processes)]
    total, spawn = Tally(), multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=spawn) as pool:
        for tally in pool.map(run_shift, shifts):
            total.add(tally)
    return total
