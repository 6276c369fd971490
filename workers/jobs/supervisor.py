"""Supervises one job: a child process works, a heartbeat renews the lease, the supervisor ends the job.

The child may hang, crash or run out of memory; the row in the database is not affected.
"""

import logging
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from sqlalchemy.exc import DataError, IntegrityError, ProgrammingError, SQLAlchemyError
from sqlalchemy.orm import Session

from app.database.engine import Sessions
from app.database.tables import Job
from app.errors import AppError, NoSpace
from app.infrastructure.disk import is_disk_full
from app.infrastructure.outages import OutageLog
from app.infrastructure.storage import Storage
from app.media.limits import MediaLimits
from app.services.jobs import leases
from app.services.jobs.devices import CPU
from app.services.jobs.leases import Lease
from app.states import LIVE, Status
from app.typedefs import Json
from workers.jobs.child_log import ChildLog
from workers.jobs.heartbeat import Heartbeat, StopReason
from workers.jobs.kinds import JOB_KINDS, Assignment, PrerequisiteMissing, TrainingJob
from workers.process.child import failed_message
from workers.process.fork_server import ForkServer, LaunchStopped
from workers.process.launch import LaunchedProcess, SpawnedProcess
from workers.process.memory import MemoryWatch
from workers.process.parent import ChildProcess
from workers.tracking.runs import TrackedJob
from workers.tracking.tracker import Tracker

log = logging.getLogger(__name__)

T = TypeVar("T")

POLL_SECONDS = 0.1  # between two looks at the reason to stop
CANCEL_GRACE_SECONDS = 1.2  # for a child whose work nobody wants any more, to reach the end of a step
STOP_GRACE_SECONDS = 15.0  # for any other child, which also writes a checkpoint
TRACKING_GRACE_SECONDS = 3.0  # for a tracker, when this worker stops
EXIT_GRACE_SECONDS = 1.0  # from the child's last message to its exit
FROZEN_SECONDS = 5.0  # between two polls: this process was suspended, and perhaps the child with it
FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS = 0.2, 1.0
GRACE_BY_REASON = {StopReason.CANCELLED: CANCEL_GRACE_SECONDS, StopReason.LEASE_LOST: 0.0}
RETRYABLE_CODES = {"internal", "storage"}  # of failures that may not recur


@dataclass(frozen=True)
class ChildResult:
    """How the child ended: its last message, empty when it died, and why it was stopped, if it was."""

    message: Json
    stop_reason: StopReason | None = None
    stalled: bool = False
    out_of_memory: bool = False


@dataclass(frozen=True)
class Timeouts:
    """The timeouts of a job, in seconds."""

    lease: float = 60.0  # how long a lease lasts without a heartbeat
    stall: float = 600.0  # how long a child may send no message
    checkpoint: float = 30.0  # from one checkpoint to the next, within an epoch


class Supervisor:
    """Runs one job from claim to end."""

    def __init__(
        self,
        sessions: Sessions,
        storage: Storage,
        work_dir: Path,
        owner: str,
        timeouts: Timeouts,
        devices: Sequence[str],  # that this worker has, the one it prefers first
        stopping: Callable[[], bool],
        command: Sequence[str] = (),  # instead of the program of the job's kind
        threads: int = 1,  # that a training may use
        media_limits: MediaLimits = MediaLimits(),  # noqa: B008 - it is frozen
        *,
        memory_bytes: int | None = None,  # that a child may take
        tracker: Tracker | None = None,  # that is told of trainings
    ) -> None:
        self._sessions = sessions
        self._storage = storage
        self._work_dir = work_dir
        self._owner = owner
        self._timeouts = timeouts
        self._devices = devices
        self._stopping = stopping
        self._command = command
        self._threads, self._memory_bytes = threads, memory_bytes
        self._fork_servers: dict[str, ForkServer] = {}  # by the children's program
        self._media_limits = media_limits
        self._tracker = tracker or Tracker(None)

    def run(self) -> None:
        """Claim the next queued job and run it to its end; return at once when there is none."""
        try:
            job = self._claim()
        except SQLAlchemyError as error:
            log.warning("claim: %s", error)  # the workers will be notified of the job again
            return
        if job is None:
            return
        lease = Lease(job.id, job.attempt)
        heartbeat = Heartbeat(self._sessions, lease, self._timeouts.lease, self._stopping)
        directory = self._work_dir / f"{job.id}-{job.attempt}-{secrets.token_hex(4)}"
        assignment = JOB_KINDS[job.kind](self._sessions, self._storage, self._devices, job)
        heartbeat.start()
        if isinstance(assignment, TrainingJob):
            self._tracker.begin(TrackedJob.of(job))
        try:
            self._run(assignment, heartbeat, directory)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
            heartbeat.stop()
        self._clean_up(assignment, job)

    def _claim(self) -> Job | None:
        while not self._stopping():
            with self._sessions.begin() as session:
                job_id = leases.next_queued(session, self._devices)
                if job_id is None:
                    return None
                if (job := leases.claim(session, job_id, self._owner, self._timeouts.lease)) is not None:
                    return job
        return None

    def _run(self, assignment: Assignment, heartbeat: Heartbeat, directory: Path) -> None:
        try:
            directory.mkdir(mode=0o700, parents=True)
            request = assignment.prepare(directory, heartbeat.record)
        except PrerequisiteMissing as error:
            self._fail(heartbeat, error.code, str(error))
            return
        except SQLAlchemyError as error:  # charges nothing: the job is queued again once the database is back
            log.warning("prepare: %s", error)
            self._release(heartbeat, crashed=False)
            return
        except Exception as error:  # noqa: BLE001 - whatever a store raises
            self._fail_storage(heartbeat, error)
            return
        request |= {
            "threads": self._threads,
            # On a GPU the driver maps more than it uses; there only what is used is limited, from outside.
            "memory_bytes": self._memory_bytes if self._devices[0] == CPU else None,
            "checkpoint_seconds": self._timeouts.checkpoint,
            "media_limits": asdict(self._media_limits),
        }
        try:
            child = ChildProcess(self._launch(assignment, heartbeat), request, ChildLog(heartbeat).write)
        except LaunchStopped:
            self._conclude(assignment, heartbeat, ChildResult({}, heartbeat.stop_reason))
            return
        grace = 0.0
        try:
            result = self._watch(child, assignment, heartbeat)
            ended = result.stalled or result.out_of_memory
            grace = 0.0 if ended or result.stop_reason in GRACE_BY_REASON else EXIT_GRACE_SECONDS
        except Exception as error:  # noqa: BLE001 - a part could not be stored
            result = ChildResult(_storage_failure(error))
        finally:
            child.end(grace)
        self._conclude(assignment, heartbeat, result)

    def _launch(self, assignment: Assignment, heartbeat: Heartbeat) -> LaunchedProcess:
        module = assignment.module
        if self._command:
            return SpawnedProcess(self._command, logged=True)
        if assignment.is_forked:
            modules = (assignment.preloaded_before, assignment.preloaded_beside)
            try:
                server = self._fork_servers.setdefault(module, ForkServer(module, *modules))
                return server.launch(lambda: heartbeat.stop_reason is not None, logged=True)
            except OSError as error:
                log.warning("no fork server: %s", error)
        return SpawnedProcess((sys.executable, "-m", module), logged=True)

    def _watch(self, child: ChildProcess, assignment: Assignment, heartbeat: Heartbeat) -> ChildResult:
        memory = MemoryWatch(child.pid, self._memory_bytes)
        last: Json = {}
        reason: StopReason | None = None
        last_message_at = polled_at = time.monotonic()
        deadline = float("inf")
        while time.monotonic() < deadline and (message := child.next_message(POLL_SECONDS)) is not None:
            now = time.monotonic()
            if message or now - polled_at > FROZEN_SECONDS:
                last_message_at = now
            polled_at = now
            if isinstance(assignment, TrainingJob):
                self._tracker.record(heartbeat.lease.job_id, message)
            if message.get("type") in {"done", "failed", "stopped"}:
                last = message
            elif message:
                heartbeat.record(assignment.on_message(message))
            elif now - last_message_at > self._timeouts.stall:
                return ChildResult(last, stalled=True)
            if (current := heartbeat.stop_reason) is not None and reason is None and not last:
                reason, deadline = current, now + GRACE_BY_REASON.get(current, STOP_GRACE_SECONDS)
                child.request_stop()
            elif heartbeat.stop_reason is StopReason.LEASE_LOST:
                return ChildResult(last, StopReason.LEASE_LOST)
            if memory.exceeded:
                return ChildResult(last, reason, out_of_memory=True)
        return ChildResult(last, reason, out_of_memory=not last and memory.killed)

    def _conclude(self, assignment: Assignment, heartbeat: Heartbeat, result: ChildResult) -> None:
        lease, kind = heartbeat.lease, result.message.get("type")
        if result.stop_reason is StopReason.LEASE_LOST:
            return
        if result.stalled:
            text = f"The training made no step for {self._timeouts.stall:g} seconds and was ended"
            self._fail(heartbeat, "stalled", text)
        elif result.out_of_memory and kind is None:
            self._fail(heartbeat, "out_of_memory", self._out_of_memory_message())
        elif result.stop_reason is StopReason.CANCELLED:
            self._write_with_retry(heartbeat, lambda session: leases.end(session, lease, Status.CANCELLED))
        elif kind == "done":
            self._finish(assignment, heartbeat, result.message)
        elif kind == "failed":
            self._fail(heartbeat, result.message["code"], result.message["message"])
        else:
            self._release(heartbeat, crashed=result.stop_reason is None)

    def _out_of_memory_message(self) -> str:
        limit = self._memory_bytes
        most = "" if limit is None else f" than the {limit / (1 << 30):.3g} GiB it may take"
        advice = "a training takes less with a smaller batch_size, hidden_size or bptt_steps"
        return f"The job needed more memory{most}; {advice}"

    def _finish(self, assignment: Assignment, heartbeat: Heartbeat, message: Json) -> None:
        try:
            publish = assignment.finish(heartbeat.lease, message)
        except Exception as error:  # noqa: BLE001 - whatever a store raises
            self._fail_storage(heartbeat, error)
            return
        if self._write_with_retry(heartbeat, publish) is False:  # cancelled meanwhile, or the lease was lost
            self._release(heartbeat, crashed=False)

    def _release(self, heartbeat: Heartbeat, *, crashed: bool) -> None:
        self._write_with_retry(heartbeat, partial(leases.release, lease=heartbeat.lease, crashed=crashed))

    def _fail_storage(self, heartbeat: Heartbeat, error: Exception) -> None:
        message = _storage_failure(error)
        self._fail(heartbeat, message["code"], message["message"])

    def _fail(self, heartbeat: Heartbeat, code: str, message: str) -> None:
        lease = heartbeat.lease
        if code in RETRYABLE_CODES:
            self._write_with_retry(heartbeat, lambda session: leases.retry(session, lease, code, message))
        else:
            end = partial(leases.end, lease=lease, status=Status.FAILED, code=code, message=message)
            self._write_with_retry(heartbeat, end)

    def _write_with_retry(self, heartbeat: Heartbeat, change: Callable[[Session], T]) -> T | None:
        """Commit a change of the row, retried until the database is back; None when the worker stops first.

        What the child has reported is stored before. The attempt fences the change, and repeating it changes
        nothing. A worker that stops gives up after some seconds; then its lease expires.
        """
        backoff, deadline = FIRST_RETRY_SECONDS, float("inf")
        outage = OutageLog(log, f"database unavailable to {heartbeat.lease.job_id}")
        while True:
            try:
                if heartbeat.renew():
                    with self._sessions.begin() as session:
                        return change(session)
            except (DataError, IntegrityError, ProgrammingError):
                raise  # permanent errors; the lease expires
            except SQLAlchemyError as error:
                outage.failed(error)
            if self._stopping():
                deadline = min(deadline, time.monotonic() + STOP_GRACE_SECONDS)
            if time.monotonic() > deadline:
                return None
            time.sleep(backoff)
            backoff = min(2 * backoff, MAX_RETRY_SECONDS)

    def _clean_up(self, assignment: Assignment, claimed: Job) -> None:
        """Delete the stored files that an ended job does not need; a cleanup finds what is left."""
        status: str | None = None
        try:
            with self._sessions() as session:
                job = session.get(Job, claimed.id)
            status = None if job is None or job.status in LIVE else job.status
            if job is None or status is not None:
                assignment.discard(status)
        except Exception as error:  # noqa: BLE001 - whatever database and store raise
            log.warning("deleting files of an ended job: %s", error, extra={"job_id": claimed.id})
        if isinstance(assignment, TrainingJob):
            self._tracker.end(claimed.id, status)
            if self._stopping():
                self._tracker.flush(TRACKING_GRACE_SECONDS)


def _storage_failure(error: Exception) -> Json:
    log.exception("storage")
    if isinstance(error, NoSpace):
        return failed_message("no_space", "The artifact store is full")
    if is_disk_full(error):
        return failed_message("no_space", "The worker's disk is full")
    if isinstance(error, AppError):
        return failed_message("storage", error.message)
    text = f"The artifact store failed: {type(error).__name__}: {error}"
    return failed_message("storage", text[:500])
