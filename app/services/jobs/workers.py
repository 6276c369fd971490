"""The table of workers: which ones are alive, and which job each one runs."""

from typing import Any, NamedTuple

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from app.database.engine import db_now
from app.database.tables import Job, Worker
from app.infrastructure.liveness import LIVE_SECONDS
from app.services.paging import Paging
from app.states import Status

DELETE_AFTER_SECONDS = 3600.0  # without a report for longer, its row is deleted


class LiveWorker(NamedTuple):
    """A live worker, and the id of the job it runs, if any."""

    worker: Worker
    job_id: str | None

    @property
    def id(self) -> str:
        """The id of the worker."""
        return str(self.worker.id)


def report_alive(session: Session, worker: Worker) -> None:
    """Insert or update a worker's row with the current time, and delete the rows of workers long gone."""
    session.merge(worker)
    session.flush()
    session.execute(update(Worker).where(Worker.id == worker.id).values(last_seen=db_now()))
    session.execute(delete(Worker).where(Worker.last_seen < db_now() - DELETE_AFTER_SECONDS))


def remove(session: Session, worker_id: str) -> None:
    """Delete the row of a worker that stops."""
    session.execute(delete(Worker).where(Worker.id == worker_id))


def list_live(session: Session) -> list[LiveWorker]:
    """Return all live workers by id."""
    return [LiveWorker(*row) for row in session.execute(_live().order_by(Worker.id))]


def list_page(session: Session, paging: Paging) -> list[LiveWorker]:
    """Return the page's live workers, those that began last first, and one more if there are more."""
    return [LiveWorker(*row) for row in session.execute(paging.apply(_live(), Worker.id))]


def _live() -> Any:
    """The query of live workers with their jobs."""
    return (
        select(Worker, Job.id)
        .outerjoin(Job, (Job.owner == Worker.id) & (Job.status == Status.RUNNING))
        .where(Worker.last_seen > db_now() - LIVE_SECONDS)
    )
