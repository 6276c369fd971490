"""Who may run a job: claims, heartbeats and ends as conditional UPDATEs fenced by `attempt`.

The job's row is the truth and the database's clock decides; a Celery message only says "look here".

A job has two budgets: `crashes`, of workers lost and children that died, and `failures`, of errors that may
not come again. A worker that is stopped or cannot reach the database charges neither.
"""

from dataclasses import asdict, dataclass

from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.orm import Session

from app.database.engine import db_now
from app.database.tables import Job
from app.infrastructure.job_events import append
from app.services.models.versions import Outcome, publish
from app.states import SWEEP, Status
from app.typedefs import Json

MAX_CRASHES = 3  # lost workers and dead children a job survives
MAX_FAILURES = 2  # errors that another attempt may not meet
BACKOFF = 5.0  # seconds until the attempt after the first such error; twice as long each time

# What a job without an owner does not have; a pause is no longer asked for once it is granted or in vain.
FREE: Json = {"lease_until": None, "owner": None, "pause_requested_at": None}

Events = list[tuple[str, Json]]


@dataclass(frozen=True)
class Lease:
    """The right to run one attempt of a job."""

    job_id: str
    attempt: int


@dataclass(frozen=True)
class Orders:
    """What the owner of a running job is asked to do."""

    cancel: bool
    pause: bool = False


def oldest(session: Session) -> str | None:
    """The job whose turn it is: first submitted, first run."""
    ready = or_(Job.due_at.is_(None), Job.due_at <= db_now())
    query = select(Job.id).where(Job.status == Status.QUEUED, claimable(), ready)
    return session.scalar(query.order_by(Job.id).limit(1))


def claimable() -> ColumnElement[bool]:
    """Whether a job is for a worker to run."""
    return Job.kind != SWEEP


def claim(session: Session, job_id: str, owner: str, seconds: float) -> Job | None:
    """Take a queued job; None when somebody else has it. An expired lease has to be reaped, and charged."""
    taken = session.execute(
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
    if taken is None:
        return None
    append(session, job_id, [("status", {"status": Status.RUNNING, "attempt": taken})])
    return session.get(Job, job_id, populate_existing=True)


def beat(
    session: Session,
    lease: Lease,
    seconds: float,
    progress: Json | None,
    metrics: Json | None,
    events: Events,
) -> Orders | None:
    """Renew a lease and tell how far the job is; None when the lease is not ours any more."""
    told: Json = {
        name: value for name, value in (("progress", progress), ("metrics", metrics)) if value is not None
    }
    if told:
        told |= {"revision": Job.revision + 1, "updated_at": db_now()}
    found = session.execute(
        update(Job)
        .where(*_ours(lease))
        .values(lease_until=db_now() + seconds, **told)
        .returning(Job.cancel_requested_at, Job.pause_requested_at)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if found is None:
        return None
    if events:
        append(session, lease.job_id, events)
    return Orders(*(asked is not None for asked in found))


def succeed(session: Session, lease: Lease, outcome: Outcome) -> int | None:
    """End a job with a new model version, in one transaction; None when it was cancelled or taken away.

    Doing it again changes nothing and gives the same version: the answer to a commit may be lost.
    """
    job = _finished(session, lease)
    if job is None:
        done = _done(session, lease)
        return None if done is None else done.model_version
    job.model_version = publish(session, job, outcome)
    _tell_success(session, job, outcome.metrics)
    return job.model_version


def complete(session: Session, lease: Lease, metrics: Json, outcome: Outcome | None = None) -> bool:
    """End a job that makes no version; False when it was cancelled or taken away. As repeatable.

    The outcome of a sweep's run is kept: one of them becomes the sweep's version.
    """
    job = _finished(session, lease)
    if job is None:
        return _done(session, lease) is not None
    if outcome is not None:
        job.outcome = asdict(outcome)
    _tell_success(session, job, metrics)
    return True


def _finished(session: Session, lease: Lease) -> Job | None:
    ended = session.execute(
        update(Job)
        .where(*_ours(lease), Job.cancel_requested_at.is_(None))
        .values(status=Status.SUCCEEDED, finished_at=db_now(), **FREE)
        .returning(Job.id)
        .execution_options(synchronize_session=False)
    ).scalar()
    return None if ended is None else session.get_one(Job, lease.job_id, populate_existing=True)


def _done(session: Session, lease: Lease) -> Job | None:
    """The job, if this very attempt has ended it well."""
    job = session.get(Job, lease.job_id, populate_existing=True)
    ours = job is not None and job.attempt == lease.attempt and job.status == Status.SUCCEEDED
    return job if ours else None


def _tell_success(session: Session, job: Job, metrics: Json) -> None:
    job.metrics = {**(job.metrics or {}), **metrics}
    job.progress = {**(job.progress or {}), "fraction": 1.0, "eta_seconds": 0.0}
    session.flush()
    data = {"status": Status.SUCCEEDED, "model_version": job.model_version}
    append(session, job.id, [("status", data)])


def end(
    session: Session, lease: Lease, status: Status, *, code: str | None = None, message: str = ""
) -> bool:
    """End a job as failed or cancelled; False when the lease is not ours any more.

    A job whose cancel was acknowledged ends cancelled, whatever it met afterwards.
    """
    job = _locked(session, lease)
    if job is None:
        return False
    values = {"status": status, "finished_at": db_now(), **FREE}
    if job.cancel_requested_at is not None:
        return _move(session, lease, values | {"status": Status.CANCELLED})
    return _move(session, lease, values | {"error_code": code, "error_message": message or None})


def give_back(session: Session, lease: Lease, *, crashed: bool) -> Status | None:
    """Let go of a job: it is queued again, or as its owner wants it paused or cancelled.

    After too many crashes it fails with `worker_lost`. What it is now; None when the lease is not ours.
    """
    job = _locked(session, lease)
    if job is None:
        return None
    if job.cancel_requested_at is not None:
        end(session, lease, Status.CANCELLED)
        return Status.CANCELLED
    crashes = job.crashes + int(crashed)
    if crashes > MAX_CRASHES:
        end(session, lease, Status.FAILED, code="worker_lost", message=_lost(job.kind, crashes))
        return Status.FAILED
    status = Status.QUEUED if job.pause_requested_at is None else Status.PAUSED
    _move(session, lease, {"status": status, "crashes": crashes, "dispatched_at": None, **FREE})
    return status


def retry(session: Session, lease: Lease, code: str, message: str) -> Status | None:
    """Let go of a job after an error that may not come again: queued after a pause, or failed in the end."""
    job = _locked(session, lease)
    if job is None:
        return None
    if job.cancel_requested_at is not None:
        return give_back(session, lease, crashed=False)
    if job.failures + 1 > MAX_FAILURES:
        end(session, lease, Status.FAILED, code=code, message=message)
        return Status.FAILED
    later = {"failures": job.failures + 1, "due_at": db_now() + BACKOFF * 2**job.failures}
    append(session, lease.job_id, [("warning", {"message": f"{message} The job will be tried again."})])
    session.execute(
        update(Job).where(*_ours(lease)).values(later).execution_options(synchronize_session=False)
    )
    return give_back(session, lease, crashed=False)


def _locked(session: Session, lease: Lease) -> Job | None:
    """The row, which nobody changes before this transaction ends; None when the lease is not ours."""
    query = select(Job).where(*_ours(lease)).with_for_update()
    return session.scalars(query.execution_options(populate_existing=True)).one_or_none()


def _ours(lease: Lease) -> tuple[ColumnElement[bool], ...]:
    return (Job.id == lease.job_id, Job.attempt == lease.attempt, Job.status == Status.RUNNING)


def _move(session: Session, lease: Lease, values: Json) -> bool:
    moved = session.execute(
        update(Job)
        .where(*_ours(lease))
        .values(**values)
        .returning(Job.id)
        .execution_options(synchronize_session=False)
    ).scalar()
    if moved is None:
        return False
    data = {"status": values["status"]}
    if values.get("error_code"):
        data["error"] = {"code": values["error_code"], "message": values["error_message"]}
    append(session, lease.job_id, [("status", data)])
    return True


def _lost(kind: str, times: int) -> str:
    told = f"The worker was lost {times} times while it ran this job, most likely for want of memory"
    return f"{told}; try a smaller batch_size, hidden_size or context_length" if kind == "train" else told
