"""Whose job a free worker takes next: projects take turns, and keys keep within their limits.

The project with the fewest running jobs goes first; among equals the one whose last job was started the
longest ago. A client with a thousand queued jobs delays another one by one job, not by a thousand.
"""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.database.tables import Job, Key
from app.states import SWEEP, Status

RUNNING = (Job.status == Status.RUNNING, Job.kind != SWEEP)


def projects_in_turn(session: Session) -> list[str]:
    """Return the projects with queued jobs, in the order in which they may take a worker."""
    waiting = list(session.scalars(select(Job.project).where(Job.status == Status.QUEUED).distinct()))
    if len(waiting) < 2:
        return waiting
    counts = select(Job.project, func.count()).where(*RUNNING).group_by(Job.project)
    running = {row[0]: row[1] for row in session.execute(counts)}
    started = {project: _last_start(session, project) for project in waiting}
    return sorted(waiting, key=lambda project: (running.get(project, 0), started[project], project))


def _last_start(session: Session, project: str) -> float:
    """When a job of a project was last started; 0 if none was."""
    return session.scalar(select(func.max(Job.started_at)).where(Job.project == project)) or 0.0


def exhausted_keys(session: Session) -> list[str]:
    """Return the keys that run as many jobs as they may, of those with queued jobs.

    Until the transaction ends nobody else starts a job of a key with a limit, so that none exceeds it.
    """
    queued = select(Job.key_id).where(Job.status == Status.QUEUED, Job.key_id.is_not(None))
    limited = select(Key).where(Key.running_jobs.is_not(None), Key.id.in_(queued)).order_by(Key.id)
    keys = list(session.scalars(limited.with_for_update()))
    return [key.id for key in keys if _running_jobs(session, key) >= (key.running_jobs or 0)]


def _running_jobs(session: Session, key: Key) -> int:
    return session.scalar(select(func.count()).select_from(Job).where(*RUNNING, Job.key_id == key.id)) or 0
