"""Models, versions and aliases."""

from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.db import db_now
from app.errors import Conflict, NotFound
from app.identifiers import new_id
from app.services.paging import Paging
from app.tables import Alias, Job, Json, Model, ModelVersion

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
    """The version that a prediction asks for: by number, by alias, or `production`."""
    if number is None:
        wanted = alias or PRODUCTION
        get(session, name)
        pointed = session.get(Alias, (name, wanted))
        if pointed is None:
            raise NotFound(f"The model {name} has no alias {wanted}")
        number = pointed.version
    return version(session, name, number)


def move_alias(session: Session, name: str, alias: str, number: int) -> Alias:
    """Point an alias at a version, making it if need be."""
    # The lock keeps the version from being deleted between the look and the move.
    get(session, name)
    if session.get(ModelVersion, (name, number), with_for_update={"read": True}) is None:
        raise NotFound(f"The model {name} has no version {number}")
    row = session.get(Alias, (name, alias))
    if row is None:
        row = Alias(model=name, alias=alias, version=number)
        session.add(row)
    row.version = number
    session.flush()
    session.execute(
        update(Alias).where(Alias.model == name, Alias.alias == alias).values(updated_at=db_now())
    )
    session.refresh(row)
    return row


def remove_alias(session: Session, name: str, alias: str) -> None:
    """Delete an alias; raises `NotFound` when there is none."""
    get(session, name)
    gone = session.execute(
        delete(Alias).where(Alias.model == name, Alias.alias == alias).returning(Alias.alias)
    ).scalar()
    if gone is None:
        raise NotFound(f"The model {name} has no alias {alias}")


def remove_version(session: Session, name: str, number: int) -> str:
    """Delete a version no alias points at; the prefix of its files, to be deleted after the commit."""
    row = session.get(ModelVersion, (name, number), with_for_update=True)
    if row is None:
        raise NotFound(f"The model {name} has no version {number}")
    pointing = [alias.alias for alias in aliases(session, name) if alias.version == number]
    if pointing:
        raise Conflict(f"The alias {', '.join(pointing)} points at version {number}; move it first")
    artifact = row.artifact
    session.delete(row)
    return artifact
