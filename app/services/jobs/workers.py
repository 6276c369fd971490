"""The table of workers: which ones are alive, and which job each one runs."""

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from app.database.engine import db_now
from app.database.tables import Job, Worker
from app.infrastructure.liveness import LIVE_SECONDS
from app.states import Status

DELETE_AFTER_SECONDS = 3600.0  # without a report for longer, its row is deleted


def report_alive(session: Session, worker: Worker) -> None:
    """Insert or update a worker's row with the current time, and delete the rows of workers long gone."""
    session.merge(worker)
    session.flush()
    session.execute(update(Worker).where(Worker.id == worker.id).values(last_seen=db_now()))
    session.execute(delete(Worker).where(Worker.last_seen < db_now() - DELETE_AFTER_SECONDS))


def remove(session: Session, worker_id: str) -> None:
    """Delete the row of a worker that stops."""
    session.execute(delete(Worker).where(Worker.id == worker_id))


def list_live(session: Session) -> list[tuple[Worker, str | None]]:
    """Return the live workers by id, each with the id of the job it runs, if any."""
    query = (
        select(Worker, Job.id)
        .outerjoin(Job, (Job.owner == Worker.id) & (Job.status == Status.RUNNING))
        .where(Worker.last_seen > db_now() - LIVE_SECONDS)
        .order_by(Worker.id)
    )
    return [(worker, job_id) for worker, job_id in session.execute(query)]
