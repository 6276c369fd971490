"""Models, versions and aliases."""

from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.database.tables import Alias, Job, Model, ModelVersion
from app.errors import Conflict, NotFound
from app.identifiers import new_id
from app.services.paging import Paging
from app.states import LIVE
from app.typedefs import Json

PRODUCTION = "production"


@dataclass(frozen=True)
class Outcome:
    """What a finished training made."""

    artifact: str  # prefix in the artifact store
    parameters: int
    bytes: int
    sha256: str
    metrics: Json
    baseline: Json


def publish(session: Session, job: Job, outcome: Outcome) -> int:
    """Make the next version of the job's model; the first one answers predictions at once."""
    number = _next_number(session, job)
    session.add(
        ModelVersion(
            model=job.model,
            version=number,
            job_id=job.id,
            dataset_id=job.dataset_id,
            task=job.task,
            network=job.network,
            options=job.options,
            parameters=outcome.parameters,
            metrics=outcome.metrics,
            baseline=outcome.baseline,
            artifact=outcome.artifact,
            bytes=outcome.bytes,
            sha256=outcome.sha256,
        )
    )
    if number == 1:
        session.add(Alias(model=job.model, alias=PRODUCTION, version=number))
    session.flush()
    return number


def _next_number(session: Session, job: Job) -> int:
    step = (
        update(Model)
        .where(Model.name == job.model)
        .values(versions=Model.versions + 1)
        .returning(Model.versions)
        .execution_options(synchronize_session=False)
    )
    number = session.execute(step).scalar()
    if number is None:
        # Two first versions of one model may finish at once: the loser of this insert finds the winner's row.
        with suppress(IntegrityError), session.begin_nested():
            first = {"id": new_id("model"), "name": job.model, "task": job.task, "versions": 0}
            session.execute(insert(Model).values(first))
        number = session.execute(step).scalar_one()
    return number


def find(session: Session, paging: Paging) -> list[Model]:
    """Models newest first, at most one more than the page holds."""
    return list(session.scalars(paging.apply(select(Model), Model.id)))


def get(session: Session, name: str) -> Model:
    """The model; raises `NotFound`."""
    model = session.get(Model, name)
    if model is None:
        raise NotFound(f"There is no model {name}")
    return model


def aliases(session: Session, name: str) -> list[Alias]:
    """All aliases of a model."""
    return list(session.scalars(select(Alias).where(Alias.model == name).order_by(Alias.alias)))


def latest(session: Session, name: str) -> int | None:
    """The highest version that still exists."""
    return session.scalar(select(func.max(ModelVersion.version)).where(ModelVersion.model == name))


def versions(session: Session, name: str, paging: Paging) -> list[ModelVersion]:
    """A model's versions newest first, at most one more than the page holds."""
    get(session, name)
    query = select(ModelVersion).where(ModelVersion.model == name)
    return list(session.scalars(paging.apply(query, ModelVersion.version)))


def version(session: Session, name: str, number: int) -> ModelVersion:
    """One version; raises `NotFound` for an unknown model or number."""
    get(session, name)
    found = session.get(ModelVersion, (name, number))
    if found is None:
        raise NotFound(f"The model {name} has no version {number}")
    return found


def resolve(session: Session, name: str, number: int | None, alias: str | None) -> ModelVersion:
    """The version named by number, by alias, or by `production`; of several the heaviest."""
    if number is None:
        wanted = alias or PRODUCTION
        get(session, name)
        pointed = session.get(Alias, (name, wanted))
        if pointed is None:
            raise NotFound(f"The model {name} has no alias {wanted}")
        number = pointed.version
    return version(session, name, number)


def remove_version(session: Session, name: str, number: int) -> str:
    """Delete a version no alias names; the prefix of its files, to be deleted after the commit."""
    row = session.get(ModelVersion, (name, number), with_for_update=True)
    if row is None:
        raise NotFound(f"The model {name} has no version {number}")
    naming = [alias.alias for alias in aliases(session, name) if number in alias.named]
    if naming:
        raise Conflict(f"The alias {', '.join(naming)} names version {number}; move it first")
    of_this = (Job.model == name, Job.model_version == number)
    needed = session.scalar(select(Job.id).where(*of_this, Job.status.in_(LIVE)).limit(1))
    if needed is not None:
        raise Conflict(f"The job {needed} needs version {number}")
    artifact = row.artifact
    session.delete(row)
    return artifact
