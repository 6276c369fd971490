"""What a key uses of its limits: jobs and bytes that were made with it. Checks of one key take turns."""

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.database.tables import Dataset, Job, Key
from app.errors import LimitReached
from app.services.access.callers import Caller
from app.states import Status

RETRY_SECONDS = 5  # after which a job may have left the queue


@dataclass(frozen=True)
class Usage:
    """Jobs in the queue and in work, and bytes of data sets."""

    queued_jobs: int
    running_jobs: int
    stored_bytes: int


def measure(session: Session, caller: Caller) -> Usage:
    """Return what was made with the caller's key; without a key, all of its project."""
    jobs = select(Job.status, func.count()).where(Job.status.in_([Status.QUEUED, Status.RUNNING]))
    stored = select(func.coalesce(func.sum(Dataset.bytes), 0))
    if caller.key_id is not None:
        jobs, stored = jobs.where(Job.key_id == caller.key_id), stored.where(Dataset.key_id == caller.key_id)
    counts = {row[0]: row[1] for row in session.execute(jobs.group_by(Job.status))}
    total = int(session.execute(stored).scalar_one())
    return Usage(counts.get(Status.QUEUED, 0), counts.get(Status.RUNNING, 0), total)


def check_queue(session: Session, caller: Caller) -> None:
    """Raise `LimitReached` if the caller's key may not queue another job; the caller adds it and commits."""
    limit = caller.limits.queued_jobs
    if limit is None:
        return
    _lock(session, caller)
    if measure(session, caller).queued_jobs >= limit:
        raise LimitReached(f"This key may have {limit} queued jobs", RETRY_SECONDS)


def check_storage(session: Session, caller: Caller, new_bytes: int) -> None:
    """Raise `LimitReached` if the caller's key may not store as many bytes more; likewise."""
    limit = caller.limits.stored_bytes
    if limit is None:
        return
    _lock(session, caller)
    if measure(session, caller).stored_bytes + new_bytes > limit:
        raise LimitReached(f"This key may store {limit:,} bytes of data sets; delete some")


def _lock(session: Session, caller: Caller) -> None:
    session.execute(select(Key.id).where(Key.id == caller.key_id).with_for_update())
