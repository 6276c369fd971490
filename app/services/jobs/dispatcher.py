"""Notifies workers of queued jobs and takes expired leases back, in a thread of its own.

Every API process and every training worker runs a dispatcher. Each change is a conditional UPDATE, so several
of them do no harm, and no job waits because one process died.
"""

import logging
import queue
import random
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol

from sqlalchemy.exc import SQLAlchemyError

from app.database.engine import Sessions
from app.errors import Unavailable
from app.infrastructure.outages import OutageLog
from app.services.jobs import reaper
from app.services.jobs.reaper import ExpiredLease

log = logging.getLogger(__name__)

PASS_SECONDS = 2.0  # between two dispatch passes
ANNOUNCERS = 8  # processes that look for queued jobs in that time, however many there are
MAX_BATCH_JOBS = 200  # jobs announced and marked in one transaction
RENOTIFY_SECONDS = 10.0  # until a wake-up that no worker reacted to is sent again


class Notifier(Protocol):
    """Carries wake-ups to the workers; in service, the broker."""

    def notify(self, job_id: str, device: str) -> bool:
        """Send a wake-up for a job that asks for a device; False when the broker cannot be reached."""
        ...

    def pending(self, device: str) -> int:
        """Return how many wake-ups for a device no worker has received yet; raises `Unavailable`."""
        ...


class Dispatcher:
    """Runs dispatch passes; `notify` only queues the job's id, so that no request waits for the broker."""

    def __init__(
        self,
        sessions: Sessions,
        broker: Notifier,
        pass_seconds: float = PASS_SECONDS,
        renotify_seconds: float = RENOTIFY_SECONDS,
    ) -> None:
        self._sessions = sessions
        self._broker = broker
        self._pass_seconds = pass_seconds
        self._renotify_seconds = renotify_seconds
        self._committed: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)
        self._expired: set[ExpiredLease] = set()  # at the last pass
        self._announce_at = 0.0  # when this process looks for queued jobs again
        self._stopping = False
        self._pass_outage, self._notify_outage = OutageLog(log, "dispatch pass"), OutageLog(log, "notify")

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the current pass and end the thread; harmless before `start`."""
        self._stopping = True
        self._committed.put(None)
        if self._thread.ident is not None:
            self._thread.join(timeout=5)

    def notify(self, job_id: str) -> None:
        """Have the workers notified of a job that was just committed."""
        self._committed.put(job_id)

    def _run(self) -> None:
        due = time.monotonic() + self._pass_seconds  # of the next pass, however many jobs arrive meanwhile
        while not self._stopping:
            with suppress(queue.Empty):
                job_id = self._committed.get(timeout=max(0.0, due - time.monotonic()))
                if job_id is not None:
                    self._try_notify([job_id, *self._drain()])
            if time.monotonic() >= due and not self._stopping:
                self._try_pass()
                due = time.monotonic() + self._pass_seconds

    def _drain(self) -> list[str]:
        """Return the other jobs committed meanwhile, so that a burst of jobs is marked in one transaction."""
        ids: list[str] = []
        with suppress(queue.Empty):
            while len(ids) < MAX_BATCH_JOBS and (job_id := self._committed.get_nowait()) is not None:
                ids.append(job_id)
        return ids

    def _try_pass(self) -> None:
        try:
            self.run_due_pass()
        except (SQLAlchemyError, Unavailable) as error:
            self._pass_outage.failed(error)
        else:
            self._pass_outage.worked()

    def _try_notify(self, ids: list[str]) -> None:
        try:
            with self._sessions() as session:
                jobs = reaper.requested_devices(session, ids)
            self._notify(jobs)
        except SQLAlchemyError as error:
            self._notify_outage.failed(error)
        else:
            self._notify_outage.worked()

    def run_due_pass(self) -> None:
        """Run a pass; it looks for queued jobs only if it is this process's turn.

        To look through all of them costs the database more than all else in a large fleet, so that each
        process does it the less often, the more there are. A job just committed does not wait for that.
        """
        self.run_pass(announcing=time.monotonic() >= self._announce_at)

    def run_pass(self, *, announcing: bool = True) -> None:
        """Take expired leases back; with `announcing`, notify workers of jobs no wake-up is under way for."""
        with self._sessions.begin() as session:
            reaper.reap(session, self._expired)
            self._expired = set(reaper.expired_leases(session))
        if not announcing:
            return
        with self._sessions() as session:
            share = reaper.count_workers(session) / ANNOUNCERS
            devices = reaper.waiting_devices(session)
            new = {device: reaper.unnotified(session, None, device) for device in devices}
            overdue = {
                device: reaper.unnotified(session, self._renotify_seconds, device) for device in devices
            }
        if share > 1:
            wait = (share - 1) * self._pass_seconds * random.uniform(0.5, 1.5)  # noqa: S311 - no secret
            self._announce_at = time.monotonic() + wait
        # A wake-up that still waits in its queue is not lost: sending it again would only pile them up.
        for device in devices:
            lost = overdue[device] and self._broker.pending(device) == 0
            self._notify(dict.fromkeys(overdue[device] if lost else new[device], device))

    def _notify(self, jobs: Mapping[str, str]) -> None:
        """Send a wake-up for each job, by its id, to workers that have the device it asks for."""
        sent = []
        for job_id, device in jobs.items():
            if not self._broker.notify(job_id, device):
                break
            sent.append(job_id)
        if sent:
            with self._sessions.begin() as session:
                reaper.mark_notified(session, sent)
