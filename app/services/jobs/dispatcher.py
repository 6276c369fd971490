"""Rings the doorbells of queued jobs and takes back expired leases, in a thread of its own.

Every API process and every training worker runs one: each change is a conditional UPDATE, so it does no harm
that several do, and no job waits because one of them died.
"""

import logging
import queue
import threading
import time
from contextlib import suppress
from typing import Protocol

from sqlalchemy.exc import SQLAlchemyError

from app.database.engine import Sessions
from app.errors import Unavailable
from app.services.jobs import reaper
from app.services.jobs.reaper import Expired

log = logging.getLogger(__name__)

TICK = 2.0  # seconds between sweeps
AT_ONCE = 200  # doorbells
AGAIN = 10.0  # seconds after which a doorbell nobody answered is rung again


class Bell(Protocol):
    """What is rung: the broker."""

    def ring(self, job_id: str) -> bool:
        """Tell the workers; False when they cannot be told now."""
        ...

    def waiting(self) -> int:
        """How many doorbells nobody has answered yet."""
        ...


class Dispatcher:
    """Publishing never holds a request up: it hands the job's id over and goes on."""

    def __init__(self, sessions: Sessions, broker: Bell, tick: float = TICK, again: float = AGAIN) -> None:
        self._sessions = sessions
        self._broker = broker
        self._tick = tick
        self._again = again
        self._fresh: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)
        self._expired: set[Expired] = set()  # leases, at the last sweep
        self._stopping = False

    def start(self) -> None:
        """Begin to sweep."""
        self._thread.start()

    def stop(self) -> None:
        """End after what is being done."""
        self._stopping = True
        self._fresh.put(None)
        self._thread.join(timeout=5)

    def ring(self, job_id: str) -> None:
        """Ring for a job that was just committed."""
        self._fresh.put(job_id)

    def _run(self) -> None:
        due = time.monotonic() + self._tick  # of the next sweep, however many jobs come meanwhile
        while not self._stopping:
            with suppress(queue.Empty):
                job_id = self._fresh.get(timeout=max(0.0, due - time.monotonic()))
                if job_id is not None:
                    self._guarded_ring([job_id, *self._more()])
            if time.monotonic() >= due and not self._stopping:
                self._guarded_sweep()
                due = time.monotonic() + self._tick

    def _more(self) -> list[str]:
        """Whatever else was committed meanwhile, so that a burst of jobs is one transaction."""
        found: list[str] = []
        with suppress(queue.Empty):
            while len(found) < AT_ONCE and (job_id := self._fresh.get_nowait()) is not None:
                found.append(job_id)
        return found

    def _guarded_sweep(self) -> None:
        try:
            self.sweep()
        except (SQLAlchemyError, Unavailable) as error:
            log.warning("sweep: %s", error)

    def _guarded_ring(self, ids: list[str]) -> None:
        try:
            self._ring(ids)
        except SQLAlchemyError as error:
            log.warning("ring: %s", error)

    def sweep(self) -> None:
        """Take expired leases back, ring for new jobs, and again for old ones when no doorbell is left."""
        with self._sessions.begin() as session:
            reaper.reap(session, self._expired)
            self._expired = set(reaper.expired(session))
        with self._sessions() as session:
            fresh = reaper.unrung(session, None)
            stale = reaper.unrung(session, self._again)
        # A doorbell that still waits in the queue is not lost: ringing again would only pile them up.
        if stale and self._broker.waiting() == 0:
            self._ring(stale)
        elif fresh:
            self._ring(fresh)

    def _ring(self, ids: list[str]) -> None:
        rung = []
        for job_id in ids:
            if not self._broker.ring(job_id):
                break
            rung.append(job_id)
        if rung:
            with self._sessions.begin() as session:
                reaper.mark_rung(session, rung)
