"""A model of a job in plain Python: what the SQL has to agree with, step by step."""

from dataclasses import dataclass, field
from typing import Any

from app.services.jobs.leases import BACKOFF_SECONDS, MAX_CRASHES, MAX_FAILURES
from app.states import LIVE, TERMINAL, Status
from app.typedefs import Json
from tests.app.services.invariants import Snapshot

MESSAGE = "The artifact store is away."
SLOWNESS = 100  # factor on the back-off: the test's clock only jumps


@dataclass
class JobModel:
    """What must be true of one job."""

    kind: str
    model: str
    version: int | None = None  # that it made or, at a batch, that it uses
    run: bool = False  # of a sweep
    status: Status = Status.QUEUED
    attempt: int = 0
    crashes: int = 0
    steps: int = 0  # in the farthest checkpoint
    excused: int = 0  # crashes before it
    failures: int = 0
    cancel: bool = False
    pause: bool = False
    lease: float = 0.0  # seconds left
    wait: float = 0.0  # seconds until it is due
    notified: float | None = None  # seconds since its workers were notified
    progress: Json | None = None
    metrics: Json | None = None
    error: tuple[str, str] | None = None
    events: list[tuple[str, Json]] = field(default_factory=lambda: [("status", {"status": Status.QUEUED})])

    @property
    def live(self) -> bool:
        """Whether it has not ended."""
        return self.status in LIVE

    @property
    def versionless(self) -> bool:
        """Whether it makes no version."""
        return self.run or self.kind != "train"

    @property
    def stored(self) -> Json:
        """All but the clocks."""
        return {
            name: value for name, value in vars(self).items() if name not in {"lease", "wait", "notified"}
        }

    @property
    def due(self) -> bool:
        """Whether a worker may take it."""
        return self.status is Status.QUEUED and self.wait <= 0

    def claim(self, seconds: float) -> None:
        """A worker takes it."""
        self.attempt, self.lease, self.wait = self.attempt + 1, seconds, 0.0
        self._change_status(Status.RUNNING, attempt=self.attempt)

    def renew(
        self, seconds: float, progress: Json | None, metrics: Json | None, lines: list[tuple[str, Json]]
    ) -> None:
        """Its worker renews the lease and may report progress."""
        self.lease = seconds
        self.events.extend(lines)
        steps = max((data["step"] for kind, data in lines if kind == "checkpoint"), default=0)
        if steps > self.steps:
            self.steps, self.excused, self.failures = steps, self.crashes, 0
        self.progress = self.progress if progress is None else progress
        self.metrics = self.metrics if metrics is None else metrics

    def succeed(self, version: int | None, metrics: Json) -> None:
        """Its worker brings the result."""
        self.version = version
        self.metrics = {**(self.metrics or {}), **metrics}
        self.progress = {**(self.progress or {}), "fraction": 1.0, "eta_seconds": 0.0}
        self._change_status(Status.SUCCEEDED, model_version=version)

    def fail(self, code: str = "diverged", message: str = "NaN") -> None:
        """It cannot succeed."""
        if self.cancel:
            self.stop()
        else:
            self.error = (code, message)
            self._change_status(Status.FAILED, error={"code": code, "message": message})

    def stop(self) -> None:
        """Its worker ends it, as its owner wants."""
        self._change_status(Status.CANCELLED)

    def retry(self) -> None:
        """It met an error that may not recur."""
        if self.cancel or self.failures == MAX_FAILURES:
            self.fail("storage", MESSAGE)
            return
        self.wait = SLOWNESS * BACKOFF_SECONDS * (1, 2)[self.failures]
        self.failures += 1
        self.events.append(("warning", {"message": f"{MESSAGE} The job will be tried again."}))
        self.release()

    def crash(self) -> None:
        """Its worker or child is lost."""
        if self.cancel:
            self.stop()
        elif self.crashes - self.excused == MAX_CRASHES:
            message = (
                "The worker was lost 4 times while it ran this job, without progress in between, most likely "
                "for want of memory"
            )
            advice = "; try a smaller batch_size, hidden_size or context_length"
            self.fail("worker_lost", message + (advice if self.kind == "train" else ""))
        else:
            self.crashes += 1
            self.release()

    def release(self) -> None:
        """Its worker lets go of it."""
        self.notified = None
        if self.cancel:
            self.stop()
        else:
            self._change_status(Status.PAUSED if self.pause else Status.QUEUED)

    def request_cancel(self) -> None:
        """Its owner does not want it any more."""
        if self.status is Status.RUNNING:
            self.cancel = True
        elif self.live:
            self.cancel = True
            self._change_status(Status.CANCELLED)

    def request_pause(self) -> None:
        """Its owner wants it to wait."""
        if self.status is Status.RUNNING:
            self.pause = True
        elif self.status is Status.QUEUED:
            self._change_status(Status.PAUSED)

    def request_resume(self) -> None:
        """Its owner wants it to go on."""
        self.pause = False
        if self.status is Status.PAUSED:
            self.wait, self.notified = 0.0, None
            self._change_status(Status.QUEUED)

    def forbids(self, request: str) -> bool:
        """Whether a request comes too late."""
        if request == "cancel":
            return self.status in {Status.SUCCEEDED, Status.FAILED}
        return self.status in TERMINAL or (request == "pause" and self.cancel)

    def age(self, seconds: float) -> None:
        """Time passes."""
        self.lease, self.wait = self.lease - seconds, self.wait - seconds
        self.notified = None if self.notified is None else self.notified + seconds

    def _change_status(self, status: Status, **data: Any) -> None:
        self.status = status
        self.pause = False
        self.events.append(("status", {"status": status, **data}))


def read_job(now: Snapshot, job_id: str) -> Json:
    """What the database says of a job, with the names of the model's fields."""
    row = now.jobs[job_id]
    return {
        "kind": row.kind,
        "model": row.model,
        "version": row.model_version,
        "run": row.sweep_id is not None,
        "status": row.status,
        "attempt": row.attempt,
        "crashes": row.crashes,
        "steps": row.stored_steps,
        "excused": row.excused_crashes,
        "failures": row.failures,
        "cancel": row.cancel_requested_at is not None,
        "pause": row.pause_requested_at is not None,
        "progress": row.progress,
        "metrics": row.metrics,
        "error": None if row.error_code is None else (row.error_code, row.error_message),
        "events": [(line.type, line.data) for line in now.events[job_id]],
    }
