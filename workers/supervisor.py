"""Owns a job's child: beats the lease while it works, passes its news on, and ends the job.

The child may hang, crash or run out of memory; the truth in the database does not go with it.
"""

import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from app.db import Sessions
from app.services import leases
from app.services.leases import Lease, Orders
from app.states import LIVE, Status
from app.storage import Storage
from app.tables import Job
from workers.assignments import KINDS, Assignment, Unready
from workers.pipes import Child

log = logging.getLogger(__name__)

Json = dict[str, Any]

PULSE = 0.4  # seconds between two looks at what the database orders
STOP_GRACE = 2.0  # seconds a child has to come to a step boundary
EXIT_GRACE = 1.0  # seconds from its last message, or from a stop it did not heed


@dataclass(frozen=True)
class Ending:
    """How the child ended: its last message, or none when it died, and why it was stopped, if it was."""

    message: Json
    reason: str | None  # "cancelled", "released", "fenced"


@dataclass
class News:
    """What the child said since the last beat."""

    progress: Json | None = None
    metrics: Json | None = None
    events: list[tuple[str, Json]] = field(default_factory=list)

    def note(self, message: Json) -> None:
        """Sort one message in."""
        data = {name: value for name, value in message.items() if name != "type"}
        match message["type"]:
            case "progress":
                self.progress = {name: value for name, value in data.items() if name != "train_loss"}
            case "epoch":
                self.metrics = {name: data[name] for name in ("train_loss", "valid_loss") if name in data}
                self.events.append(("epoch", data))
            case kind:
                self.metrics = data.get("metrics", self.metrics)
                self.events.append((kind, data))


class Supervisor:
    """Runs one job from claim to end."""

    def __init__(
        self,
        sessions: Sessions,
        storage: Storage,
        work_dir: Path,
        owner: str,
        lease_seconds: float,
        device: str,
        stopping: Callable[[], bool],
        command: Sequence[str] = (),  # instead of the program that the kind of job has
    ) -> None:
        self._sessions = sessions
        self._storage = storage
        self._work_dir = work_dir
        self._owner = owner
        self._lease_seconds = lease_seconds
        self._device = device
        self._stopping = stopping
        self._command = command

    def run(self, job_id: str) -> None:
        """Claim the job and see it through; a job that somebody else has is left alone."""
        with self._sessions.begin() as session:
            job = leases.claim(session, job_id, self._owner, self._lease_seconds)
        if job is None:
            return
        lease = Lease(job.id, job.attempt)
        self._work_dir.mkdir(parents=True, exist_ok=True)
        directory = Path(tempfile.mkdtemp(prefix=f"{job.id}-{job.attempt}-", dir=self._work_dir))
        work = KINDS[job.kind](self._sessions, self._storage, self._device, job)
        try:
            self._run(work, lease, directory)
            if self._in_vain(job.id):
                work.discard()
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def _run(self, work: Assignment, lease: Lease, directory: Path) -> None:
        try:
            request = work.prepare(directory)
        except Unready as error:
            self._end(lease, Status.FAILED, error.code, str(error))
            return
        child = Child(self._command or (sys.executable, "-m", work.module), request)
        try:
            ending = self._watch(child, work, lease)
        finally:
            child.end(EXIT_GRACE)
        self._conclude(work, lease, ending)

    def _watch(self, child: Child, work: Assignment, lease: Lease) -> Ending:
        news, reason = News(), None
        last: Json = {}
        beaten = heard = time.monotonic()
        deadline = float("inf")
        while time.monotonic() < deadline and (message := child.message(PULSE / 4)) is not None:
            if message.get("type") in {"done", "failed", "stopped"}:
                last = message
            elif message:
                work.take(message)
                news.note(message)
            if time.monotonic() - beaten < PULSE:
                continue
            beaten = time.monotonic()
            try:
                orders, news, heard = self._beat(lease, news), News(), beaten
                wanted = self._wanted(orders)
            except SQLAlchemyError as error:
                log.warning("beat: %s", error, extra={"job_id": lease.job_id})
                wanted = "fenced" if beaten - heard > self._lease_seconds / 2 else None
            if wanted is not None and reason is None:
                reason, deadline = wanted, beaten + STOP_GRACE
                child.ask_to_stop()
        with suppress(SQLAlchemyError):
            self._beat(lease, news)
        return Ending(last, reason)

    def _wanted(self, orders: Orders | None) -> str | None:
        if orders is None:
            return "fenced"  # somebody else has the job now
        if orders.cancel:
            return "cancelled"
        return "released" if self._stopping() else None

    def _beat(self, lease: Lease, news: News) -> Orders | None:
        with self._sessions.begin() as session:
            return leases.beat(session, lease, self._lease_seconds, news.progress, news.metrics, news.events)

    def _conclude(self, work: Assignment, lease: Lease, ending: Ending) -> None:
        kind = ending.message.get("type")
        if ending.reason == "fenced":
            return
        if ending.reason == "cancelled":
            self._end(lease, Status.CANCELLED)
        elif kind == "done":
            if not work.finish(lease, ending.message):
                self._end(lease, Status.CANCELLED)  # nothing happens when it was taken away instead
        elif kind == "failed":
            self._end(lease, Status.FAILED, ending.message["code"], ending.message["message"])
        else:
            with self._sessions.begin() as session:
                leases.give_back(session, lease, crashed=ending.reason is None)

    def _in_vain(self, job_id: str) -> bool:
        """Whether the job has ended without a result, here or elsewhere, or was deleted."""
        with self._sessions() as session:
            job = session.get(Job, job_id)
            return job is None or job.status not in LIVE | {Status.SUCCEEDED}

    def _end(self, lease: Lease, status: Status, code: str | None = None, message: str = "") -> None:
        with self._sessions.begin() as session:
            leases.end(session, lease, status, code=code, message=message)
