"""A job's heartbeat: a thread that renews the lease and stores progress, even while its owner waits."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from sqlalchemy.exc import SQLAlchemyError

from app.database.engine import Sessions
from app.infrastructure.logs import LogLine
from app.infrastructure.outages import OutageLog
from app.services.jobs import leases
from app.services.jobs.leases import ControlFlags, Lease
from app.typedefs import Json

log = logging.getLogger(__name__)


RENEW_SECONDS = 0.4  # between two heartbeats
MAX_PENDING_LINES = 500  # of a job's log, that wait for the next heartbeat
MAX_SILENCE = (
    0.5  # fraction of the lease: without a heartbeat for longer, the owner stops, before others take over
)


class StopReason(StrEnum):
    """Why a job has to stop."""

    CANCELLED = "cancelled"
    PAUSED = "paused"
    RELEASED = "released"  # the worker stops
    HEARTBEAT_LOST = "heartbeat_lost"  # the database is unavailable
    LEASE_LOST = "lease_lost"  # the job may be another worker's by now


@dataclass
class PendingReport:
    """What a job's child has reported since the last heartbeat."""

    progress: Json | None = None
    metrics: Json | None = None
    events: list[tuple[str, Json]] = field(default_factory=list)
    lines: list[LogLine] = field(default_factory=list)
    omitted_lines: int = 0  # that came when there were too many

    def add_lines(self, lines: Iterable[LogLine]) -> None:
        """Add lines of the child's log; what exceeds the limit is only counted."""
        for line in lines:
            if len(self.lines) < MAX_PENDING_LINES:
                self.lines.append(line)
            else:
                self.omitted_lines += 1

    @property
    def log_lines(self) -> list[LogLine]:
        """The lines, and one about those that are left out."""
        if not self.omitted_lines:
            return self.lines
        text = f"{self.omitted_lines} further lines came too fast and are left out"
        return [*self.lines, LogLine(self.lines[-1].at, "warning", text)]

    def record(self, message: Json) -> None:
        """Add one message of the child."""
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

    def merge(self, later: "PendingReport") -> "PendingReport":
        """Return this report continued by a later one."""
        progress = self.progress if later.progress is None else later.progress
        metrics = self.metrics if later.metrics is None else later.metrics
        merged = PendingReport(progress, metrics, self.events + later.events, self.lines)
        merged.omitted_lines = self.omitted_lines + later.omitted_lines
        merged.add_lines(later.lines)
        return merged


class Heartbeat:
    """Renews a lease of `seconds` from `start` to `stop`, and knows why the job has to stop."""

    def __init__(
        self, sessions: Sessions, lease: Lease, seconds: float, stopping: Callable[[], bool]
    ) -> None:
        self.lease = lease
        self._sessions, self._seconds = sessions, seconds
        self._stopping = stopping
        self._report, self._report_lock = PendingReport(), threading.Lock()
        self._renewing = threading.Lock()
        self._outage = OutageLog(log, f"heartbeat of {lease.job_id}")
        self._flags: ControlFlags | None = ControlFlags(cancel=False)  # None: the lease was lost
        self._renewed = time.monotonic()  # when the last successful renewal began
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Start the thread; the lease was just claimed."""
        self._thread.start()

    def record(self, message: Json) -> None:
        """Store this message of the child with the next heartbeat."""
        with self._report_lock:
            self._report.record(message)

    def add_lines(self, lines: Iterable[LogLine]) -> None:
        """Store these lines of the child's log with the next heartbeat."""
        with self._report_lock:
            self._report.add_lines(lines)

    @property
    def stop_reason(self) -> StopReason | None:
        """Why the job has to stop, if it has to; read from memory, never from the database."""
        flags = self._flags
        if flags is None:
            return StopReason.LEASE_LOST
        if flags.cancel:
            return StopReason.CANCELLED
        if time.monotonic() - self._renewed > MAX_SILENCE * self._seconds:
            return StopReason.HEARTBEAT_LOST
        if flags.pause:
            return StopReason.PAUSED
        return StopReason.RELEASED if self._stopping() else None

    def renew(self) -> bool:
        """Renew the lease and store what is pending, now; False when the database is unavailable.

        True also when the lease was lost, for then there is nothing to store.
        """
        with self._renewing:
            return self._flags is None or self._renew()

    def stop(self) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join(timeout=self._seconds)

    def _run(self) -> None:
        while not self._ended.wait(RENEW_SECONDS):
            self.renew()

    def _renew(self) -> bool:
        with self._report_lock:
            report, self._report = self._report, PendingReport()
        begun = time.monotonic()
        try:
            with self._sessions.begin() as session:
                parts = (report.progress, report.metrics, report.events, report.log_lines)
                self._flags = leases.renew(session, self.lease, self._seconds, *parts)
        except SQLAlchemyError as error:
            self._outage.failed(error)
            with self._report_lock:
                self._report = report.merge(self._report)
            return False
        self._renewed = begun
        self._outage.worked()
        return True
