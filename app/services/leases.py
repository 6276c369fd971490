"""Who may run a job: claims, heartbeats and ends as conditional UPDATEs fenced by `attempt`.

The job's row is the truth and the database's clock decides; a Celery message only says "look here".
"""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.orm import Session

from app.db import db_now
from app.events import append
from app.services.models import Outcome, publish
from app.states import Status
from app.tables import Job, Json

MAX_CRASHES = 3  # lost workers and dead children a job survives
PAGE = 200

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


def claim(session: Session, job_id: str, owner: str, seconds: float) -> Job | None:
    """Take a queued job, or a running one whose lease ran out; None when somebody else has it."""
    free = or_(Job.status == Status.QUEUED, (Job.status == Status.RUNNING) & (Job.lease_until < db_now()))
    taken = session.execute(
        update(Job)
        .where(Job.id == job_id, free, Job.cancel_requested_at.is_(None))
        .values(
            status=Status.RUNNING,
            attempt=Job.attempt + 1,
            owner=owner,
            lease_until=db_now() + seconds,
            started_at=func.coalesce(Job.started_at, db_now()),
            progress=None,
            metrics=None,
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
        .returning(Job.cancel_requested_at)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if found is None:
        return None
    if events:
        append(session, lease.job_id, events)
    return Orders(cancel=found[0] is not None)


def succeed(session: Session, lease: Lease, outcome: Outcome) -> int | None:
    """End a job with a new model version, in one transaction; None when it was cancelled or taken away."""
    job = _finished(session, lease)
    if job is None:
        return None
    job.model_version = publish(session, job, outcome)
    _tell_success(session, job, outcome.metrics)
    return job.model_version


def complete(session: Session, lease: Lease, metrics: Json) -> bool:
    """End a job that makes no version; False when it was cancelled or taken away."""
    job = _finished(session, lease)
    if job is None:
        return False
    _tell_success(session, job, metrics)
    return True


def _finished(session: Session, lease: Lease) -> Job | None:
    values = {"status": Status.SUCCEEDED, "finished_at": db_now(), "lease_until": None, "owner": None}
    ended = session.execute(
        update(Job)
        .where(*_ours(lease), Job.cancel_requested_at.is_(None))
        .values(**values)
        .returning(Job.id)
        .execution_options(synchronize_session=False)
    ).scalar()
    return None if ended is None else session.get_one(Job, lease.job_id, populate_existing=True)


def _tell_success(session: Session, job: Job, metrics: Json) -> None:
    job.metrics = {**(job.metrics or {}), **metrics}
    job.progress = {**(job.progress or {}), "fraction": 1.0, "eta_seconds": 0.0}
    session.flush()
    data = {"status": Status.SUCCEEDED, "model_version": job.model_version}
    append(session, job.id, [("status", data)])


def end(
    session: Session, lease: Lease, status: Status, *, code: str | None = None, message: str = ""
) -> bool:
    """End a job as failed or cancelled; False when the lease is not ours any more."""
    values = {"status": status, "finished_at": db_now(), "lease_until": None, "owner": None}
    return _move(session, lease, values | {"error_code": code, "error_message": message or None})


def give_back(session: Session, lease: Lease, *, crashed: bool) -> bool:
    """Put a job back into the queue; after too many crashes it fails with `worker_lost` instead."""
    found = session.execute(select(Job.crashes, Job.kind).where(*_ours(lease))).one_or_none()
    if found is None:
        return False
    crashes, kind = found
    if crashed and crashes + 1 > MAX_CRASHES:
        return end(session, lease, Status.FAILED, code="worker_lost", message=_lost(kind, crashes + 1))
    values = {
        "status": Status.QUEUED,
        "crashes": crashes + int(crashed),
        "lease_until": None,
        "owner": None,
        "dispatched_at": None,
    }
    return _move(session, lease, values)


def reap(session: Session) -> list[str]:
    """Take expired leases away from workers that stopped beating; the ids of the jobs that are free again."""
    expired = session.execute(
        select(Job.id, Job.attempt, Job.cancel_requested_at)
        .where(Job.status == Status.RUNNING, func.coalesce(Job.lease_until, 0.0) < db_now())
        .order_by(Job.id)
        .limit(PAGE)
    ).all()
    for job_id, attempt, cancelled in expired:
        lease = Lease(job_id, attempt)
        if cancelled is not None:
            end(session, lease, Status.CANCELLED)
        else:
            give_back(session, lease, crashed=True)
    return [job_id for job_id, _, _ in expired]


def unrung(session: Session, seconds: float | None) -> list[str]:
    """Queued jobs never rung for, or also those rung for at least `seconds` ago; oldest first."""
    quiet: ColumnElement[bool] = Job.dispatched_at.is_(None)
    if seconds is not None:
        quiet |= Job.dispatched_at < db_now() - seconds
    query = select(Job.id).where(Job.status == Status.QUEUED, quiet)
    return list(session.scalars(query.order_by(Job.id).limit(PAGE)))


def mark_rung(session: Session, ids: list[str]) -> None:
    """Note that the doorbells of these jobs were rung now."""
    session.execute(update(Job).where(Job.id.in_(ids)).values(dispatched_at=db_now()))


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
