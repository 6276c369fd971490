"""What users may request of their jobs: cancel, pause, resume.

The row is locked first, so a request meets a job that runs or one that does not, never the moment between.
Every request may be repeated. A request about a sweep applies to its runs too; the sweep itself has no owner,
so it changes at once.
"""

from collections.abc import Callable
from contextlib import suppress

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database.engine import db_now
from app.database.tables import Job
from app.errors import Conflict, NotFound
from app.infrastructure.events.job_events import append_events
from app.states import LIVE, SWEEP, TERMINAL, Status


def cancel(session: Session, job_id: str) -> Job:
    """Cancel a job that does not run, or ask the owner of a running job to stop; return the job.

    Raises `NotFound`, and `Conflict` when the job has succeeded or failed.
    """
    job = _locked_job(session, job_id)
    if job.kind == SWEEP:
        _apply_to_runs(session, job, cancel)
    match job.status:
        case Status.QUEUED | Status.PAUSED | Status.RUNNING if job.owner is None:
            times = {"cancel_requested_at": db_now(), "finished_at": db_now()}
            return _change_status(session, job, Status.CANCELLED, **times)
        case Status.RUNNING if job.cancel_requested_at is None:
            return _request(session, job, cancel_requested_at=db_now())
        case Status.SUCCEEDED | Status.FAILED:
            raise Conflict(f"The job has already {job.status}")
    return job


def pause(session: Session, job_id: str) -> Job:
    """Pause a queued job, or ask the owner of a running job to take a checkpoint and stop; return the job.

    Raises `NotFound`, and `Conflict` when the job has ended or is being cancelled.
    """
    job = _locked_job(session, job_id)
    _refuse_ended(job, "paused")
    if job.kind == SWEEP:
        _apply_to_runs(session, job, pause)
    match job.status:
        case Status.QUEUED | Status.RUNNING if job.owner is None:
            return _change_status(session, job, Status.PAUSED)
        case Status.RUNNING if job.cancel_requested_at is not None:
            raise Conflict("The job is being cancelled; it cannot be paused")
        case Status.RUNNING if job.pause_requested_at is None:
            return _request(session, job, pause_requested_at=db_now())
    return job


def resume(session: Session, job_id: str) -> Job:
    """Queue a paused job, or withdraw a pause request; the caller commits, then notifies the workers.

    Raises `NotFound`, and `Conflict` when the job has ended.
    """
    job = _locked_job(session, job_id)
    _refuse_ended(job, "resumed")
    if job.kind == SWEEP:
        _apply_to_runs(session, job, resume)
    match job.status:
        case Status.PAUSED:
            return _change_status(session, job, Status.QUEUED, dispatched_at=None, due_at=None)
        case Status.RUNNING if job.pause_requested_at is not None:
            return _request(session, job, pause_requested_at=None)
    return job


def _apply_to_runs(session: Session, sweep: Job, change: Callable[[Session, str], Job]) -> None:
    """Apply a request to every live run of a sweep; a run that it comes too late for is left alone."""
    live = select(Job.id).where(Job.sweep_id == sweep.id, Job.status.in_(LIVE)).order_by(Job.id)
    for job_id in list(session.scalars(live)):
        with suppress(Conflict):
            change(session, job_id)


def _locked_job(session: Session, job_id: str) -> Job:
    job = session.get(Job, job_id, with_for_update=True, populate_existing=True)
    if job is None:
        raise NotFound(f"There is no job {job_id}")
    return job


def _refuse_ended(job: Job, verb: str) -> None:
    if job.status in TERMINAL:
        raise Conflict(f"The job has already {_participle(job.status)}; it cannot be {verb}")


def _participle(status: str) -> str:
    return "been cancelled" if status == Status.CANCELLED else status


def _change_status(session: Session, job: Job, status: Status, **values: object) -> Job:
    _set_columns(job, status=status, **values)
    session.flush()
    append_events(session, job.id, [("status", {"status": status})])
    session.refresh(job)
    return job


def _request(session: Session, job: Job, **values: object) -> Job:
    _set_columns(job, revision=Job.revision + 1, updated_at=db_now(), **values)
    session.flush()
    session.refresh(job)
    return job


def _set_columns(job: Job, **values: object) -> None:
    for name, value in values.items():
        setattr(job, name, value)
