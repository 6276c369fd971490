"""Three sources of faults, each with a seed of its own: one that kills processes, one that freezes, stops,
locks and fills, one that meddles.

A job that was hit twice so that it lost its worker is spared from then on: three losses a job survives.
"""

import os
import random
import resource
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

import psycopg
import redis

from app.infrastructure.broker import Broker
from app.states import Status
from benchmarks.chaos.ledger import Ledger
from benchmarks.chaos.service import LEASE, Service
from benchmarks.chaos.stream import Stream
from benchmarks.serving.processes import tree

CHARGED = frozenset({"kill training", "kill supervisor", "kill worker", "freeze worker", "freeze supervisor"})
DISK_FULL, LOCK = "disk full for a training", "database locked"
SPARED_AFTER = 2  # losses
SETTLED_SECONDS = 0.2  # until the database has done what a worker had told it when it was stopped
CANCELLED = 0.1  # of the jobs at most

Fault = Callable[[], bool]  # False: it struck nothing


class Source:
    """A thread that does one fault after the other until it is told to stop."""

    def __init__(
        self, name: str, seed: int, stop: threading.Event, gap: float, faults: dict[Fault, float]
    ) -> None:
        """`gap` are the seconds between two faults, on average."""
        self._gap = gap
        self.random = random.Random(seed)  # noqa: S311 - a repeatable choice, no secret
        self.stop = stop
        self._faults = faults
        self._thread = threading.Thread(target=self._run, name=name)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def join(self) -> None:
        """Wait until the last fault is over."""
        self._thread.join()

    def _run(self) -> None:
        while not self.stop.wait(min(self.random.expovariate(1 / self._gap), 4 * self._gap)):
            (fault,) = self.random.choices(list(self._faults), list(self._faults.values()))
            fault()


class Holds:
    """Which workers are held still: no two sources hold the same one."""

    def __init__(self) -> None:
        self._lock, self._held = threading.Lock(), set[int]()

    def take(self, main: int) -> bool:
        """Whether the worker is the caller's now, who has to release it."""
        with self._lock:
            if main in self._held:
                return False
            self._held.add(main)
            return True

    def release(self, main: int) -> None:
        """Let others hold the worker."""
        with self._lock:
            self._held.discard(main)


class Violence(Source):
    """Kills, or freezes, stops, locks and fills: as `killer` says."""

    def __init__(
        self,
        service: Service,
        ledger: Ledger,
        seed: int,
        stop: threading.Event,
        gap: float,
        holds: Holds,
        *,
        killer: bool,
    ) -> None:
        self._service, self._ledger, self._holds = service, ledger, holds
        faults = self._kills() if killer else self._disturbances()
        super().__init__("killer" if killer else "violence", seed, stop, gap, faults)

    def _kills(self) -> dict[Fault, float]:
        return {
            lambda: self._strike("kill training"): 4,
            lambda: self._strike("kill supervisor"): 2,
            lambda: self._strike("kill worker"): 2,
            lambda: self._signal("kill API", "API", signal.SIGKILL): 1,
            lambda: self._signal("kill Valkey", "Valkey", signal.SIGKILL): 1,
            lambda: self._signal("kill predictor", "predictor", signal.SIGKILL): 1,
            lambda: self._signal("kill serving worker", "serving worker", signal.SIGKILL): 1,
        }

    def _disturbances(self) -> dict[Fault, float]:
        return {
            lambda: self._strike("freeze worker"): 1,
            lambda: self._strike("freeze supervisor"): 1,
            lambda: self._signal("stop worker", "training worker", signal.SIGTERM): 2,
            lambda: self._signal("stop API", "API", signal.SIGTERM): 1,
            self._lock: 1,
            self._fill: 1,
        }

    def _strike(self, kind: str) -> bool:
        """Hit a worker that holds still meanwhile, so that it is certain which job it costs."""
        workers = self._service.workers()
        if not workers:
            return False
        pid = self.random.choice(sorted(workers))
        begun = time.time()
        with self._held(pid) as held:
            if not held:
                return False
            self.stop.wait(SETTLED_SECONDS)
            job_id = self._service.runs(workers[pid])
            if job_id is not None and self._ledger.struck(job_id, CHARGED) >= SPARED_AFTER:
                return False
            chosen = [one for one in held if kind.endswith(self._names(pid, one))]
            if not chosen or (kind == "kill training" and job_id is None):
                return False
            if kind.startswith("kill"):
                os.kill(chosen[0], signal.SIGKILL)
            else:
                self._freeze(held if kind == "freeze worker" else chosen, held)
        self._ledger.note(kind, begun, job_id)
        return True

    def _freeze(self, frozen: list[int], held: list[int]) -> None:
        _send(signal.SIGCONT, [pid for pid in held if pid not in frozen])
        self.stop.wait(LEASE + self.random.uniform(1, 6))

    def _names(self, main: int, pid: int) -> str:
        if pid == main:
            return "worker"
        result = [one.role for one in self._service.processes("training", "supervisor") if one.pid == pid]
        return result[0] if result else "?"

    @contextmanager
    def _held(self, main: int) -> Iterator[list[int]]:
        """A worker and its processes, stopped; those that are not killed go on at the end.

        Empty while another source holds the worker.
        """
        held: list[int] = []
        if not self._holds.take(main):
            yield held
            return
        try:
            while more := [pid for pid in tree(main) if pid not in held]:
                _send(signal.SIGSTOP, more)
                held += more
            yield held
        finally:
            _send(signal.SIGCONT, held)
            self._holds.release(main)

    def _signal(self, kind: str, role: str, number: int) -> bool:
        result = self._service.processes(role)
        if not result:
            return False
        begun = time.time()
        _send(number, [self.random.choice(result).pid])
        self._ledger.note(kind, begun)
        return True

    def _lock(self) -> bool:
        """Nobody can write for a while, now and then for longer than they wait."""
        seconds = self.random.choice([0.5, 1.0, 2.0, 7.0])
        begun = time.time()
        try:
            with self._locked():
                self.stop.wait(seconds)
        except (sqlite3.OperationalError, psycopg.OperationalError):
            return False
        self._ledger.note(LOCK, begun)
        return True

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if url := self._service.servers.database_url:
            with psycopg.connect(url) as connection:
                connection.execute("LOCK TABLE jobs IN EXCLUSIVE MODE")
                yield
            return
        path = self._service.data_dir / "recurra.db"
        with closing(sqlite3.connect(path, timeout=10, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")

    def _fill(self) -> bool:
        """A training can write to no file for a while."""
        workers = self._service.workers()
        children = {one.pid for one in self._service.processes("training")}
        pairs = [(main, pid) for main in workers for pid in tree(main) if pid in children]
        if not pairs:
            return False
        main, pid = self.random.choice(pairs)
        begun = time.time()
        with self._held(main) as held:
            job_id = self._service.runs(workers[main]) if held else None
            if job_id is None or self._ledger.struck(job_id, frozenset({DISK_FULL})):
                return False
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        self.stop.wait(self.random.uniform(0.5, 2))
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        self._ledger.note(DISK_FULL, begun, job_id)
        return True


class Mischief(Source):
    """Orders, doorbells that mean nothing, a Redis that forgets."""

    def __init__(
        self, service: Service, stream: Stream, ledger: Ledger, seed: int, stop: threading.Event, gap: float
    ) -> None:
        super().__init__(
            "mischief",
            seed,
            stop,
            gap,
            {self._pause: 3, self._cancel: 1, self._ring: 2, self._flush: 1},
        )
        self._service, self._stream, self._ledger = service, stream, ledger
        self._broker = Broker(service.settings.redis, service.settings.redis_prefix)

    def _some(self, *statuses: Status) -> str | None:
        result = [job_id for job_id in self._service.live(*statuses) if job_id in self._ledger.accepted]
        return self.random.choice(result) if result else None

    def _pause(self) -> bool:
        """Pause a job, mostly one that runs, and resume it a little later."""
        job_id = self._some(Status.RUNNING) or self._some(Status.QUEUED)
        if job_id is None:
            return False
        begun = time.time()
        paused = self._stream.order(job_id, "pause") == 202
        self.stop.wait(self.random.uniform(0.1, 3))
        self._stream.order(job_id, "resume")
        if paused:
            self._ledger.note("pause and resume", begun, job_id)
        return paused

    def _cancel(self) -> bool:
        if len(self._ledger.cancelled | self._ledger.doubtful) >= CANCELLED * len(self._ledger.accepted):
            return False
        job_id = self._some(Status.RUNNING, Status.QUEUED, Status.PAUSED)
        if job_id is None:
            return False
        begun = time.time()
        status = self._stream.order(job_id, "cancel")
        if status == 202:
            self._ledger.cancelled.add(job_id)
        elif status != 409:
            self._ledger.doubtful.add(job_id)
        self._ledger.note("cancel", begun, job_id)
        return True

    def _ring(self) -> bool:
        """Ten doorbells for one job, which may have ended long ago."""
        if not self._ledger.accepted:
            return False
        job_id = self.random.choice(sorted(self._ledger.accepted))
        begun = time.time()
        for _ in range(10):
            self._broker.notify(job_id)
        self._ledger.note("ten doorbells", begun, job_id)
        return True

    def _flush(self) -> bool:
        begun = time.time()
        try:
            with redis.Redis.from_url(self._service.settings.redis, socket_timeout=2) as client:
                client.flushdb()
        except redis.RedisError:
            return False
        self._ledger.note("FLUSHDB", begun)
        return True


def _send(number: int, pids: list[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
