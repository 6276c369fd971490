"""The checks of `recurra doctor`: how a check is run and repaired, and the checks that only read rows."""

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

OVERDUE_SECONDS = 10.0  # after expiry; a running service takes an expired lease back within two
RENEWAL_SECONDS = 2.0  # in which a live owner renews its lease, once the database is back
STUCK_SECONDS = 60.0  # in which a free worker would have claimed a job it was notified of
MAX_FAULTS_SHOWN = 5  # in a line of text; the JSON holds all


class CheckState(StrEnum):
    """The state of what was checked."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    REPAIRED = "repaired"


@dataclass(frozen=True)
class Check:
    """One thing to check."""

    name: str
    ok_detail: str  # shown when there is no fault
    find: Callable[[], list[str]]  # returns a sentence or a name for each fault
    repair: Callable[[], None] | None = None
    severity: CheckState = CheckState.PROBLEM  # of a fault


@dataclass(frozen=True)
class CheckResult:
    """The result of a check."""

    check: str
    state: CheckState
    detail: str
    faults: list[str]


def run(check: Check, *, repair: bool) -> CheckResult:
    """Run a check; with `repair`, repair the faults and check again: only what is gone counts as repaired."""
    try:
        faults = remaining = check.find()
        if faults and repair and check.repair is not None:
            check.repair()
            remaining = check.find()
    except Exception as error:  # noqa: BLE001 - whatever a broken installation raises is the finding
        reason = str(getattr(error, "orig", None) or error).strip() or type(error).__name__
        return CheckResult(check.name, check.severity, reason, [reason])
    if remaining:
        return CheckResult(check.name, check.severity, summarize(remaining), remaining)
    state = CheckState.REPAIRED if faults else CheckState.OK
    return CheckResult(check.name, state, summarize(faults) or check.ok_detail, faults)


def summarize(faults: list[str]) -> str:
    """Return faults as one line, at most `MAX_FAULTS_SHOWN` of them."""
    more = f" and {len(faults) - MAX_FAULTS_SHOWN} more" if len(faults) > MAX_FAULTS_SHOWN else ""
    return ", ".join(faults[:MAX_FAULTS_SHOWN]) + more


def row_checks(sessions: Sessions, notify: Callable[[], None]) -> list[Check]:
    """Return the checks that only read rows; `notify` runs a dispatch pass, which announces queued jobs."""

    def reading(query: Callable[[Session], list[str]]) -> Callable[[], list[str]]:
        def find() -> list[str]:
            with sessions() as session:
                return query(session)

        return find

    def changing(statement: Callable[[Session], None]) -> Callable[[], None]:
        def repair() -> None:
            with sessions.begin() as session:
                statement(session)

        return repair

    def notify_again() -> None:
        changing(forget_notifications)()
        notify()

    return [
        Check("leases", "every running job has a lease", reading(expired_leases), lambda: reap(sessions)),
        Check("wake-ups", "all queued jobs have been announced", reading(stuck_jobs), notify_again),
        Check(
            "cancels", "no cancelled job is still waiting",
            reading(unfinished_cancels), changing(finish_cancels),
        ),
        Check("aliases", "every alias names versions that exist", reading(dangling_aliases)),
        Check(
            "models", "every model counts its versions", reading(stale_counters), changing(repair_counters)
        ),
        Check("events", "every event has its job", reading(orphan_events), changing(delete_orphan_events)),
    ]  # fmt: skip


def expired_leases(session: Session) -> list[str]:
    """Return jobs whose rows say that they run although their leases expired a while ago."""
    overdue = func.coalesce(Job.lease_until, 0.0) < db_now() - OVERDUE_SECONDS
    query = select(Job.id).where(Job.status == Status.RUNNING, leases.claimable(), overdue)
    return list(session.scalars(query.order_by(Job.id)))


def reap(sessions: Sessions, seconds: float = RENEWAL_SECONDS) -> None:
    """Take expired leases back, a page at a time, except those that a live owner renews within `seconds`."""
    reaped = True
    while reaped:
        with sessions.begin() as session:
            expired = reaper.expired_leases(session)
        time.sleep(seconds if expired else 0)
        with sessions.begin() as session:
            reaped = bool(reaper.reap(session, expired))


def stuck_jobs(session: Session) -> list[str]:
    """Return queued jobs that a free worker could run and has not claimed for `STUCK_SECONDS`."""
    if not any(worker.role == "train" and job_id is None for worker, job_id in workers.list_live(session)):
        return []
    since = db_now() - STUCK_SECONDS
    # A worker is free for a moment between two jobs: then some job has just begun or ended.
    recent = select(Job.id).where(or_(Job.started_at > since, Job.finished_at > since)).limit(1)
    if session.scalar(recent) is not None:
        return []
    due = or_(Job.due_at.is_(None), Job.due_at < since)
    notified = func.coalesce(Job.dispatched_at, Job.updated_at) < since
    query = select(Job.id).where(Job.status == Status.QUEUED, leases.claimable(), due, notified)
    return list(session.scalars(query.order_by(Job.id)))


def forget_notifications(session: Session) -> None:
    """Mark stuck jobs as never announced, so that they are announced whatever waits in the queue."""
    session.execute(update(Job).where(Job.id.in_(stuck_jobs(session))).values(dispatched_at=None))


def unfinished_cancels(session: Session) -> list[str]:
    """Return jobs that do not run and should have been cancelled."""
    waiting = Job.status.in_([Status.QUEUED, Status.PAUSED])
    query = select(Job.id).where(waiting, Job.cancel_requested_at.is_not(None))
    return list(session.scalars(query.order_by(Job.id)))


def finish_cancels(session: Session) -> None:
    """Cancel the jobs that should have been cancelled."""
    for job_id in unfinished_cancels(session):
        control.cancel(session, job_id)


def dangling_aliases(session: Session) -> list[str]:
    """Return a sentence for each version that an alias names and that does not exist."""
    versions = session.execute(select(ModelVersion.project, ModelVersion.model, ModelVersion.version))
    existing = {tuple(row) for row in versions}
    return [
        f"{alias.model}@{alias.alias} names version {number}"
        for alias in session.scalars(select(Alias).order_by(Alias.project, Alias.model, Alias.alias))
        for number in sorted(alias.referenced_versions)
        if (alias.project, alias.model, number) not in existing
    ]


def stale_counters(session: Session) -> list[str]:
    """Return models whose counter is below a version they have: the next one could not be published."""
    query = select(Model.name).where(Model.versions < _highest_version())
    return list(session.scalars(query.order_by(Model.name)))


def repair_counters(session: Session) -> None:
    """Set stale counters to the highest version."""
    stale = Model.versions < _highest_version()
    statement = update(Model).where(stale).values(versions=_highest_version())
    session.execute(statement.execution_options(synchronize_session=False))


def _highest_version() -> ScalarSelect[int | None]:
    same = (ModelVersion.project == Model.project, ModelVersion.model == Model.name)
    highest = select(func.max(ModelVersion.version)).where(*same)
    return highest.correlate(Model).scalar_subquery()


def orphan_events(session: Session) -> list[str]:
    """Return a line for each job that does not exist and has events."""
    query = select(JobEvent.job_id).distinct().where(_has_no_job())
    return [f"events of {job_id}" for job_id in sorted(session.scalars(query))]


def delete_orphan_events(session: Session) -> None:
    """Delete the events of jobs that do not exist."""
    session.execute(delete(JobEvent).where(_has_no_job()).execution_options(synchronize_session=False))


def _has_no_job() -> ColumnElement[bool]:
    return ~exists(select(Job.id).where(Job.id == JobEvent.job_id))
