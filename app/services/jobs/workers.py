"""Which workers live and what they do."""

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from app.database.engine import db_now
from app.database.tables import Job, Worker
from app.states import Status

FRESH = 20.0  # seconds after which a silent worker counts as gone
STALE = 3600.0  # seconds after which its row is deleted


def seen(session: Session, worker: Worker) -> None:
    """Note that a worker lives, and drop the rows of those long gone."""
    session.merge(worker)
    session.flush()
    session.execute(update(Worker).where(Worker.id == worker.id).values(last_seen=db_now()))
    session.execute(delete(Worker).where(Worker.last_seen < db_now() - STALE))


def leave(session: Session, worker_id: str) -> None:
    """Forget a worker that stops."""
    session.execute(delete(Worker).where(Worker.id == worker_id))


def live(session: Session) -> list[tuple[Worker, str | None]]:
    """Live workers, each with the id of the job it runs."""
    query = (
        select(Worker, Job.id)
        .outerjoin(Job, (Job.owner == Worker.id) & (Job.status == Status.RUNNING))
        .where(Worker.last_seen > db_now() - FRESH)
        .order_by(Worker.id)
    )
    return [(worker, job_id) for worker, job_id in session.execute(query)]
