"""The rows that a dispatch pass looks for: expired leases, and queued jobs no worker was notified of."""

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.orm import Session

from app.database.engine import db_now
from app.database.tables import Job, Worker
from app.infrastructure.broker import TRAIN
from app.infrastructure.liveness import LIVE_SECONDS
from app.services.jobs import devices, leases
from app.services.jobs.leases import Lease
from app.states import Status

MAX_JOBS_PER_PASS = 200


class ExpiredLease(NamedTuple):
    """A lease that its owner did not renew in time."""

    job_id: str
    attempt: int
    until: float | None


def expired_leases(session: Session) -> list[ExpiredLease]:
    """Return leases that have run out, oldest jobs first, with their rows locked."""
    query = (
        select(Job.id, Job.attempt, Job.lease_until)
        .where(
            Job.status == Status.RUNNING,
            leases.claimable(),
            func.coalesce(Job.lease_until, 0.0) < db_now(),
        )
        .order_by(Job.id)
        .limit(MAX_JOBS_PER_PASS)
        .with_for_update(skip_locked=True)
    )
    return [ExpiredLease(*row) for row in session.execute(query)]


def reap(session: Session, earlier: Collection[ExpiredLease] | None = None) -> list[str]:
    """Release the jobs whose leases have expired, each as a crash of its owner; return their ids.

    With `earlier`, only leases that are in it: expired at an earlier look and not renewed since. After a jump
    of the clock or an outage of the database every lease has expired, and owners that live renew theirs
    within a second.
    """
    expired = [lease for lease in expired_leases(session) if earlier is None or lease in earlier]
    for job_id, attempt, _ in expired:
        leases.release(session, Lease(job_id, attempt), crashed=True)
    return [lease.job_id for lease in expired]


def count_workers(session: Session) -> int:
    """Return how many training workers live, each of which has a dispatcher."""
    query = select(func.count(Worker.id))
    live = query.where(Worker.role == TRAIN, Worker.last_seen > db_now() - LIVE_SECONDS)
    return session.scalar(live) or 0


def waiting_devices(session: Session) -> list[str]:
    """Return what queued jobs ask for, each device once."""
    device = devices.requested_device()
    query = select(device).where(Job.status == Status.QUEUED, leases.claimable()).distinct()
    return sorted(session.scalars(query))


def requested_devices(session: Session, ids: Collection[str]) -> dict[str, str]:
    """Return the device that each of these jobs asks for, by its id; a job that is gone has none."""
    query = select(Job.id, devices.requested_device()).where(Job.id.in_(ids)).order_by(Job.id)
    return {row[0]: row[1] for row in session.execute(query)}


def unnotified(session: Session, seconds: float | None, device: str | None = None) -> list[str]:
    """Return the oldest queued jobs whose workers were never notified.

    With `seconds`, also jobs whose last notification is at least that old; with `device`, only jobs that ask
    for it.
    """
    due: ColumnElement[bool] = Job.dispatched_at.is_(None)
    if seconds is not None:
        due |= Job.dispatched_at < db_now() - seconds
    ready = or_(Job.due_at.is_(None), Job.due_at <= db_now())
    query = select(Job.id).where(Job.status == Status.QUEUED, leases.claimable(), due, ready)
    if device is not None:
        query = query.where(devices.requested_device() == device)
    return list(session.scalars(query.order_by(Job.id).limit(MAX_JOBS_PER_PASS)))


def mark_notified(session: Session, ids: list[str]) -> None:
    """Record that workers were notified of these jobs now."""
    session.execute(update(Job).where(Job.id.in_(ids)).values(dispatched_at=db_now()))
