"""What `recurra doctor` looks at, and how; here what the rows alone tell."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import ColumnElement, ScalarSelect, delete, exists, func, or_, select, update
from sqlalchemy.orm import Session

from app.database.engine import Sessions, db_now
from app.database.tables import Alias, Job, JobEvent, Model, ModelVersion
from app.services.jobs import control, leases, reaper, workers
from app.states import Status

OVERDUE = 10.0  # seconds; a service that runs takes an expired lease back within two
RENEWAL = 2.0  # seconds in which an owner that lives renews its lease, once the database is back
QUIET = 60.0  # seconds in which a free worker would have taken a job it was told of
SHOWN = 5  # faults in a line; all are in the JSON


class State(StrEnum):
    """What came of a checkup."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    REPAIRED = "repaired"


@dataclass(frozen=True)
class Checkup:
    """One thing to look at."""

    name: str
    fine: str  # what to say when nothing is wrong
    find: Callable[[], list[str]]  # a sentence or a name for each fault
    repair: Callable[[], None] | None = None
    fault: State = State.PROBLEM


@dataclass(frozen=True)
class Finding:
    """What came of it."""

    check: str
    state: State
    detail: str
    faults: list[str]


def run(checkup: Checkup, *, repair: bool) -> Finding:
    """Look, repair if that is wanted and possible, and then look again: only what is gone is repaired."""
    try:
        faults = left = checkup.find()
        if faults and repair and checkup.repair is not None:
            checkup.repair()
            left = checkup.find()
    except Exception as error:  # noqa: BLE001 - whatever a broken installation raises is the finding
        reason = str(getattr(error, "orig", None) or error).strip() or type(error).__name__
        return Finding(checkup.name, checkup.fault, reason, [reason])
    if left:
        return Finding(checkup.name, checkup.fault, told(left), left)
    state = State.REPAIRED if faults else State.OK
    return Finding(checkup.name, state, told(faults) or checkup.fine, faults)


def told(faults: list[str]) -> str:
    """Faults in one line."""
    more = f" and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
    return ", ".join(faults[:SHOWN]) + more


def of_rows(sessions: Sessions, ring: Callable[[], None]) -> list[Checkup]:
    """What the rows alone tell; `ring` rings the doorbells of jobs that nobody was told of."""

    def look(query: Callable[[Session], list[str]]) -> Callable[[], list[str]]:
        def find() -> list[str]:
            with sessions() as session:
                return query(session)

        return find

    def change(statement: Callable[[Session], None]) -> Callable[[], None]:
        def repair() -> None:
            with sessions.begin() as session:
                statement(session)

        return repair

    def ring_again() -> None:
        change(forget_bells)()
        ring()

    return [
        Checkup("leases", "every running job has a lease", look(expired), lambda: reap(sessions)),
        Checkup("doorbells", "no free worker was left untold of a job", look(unheard), ring_again),
        Checkup("cancels", "no job waits that is to be cancelled", look(unended), change(end)),
        Checkup("aliases", "every alias names versions that exist", look(astray)),
        Checkup("models", "every model counts its versions", look(behind), change(catch_up)),
        Checkup("events", "every event has its job", look(strays), change(delete_strays)),
    ]


def expired(session: Session) -> list[str]:
    """Jobs that run by their rows although nobody has beaten for long."""
    late = func.coalesce(Job.lease_until, 0.0) < db_now() - OVERDUE
    query = select(Job.id).where(Job.status == Status.RUNNING, leases.claimable(), late)
    return list(session.scalars(query.order_by(Job.id)))


def reap(sessions: Sessions, renewal: float = RENEWAL) -> None:
    """Take expired leases back, a page at a time, unless their owners live and renew them now."""
    taken = True
    while taken:
        with sessions.begin() as session:
            seen = reaper.expired(session)
        time.sleep(renewal if seen else 0)
        with sessions.begin() as session:
            taken = bool(reaper.reap(session, seen))


def unheard(session: Session) -> list[str]:
    """Queued jobs that a free worker could run and has not taken for long, while nothing else goes on."""
    if not any(worker.role == "train" and job_id is None for worker, job_id in workers.live(session)):
        return []
    since = db_now() - QUIET
    # A worker is free for a moment between two jobs: then one has just begun or ended.
    moving = select(Job.id).where(or_(Job.started_at > since, Job.finished_at > since)).limit(1)
    if session.scalar(moving) is not None:
        return []
    due = or_(Job.due_at.is_(None), Job.due_at < since)
    quiet = func.coalesce(Job.dispatched_at, Job.updated_at) < since
    query = select(Job.id).where(Job.status == Status.QUEUED, leases.claimable(), due, quiet)
    return list(session.scalars(query.order_by(Job.id)))


def forget_bells(session: Session) -> None:
    """Have the jobs count as never rung for, so that they are rung for whatever waits in the queue."""
    session.execute(update(Job).where(Job.id.in_(unheard(session))).values(dispatched_at=None))


def unended(session: Session) -> list[str]:
    """Jobs that do not run and should have been cancelled."""
    waiting = Job.status.in_([Status.QUEUED, Status.PAUSED])
    query = select(Job.id).where(waiting, Job.cancel_requested_at.is_not(None))
    return list(session.scalars(query.order_by(Job.id)))


def end(session: Session) -> None:
    """Cancel them."""
    for job_id in unended(session):
        control.cancel(session, job_id)


def astray(session: Session) -> list[str]:
    """Aliases that name versions which do not exist."""
    versions = session.execute(select(ModelVersion.model, ModelVersion.version))
    there = {(row.model, row.version) for row in versions}
    return [
        f"{alias.model}@{alias.alias} names version {number}"
        for alias in session.scalars(select(Alias).order_by(Alias.model, Alias.alias))
        for number in sorted(alias.named)
        if (alias.model, number) not in there
    ]


def behind(session: Session) -> list[str]:
    """Models whose counter is below a version they have: the next one could not be published."""
    query = select(Model.name).where(Model.versions < _highest())
    return list(session.scalars(query.order_by(Model.name)))


def catch_up(session: Session) -> None:
    """Count on from the highest version."""
    step = update(Model).where(Model.name.in_(behind(session))).values(versions=_highest())
    session.execute(step.execution_options(synchronize_session=False))


def _highest() -> ScalarSelect[int | None]:
    highest = select(func.max(ModelVersion.version)).where(ModelVersion.model == Model.name)
    return highest.correlate(Model).scalar_subquery()


def strays(session: Session) -> list[str]:
    """Events of jobs that do not exist."""
    query = select(JobEvent.job_id).distinct().where(_jobless())
    return [f"events of {job_id}" for job_id in sorted(session.scalars(query))]


def delete_strays(session: Session) -> None:
    """Delete them."""
    session.execute(delete(JobEvent).where(_jobless()).execution_options(synchronize_session=False))


def _jobless() -> ColumnElement[bool]:
    return ~exists(select(Job.id).where(Job.id == JobEvent.job_id))
