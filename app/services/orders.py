"""What owners order of their jobs: cancel, pause, resume.

The row is locked first, so an order meets either a job that runs or one that does not, never the moment
between. Every order may be repeated.
"""

from sqlalchemy.orm import Session

from app.db import db_now
from app.errors import Conflict, NotFound
from app.events import append
from app.states import TERMINAL, Status
from app.tables import Job


def cancel(session: Session, job_id: str) -> Job:
    """End at once what does not run; ask the owner of what runs."""
    job = _locked(session, job_id)
    match job.status:
        case Status.QUEUED | Status.PAUSED:
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
    match job.status:
        case Status.QUEUED:
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
    match job.status:
        case Status.PAUSED:
            return _move(session, job, Status.QUEUED, dispatched_at=None, due_at=None)
        case Status.RUNNING if job.pause_requested_at is not None:
            return _ask(session, job, pause_requested_at=None)
    return job


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
