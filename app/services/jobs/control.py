"""What owners order of their jobs: cancel, pause, resume.

The row is locked first, so an order meets either a job that runs or one that does not, never the moment
between. Every order may be repeated. What is ordered of a sweep is ordered of its runs too; the sweep itself
has no owner, so that it obeys at once.
"""

from collections.abc import Callable
from contextlib import suppress

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database.engine import db_now
from app.database.tables import Job
from app.errors import Conflict, NotFound
from app.infrastructure.job_events import append
from app.states import LIVE, SWEEP, TERMINAL, Status


def cancel(session: Session, job_id: str) -> Job:
    """End at once what does not run; ask the owner of what runs."""
    job = _locked(session, job_id)
    if job.kind == SWEEP:
        _pass_on(session, job, cancel)
    match job.status:
        case Status.QUEUED | Status.PAUSED | Status.RUNNING if job.owner is None:
            now = {"cancel_requested_at": db_now(), "finished_at": db_now()}
            return _move(session, job, Status.CANCELLED, **now)
        case Status.RUNNING if job.cancel_requested_at is None:
            return _ask(session, job, cancel_requested_at=db_now())
        case Status.SUCCEEDED | Status.FAILED:
            raise Conflict(f"The job has already {job.status}")
    return job


def pause(session: Session, job_id: str) -> Job:
    """Keep a queued job from running; ask the owner of one that runs to take a checkpoint and let go."""
    job = _locked(session, job_id)
    _refuse_ended(job, "paused")
    if job.kind == SWEEP:
        _pass_on(session, job, pause)
    match job.status:
        case Status.QUEUED | Status.RUNNING if job.owner is None:
            return _move(session, job, Status.PAUSED)
        case Status.RUNNING if job.cancel_requested_at is not None:
            raise Conflict("The job is being cancelled; it cannot be paused")
        case Status.RUNNING if job.pause_requested_at is None:
            return _ask(session, job, pause_requested_at=db_now())
    return job


def resume(session: Session, job_id: str) -> Job:
    """Queue a paused job, or take a pause back that was not granted yet; the caller commits and rings."""
    job = _locked(session, job_id)
    _refuse_ended(job, "resumed")
    if job.kind == SWEEP:
        _pass_on(session, job, resume)
    match job.status:
        case Status.PAUSED:
            return _move(session, job, Status.QUEUED, dispatched_at=None, due_at=None)
        case Status.RUNNING if job.pause_requested_at is not None:
            return _ask(session, job, pause_requested_at=None)
    return job


def _pass_on(session: Session, sweep: Job, order: Callable[[Session, str], Job]) -> None:
    """Order the same of every run that has not ended; one that cannot obey any more does not have to."""
    live = select(Job.id).where(Job.sweep_id == sweep.id, Job.status.in_(LIVE)).order_by(Job.id)
    for job_id in list(session.scalars(live)):
        with suppress(Conflict):
            order(session, job_id)


def _locked(session: Session, job_id: str) -> Job:
    job = session.get(Job, job_id, with_for_update=True, populate_existing=True)
    if job is None:
        raise NotFound(f"There is no job {job_id}")
    return job


def _refuse_ended(job: Job, verb: str) -> None:
    if job.status in TERMINAL:
        raise Conflict(f"The job has already {_ended(job.status)}; it cannot be {verb}")


def _ended(status: str) -> str:
    return "been cancelled" if status == Status.CANCELLED else status


def _move(session: Session, job: Job, status: Status, **values: object) -> Job:
    _set(job, status=status, **values)
    session.flush()
    append(session, job.id, [("status", {"status": status})])
    session.refresh(job)
    return job


def _ask(session: Session, job: Job, **values: object) -> Job:
    _set(job, revision=Job.revision + 1, updated_at=db_now(), **values)
    session.flush()
    session.refresh(job)
    return job


def _set(job: Job, **values: object) -> None:
    for name, value in values.items():
        setattr(job, name, value)
