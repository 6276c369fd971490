"""What the dispatcher looks for on its rounds: expired leases, and queued jobs that nobody was told of."""

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.orm import Session

from app.database.engine import db_now
from app.database.tables import Job
from app.services.jobs import leases
from app.services.jobs.leases import Lease
from app.states import Status

PAGE = 200


class Expired(NamedTuple):
    """A lease that nobody renewed in time."""

    job_id: str
    attempt: int
    until: float | None


def expired(session: Session) -> list[Expired]:
    """Leases that have run out, oldest jobs first; the rows stay as they are until the transaction ends."""
    query = (
        select(Job.id, Job.attempt, Job.lease_until)
        .where(
            Job.status == Status.RUNNING,
            leases.claimable(),
            func.coalesce(Job.lease_until, 0.0) < db_now(),
        )
        .order_by(Job.id)
        .limit(PAGE)
        .with_for_update(skip_locked=True)
    )
    return [Expired(*row) for row in session.execute(query)]


def reap(session: Session, seen: Collection[Expired] | None = None) -> list[str]:
    """Take expired leases away from workers that stopped beating; the jobs that were theirs.

    With `seen` only those that had expired then already and were not renewed since: after a jump of the clock
    or an outage of the database every lease has expired, and the living renew theirs within a second.
    """
    dead = [one for one in expired(session) if seen is None or one in seen]
    for job_id, attempt, _ in dead:
        leases.give_back(session, Lease(job_id, attempt), crashed=True)
    return [one.job_id for one in dead]


def unrung(session: Session, seconds: float | None) -> list[str]:
    """Queued jobs never rung for, or also those rung for at least `seconds` ago; oldest first."""
    quiet: ColumnElement[bool] = Job.dispatched_at.is_(None)
    if seconds is not None:
        quiet |= Job.dispatched_at < db_now() - seconds
    ready = or_(Job.due_at.is_(None), Job.due_at <= db_now())
    query = select(Job.id).where(Job.status == Status.QUEUED, leases.claimable(), quiet, ready)
    return list(session.scalars(query.order_by(Job.id).limit(PAGE)))


def mark_rung(session: Session, ids: list[str]) -> None:
    """Note that the doorbells of these jobs were rung now."""
    session.execute(update(Job).where(Job.id.in_(ids)).values(dispatched_at=db_now()))
