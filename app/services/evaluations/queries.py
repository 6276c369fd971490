"""Reading evaluations."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database.tables import Job, JobVersion
from app.services.models import versions
from app.services.paging import Paging
from app.states import EVALUATE


def list_page(session: Session, name: str, number: int, paging: Paging) -> list[Job]:
    """Return the page's evaluations of a version, newest first, and one more if there are more.

    Raises `NotFound` for an unknown model or version.
    """
    versions.get_version(session, name, number)
    evaluated = select(JobVersion.job_id).where(JobVersion.job_id == Job.id, JobVersion.version == number)
    query = select(Job).where(Job.model == name, Job.kind == EVALUATE, evaluated.exists())
    return list(session.scalars(paging.apply(query, Job.id)))
