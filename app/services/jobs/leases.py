"""Leases: claiming, renewing and ending a job as conditional UPDATEs, fenced by the row's `attempt`.

The job's row is the truth and the database's clock decides; a Celery message only wakes a worker up.

A job has two budgets: `crashes` counts lost workers and dead children, `failures` counts errors that may not
recur. A worker that is stopped or cannot reach the database charges neither. Both begin anew when the job has
stored more progress than ever before: one that gets on is worth another attempt, however often it was lost.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import ColumnElement, case, delete, func, or_, select, update
from sqlalchemy.orm import Session

from app.database.engine import db_now
from app.database.tables import Job, JobLogLine
from app.infrastructure.events.job_events import append_events
from app.infrastructure.logs import LogLine
from app.services.access import fair_share
from app.services.jobs import devices
from app.services.models.versions import TrainingOutcome, publish
from app.states import SWEEP, Status
from app.typedefs import Json

MAX_CRASHES = 3  # lost workers and dead children that a job survives without progress in between
MAX_FAILURES = 2  # errors, likewise, that are worth another attempt
MAX_LOG_LINES = 5_000  # of a job that are kept, the newest
BACKOFF_SECONDS = 5.0  # until the attempt after the first such error; doubled each time

# Columns cleared on release. A pause request is cleared too: by now it was honoured or has become moot.
RELEASED: Json = {"lease_until": None, "owner": None, "pause_requested_at": None}

Events = list[tuple[str, Json]]  # type and data of each


@dataclass(frozen=True)
class Lease:
    """The right to run one attempt of a job."""

    job_id: str
    attempt: int


@dataclass(frozen=True)
class ControlFlags:
    """What users have requested of a running job."""

    cancel: bool
    pause: bool = False


def next_queued(session: Session, worker_devices: Sequence[str]) -> str | None:
    """Return the id of the job that a worker with these devices is to run next.

    Projects take turns; of a project's jobs that with the highest priority goes first, of equals the oldest.
    None when no job is ready that it can run.
    """
    ready = or_(Job.due_at.is_(None), Job.due_at <= db_now())
    can_run = devices.runnable(worker_devices)
    query = select(Job.id).where(Job.status == Status.QUEUED, claimable(), ready, can_run)
    if exhausted := fair_share.exhausted_keys(session):
        query = query.where(or_(Job.key_id.is_(None), Job.key_id.not_in(exhausted)))
    query = query.order_by(Job.priority.desc(), Job.id).limit(1)
    for project in fair_share.projects_in_turn(session):
        if (job_id := session.scalar(query.where(Job.project == project))) is not None:
            return job_id
    return None


def claimable() -> ColumnElement[bool]:
    """Return the condition that a job is for workers to run; a sweep is not."""
    return Job.kind != SWEEP


def claim(session: Session, job_id: str, owner: str, seconds: float) -> Job | None:
    """Lease a queued job to `owner`; None when the job is not queued any more.

    A running job whose lease has expired has to be reaped first, which charges the crash.
    """
    attempt = session.execute(
        update(Job)
        .where(Job.id == job_id, Job.status == Status.QUEUED, claimable())
        .values(
            status=Status.RUNNING,
            attempt=Job.attempt + 1,
            owner=owner,
            lease_until=db_now() + seconds,
            due_at=None,
            started_at=func.coalesce(Job.started_at, db_now()),
        )
        .returning(Job.attempt)
        .execution_options(synchronize_session=False)
    ).scalar()
    if attempt is None:
        return None
    append_events(session, job_id, [("status", {"status": Status.RUNNING, "attempt": attempt})])
    return session.get(Job, job_id, populate_existing=True)


def renew(
    session: Session,
    lease: Lease,
    seconds: float,
    progress: Json | None,
    metrics: Json | None,
    events: Events,
    lines: Sequence[LogLine] = (),
) -> ControlFlags | None:
    """Extend a lease and store the job's progress and log; None when the lease was lost."""
    report: Json = {
        name: value for name, value in (("progress", progress), ("metrics", metrics)) if value is not None
    }
    if report or lines:
        report |= {"revision": Job.revision + 1, "updated_at": db_now()}
    report |= _excuses(_stored_steps(events))
    requests = session.execute(
        update(Job)
        .where(*_holds_lease(lease))
        .values(lease_until=db_now() + seconds, **report)
        .returning(Job.cancel_requested_at, Job.pause_requested_at)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if requests is None:
        return None
    if events:
        append_events(session, lease.job_id, events)
    if lines:
        _append_lines(session, lease, lines)
    return ControlFlags(*(requested_at is not None for requested_at in requests))


def _append_lines(session: Session, lease: Lease, lines: Sequence[LogLine]) -> None:
    """Add lines to a job's log, and delete the oldest of too many; the lease is known to be held."""
    own = JobLogLine.job_id == lease.job_id
    last = session.scalar(select(func.max(JobLogLine.seq)).where(own)) or 0
    session.add_all(
        JobLogLine(job_id=lease.job_id, seq=seq, attempt=lease.attempt, **asdict(line))
        for seq, line in enumerate(lines, last + 1)
    )
    session.flush()
    oldest = last + len(lines) - MAX_LOG_LINES
    if oldest > 0:
        session.execute(
            delete(JobLogLine)
            .where(own, JobLogLine.seq <= oldest)
            .execution_options(synchronize_session=False)
        )


def _stored_steps(events: Events) -> int:
    """Return how far the newest checkpoint of a training, or part of a batch prediction, among events is."""
    stored = [data for kind, data in events if kind == "checkpoint"]
    return max((data.get("step", data.get("part", -1) + 1) for data in stored), default=0)


def _excuses(steps: int) -> Json:
    """Return the columns that begin both budgets anew, if the job has never stored so many steps."""
    if not steps:
        return {}
    farther = Job.stored_steps < steps
    return {
        "stored_steps": case((farther, steps), else_=Job.stored_steps),
        "excused_crashes": case((farther, Job.crashes), else_=Job.excused_crashes),
        "failures": case((farther, 0), else_=Job.failures),
    }


def succeed(session: Session, lease: Lease, outcome: TrainingOutcome) -> int | None:
    """End a job with a new model version in one transaction; None when it was cancelled or the lease lost.

    Repeating the call changes nothing and returns the same version: the answer to a commit may be lost.
    """
    job = _mark_succeeded(session, lease)
    if job is None:
        ended = _ended_by(session, lease)
        return None if ended is None else ended.model_version
    job.model_version = publish(session, job, outcome)
    _record_success(session, job, outcome.metrics)
    return job.model_version


def complete(session: Session, lease: Lease, metrics: Json, outcome: TrainingOutcome | None = None) -> bool:
    """End a job that publishes no version; False when it was cancelled or the lease lost. May be repeated.

    `outcome` is that of a sweep's run; it is stored, since one of the runs becomes the sweep's version.
    """
    job = _mark_succeeded(session, lease)
    if job is None:
        return _ended_by(session, lease) is not None
    if outcome is not None:
        job.outcome = asdict(outcome)
    _record_success(session, job, metrics)
    return True


def _mark_succeeded(session: Session, lease: Lease) -> Job | None:
    job_id = session.execute(
        update(Job)
        .where(*_holds_lease(lease), Job.cancel_requested_at.is_(None))
        .values(status=Status.SUCCEEDED, finished_at=db_now(), **RELEASED)
        .returning(Job.id)
        .execution_options(synchronize_session=False)
    ).scalar()
    return None if job_id is None else session.get_one(Job, lease.job_id, populate_existing=True)


def _ended_by(session: Session, lease: Lease) -> Job | None:
    """Return the job if this attempt has already ended it with success."""
    job = session.get(Job, lease.job_id, populate_existing=True)
    same = job is not None and job.attempt == lease.attempt and job.status == Status.SUCCEEDED
    return job if same else None


def _record_success(session: Session, job: Job, metrics: Json) -> None:
    job.metrics = {**(job.metrics or {}), **metrics}
    job.progress = {**(job.progress or {}), "fraction": 1.0, "eta_seconds": 0.0}
    session.flush()
    data = {"status": Status.SUCCEEDED, "model_version": job.model_version}
    append_events(session, job.id, [("status", data)])


def end(
    session: Session, lease: Lease, status: Status, *, code: str | None = None, message: str = ""
) -> bool:
    """End a job as failed or cancelled; False when the lease was lost.

    A job whose cancellation was acknowledged ends cancelled, whatever error it met afterwards.
    """
    job = _locked_job(session, lease)
    if job is None:
        return False
    values = {"status": status, "finished_at": db_now(), **RELEASED}
    if job.cancel_requested_at is not None:
        return _change_status(session, lease, values | {"status": Status.CANCELLED})
    return _change_status(session, lease, values | {"error_code": code, "error_message": message or None})


def release(session: Session, lease: Lease, *, crashed: bool) -> Status | None:
    """Give up a job's lease and return its new status: queued, or as requested paused or cancelled.

    After too many crashes without progress it fails with `worker_lost`. None when the lease was lost.
    """
    job = _locked_job(session, lease)
    if job is None:
        return None
    if job.cancel_requested_at is not None:
        end(session, lease, Status.CANCELLED)
        return Status.CANCELLED
    crashes = job.crashes + int(crashed)
    if (charged := crashes - job.excused_crashes) > MAX_CRASHES:
        message = _worker_lost_message(job.kind, charged)
        end(session, lease, Status.FAILED, code="worker_lost", message=message)
        return Status.FAILED
    status = Status.QUEUED if job.pause_requested_at is None else Status.PAUSED
    _change_status(session, lease, {"status": status, "crashes": crashes, "dispatched_at": None, **RELEASED})
    return status


def retry(session: Session, lease: Lease, code: str, message: str) -> Status | None:
    """Release a job after an error that may not recur: queued after a delay, or failed at the last attempt.

    Returns the new status; None when the lease was lost.
    """
    job = _locked_job(session, lease)
    if job is None:
        return None
    if job.cancel_requested_at is not None:
        return release(session, lease, crashed=False)
    if job.failures + 1 > MAX_FAILURES:
        end(session, lease, Status.FAILED, code=code, message=message)
        return Status.FAILED
    delay = {"failures": job.failures + 1, "due_at": db_now() + BACKOFF_SECONDS * 2**job.failures}
    append_events(
        session, lease.job_id, [("warning", {"message": f"{message} The job will be tried again."})]
    )
    session.execute(
        update(Job).where(*_holds_lease(lease)).values(delay).execution_options(synchronize_session=False)
    )
    return release(session, lease, crashed=False)


def _locked_job(session: Session, lease: Lease) -> Job | None:
    """Return the row, locked until this transaction ends; None when the lease was lost."""
    query = select(Job).where(*_holds_lease(lease)).with_for_update()
    return session.scalars(query.execution_options(populate_existing=True)).one_or_none()


def _holds_lease(lease: Lease) -> tuple[ColumnElement[bool], ...]:
    return (Job.id == lease.job_id, Job.attempt == lease.attempt, Job.status == Status.RUNNING)


def _change_status(session: Session, lease: Lease, values: Json) -> bool:
    job_id = session.execute(
        update(Job)
        .where(*_holds_lease(lease))
        .values(**values)
        .returning(Job.id)
        .execution_options(synchronize_session=False)
    ).scalar()
    if job_id is None:
        return False
    data = {"status": values["status"]}
    if values.get("error_code"):
        data["error"] = {"code": values["error_code"], "message": values["error_message"]}
    append_events(session, lease.job_id, [("status", data)])
    return True


def _worker_lost_message(kind: str, times: int) -> str:
    message = (
        f"The worker was lost {times} times while it ran this job, without progress in between, most likely "
        "for want of memory"
    )
    advice = "; try a smaller batch_size, hidden_size or context_length"
    return message + advice if kind == "train" else message
