"""Reading and deleting jobs: a job, pages of jobs, their events and learning curves; the queue in numbers."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from app.database.engine import db_now
from app.database.tables import Job, JobEvent, JobLogLine, JobVersion
from app.errors import Conflict, NotFound
from app.infrastructure.broker import SERVE, TRAIN
from app.services.jobs import workers
from app.services.paging import Paging
from app.states import LIVE, SWEEP, TERMINAL, Status
from app.typedefs import Json


def get_job(session: Session, job_id: str) -> Job:
    """Return the job; raises `NotFound`."""
    job = session.get(Job, job_id)
    if job is None:
        raise NotFound(f"There is no job {job_id}")
    return job


def list_jobs(session: Session, paging: Paging, filters: dict[str, str]) -> list[Job]:
    """Return the page's jobs, newest first, and one more if there are more. `filters` are column values."""
    query = select(Job).where(*(getattr(Job, name) == value for name, value in filters.items()))
    return list(session.scalars(paging.apply(query, Job.id)))


def list_events(session: Session, job_id: str, after: int, limit: int) -> list[JobEvent]:
    """Return events numbered above `after`, oldest first: at most `limit`, and one more if there are more."""
    query = select(JobEvent).where(JobEvent.job_id == job_id, JobEvent.seq > after)
    return list(session.scalars(query.order_by(JobEvent.seq).limit(limit + 1)))


def list_log_lines(session: Session, job_id: str, after: int, limit: int) -> list[JobLogLine]:
    """Return lines numbered above `after`, oldest first: at most `limit`, and one more if there are more."""
    query = select(JobLogLine).where(JobLogLine.job_id == job_id, JobLogLine.seq > after)
    return list(session.scalars(query.order_by(JobLogLine.seq).limit(limit + 1)))


def learning_curves(session: Session, job_id: str) -> list[Json]:
    """Return one entry an epoch. Of an epoch that was repeated after an interruption, the last run counts."""
    get_job(session, job_id)
    query = select(JobEvent.data).where(JobEvent.job_id == job_id, JobEvent.type == "epoch")
    return without_repeated(session.scalars(query.order_by(JobEvent.seq)))


def without_repeated(entries: Iterable[Json]) -> list[Json]:
    """Entries of epochs as they were recorded, without what was trained again after an interruption."""
    epochs: list[Json] = []
    for data in entries:
        while epochs and _epoch_order(epochs[-1]) >= _epoch_order(data):
            epochs.pop()
        epochs.append(data)
    return epochs


def _epoch_order(epoch: Json) -> tuple[int, int]:
    return epoch.get("stage", 0), epoch["epoch"]


def delete_job(session: Session, job_id: str) -> None:
    """Delete an ended job with its events, and a sweep with its runs; raises `NotFound` or `Conflict`.

    A run of a sweep cannot be deleted alone.
    """
    job = get_job(session, job_id)
    if job.sweep_id is not None:
        raise Conflict(f"The job is a run of {job.sweep_id}; delete that sweep")
    if job.status in LIVE:
        raise Conflict(f"The job is {job.status}; cancel it first")
    ids = [job_id, *(_ended_runs(session, job_id) if job.kind == SWEEP else ())]
    session.execute(delete(JobEvent).where(JobEvent.job_id.in_(ids)))
    session.execute(delete(JobLogLine).where(JobLogLine.job_id.in_(ids)))
    session.execute(delete(JobVersion).where(JobVersion.job_id.in_(ids)))
    session.execute(delete(Job).where(Job.id.in_(ids), Job.status.in_(TERMINAL)))


def _ended_runs(session: Session, sweep_id: str) -> list[str]:
    """Return the ids of an ended sweep's runs; raises `Conflict` while one of the runs is live."""
    query = select(Job.id, Job.status).where(Job.sweep_id == sweep_id).order_by(Job.id)
    runs = session.execute(query).all()
    for job_id, status in runs:
        if status in LIVE:
            raise Conflict(f"The sweep's run {job_id} is still {status}; try again shortly")
    return [job_id for job_id, _ in runs]


@dataclass(frozen=True)
class QueueState:
    """The jobs of the session's project that are not over, and all live workers."""

    jobs: dict[str, int]  # by status; sweeps aside, which no worker takes
    oldest_queued_seconds: float  # since the job that has waited longest was queued; 0 if none waits
    workers: dict[str, int]  # by role


def read_queue(session: Session) -> QueueState:
    """Return the state of the session's project now."""
    query = (
        select(Job.status, func.count(), db_now() - func.min(Job.updated_at))
        .where(Job.status.in_(LIVE), Job.kind != SWEEP)
        .group_by(Job.status)
    )
    rows = {status: (count, seconds) for status, count, seconds in session.execute(query)}
    roles = [worker.role for worker, _ in workers.list_live(session)]
    return QueueState(
        jobs={status: rows.get(status, (0, 0.0))[0] for status in sorted(LIVE)},
        oldest_queued_seconds=max(0.0, rows.get(Status.QUEUED, (0, 0.0))[1]),
        workers={role: roles.count(role) for role in (TRAIN, SERVE)},
    )
