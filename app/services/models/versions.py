"""Models and their numbered versions: publishing, reading, resolving and deleting them."""

from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.database.projects import own_project
from app.database.tables import Alias, Job, JobVersion, Model, ModelVersion
from app.errors import Conflict, ModelNotTrained, NotFound
from app.identifiers import new_id
from app.infrastructure.artifacts import ArtifactReference
from app.infrastructure.events.webhook_events import EventType, enqueue
from app.services.paging import Paging
from app.states import LIVE, SWEEP
from app.typedefs import Json

PRODUCTION = "production"  # the alias that answers predictions
TRAINING_KINDS = ("train", SWEEP)  # of jobs, that end with a version


@dataclass(frozen=True)
class TrainingOutcome:
    """The artifact that a training has stored, and what it measured."""

    artifact: str  # prefix in the artifact store
    parameters: int  # trained weights, counted
    bytes: int
    sha256: str
    metrics: Json
    baseline: Json


def publish(session: Session, job: Job, outcome: TrainingOutcome) -> int:
    """Add the next version of the job's model and return its number; version 1 becomes `production`."""
    number = _next_number(session, job)
    session.add(
        ModelVersion(
            project=job.project,
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
        session.add(Alias(project=job.project, model=job.model, alias=PRODUCTION, version=number))
    session.flush()
    data = {"model": job.model, "version": number, "task": job.task, "job": job.id}
    enqueue(session, job.project, EventType.VERSION_CREATED, {**data, "metrics": outcome.metrics})
    return number


def _next_number(session: Session, job: Job) -> int:
    increment = (
        update(Model)
        .where(Model.project == job.project, Model.name == job.model)
        .values(versions=Model.versions + 1)
        .returning(Model.versions)
        .execution_options(synchronize_session=False)
    )
    number = session.execute(increment).scalar()
    if number is None:
        # Two first versions of a model may finish at once: the loser of this insert uses the winner's row.
        with suppress(IntegrityError), session.begin_nested():
            values = {"id": new_id("model"), "project": job.project, "name": job.model, "task": job.task}
            session.execute(insert(Model).values(values | {"versions": 0}))
        number = session.execute(increment).scalar_one()
    return number


def list_models(session: Session, paging: Paging) -> list[Model]:
    """Return the page's models, newest first, and one more if there are more."""
    return list(session.scalars(paging.apply(select(Model), Model.id)))


def get_model(session: Session, name: str) -> Model:
    """Return the model; raises `NotFound`, or `ModelNotTrained` while a job makes its first version."""
    model = session.get(Model, (own_project(session), name))
    if model is None:
        raise _without_version(session, name, f"There is no model {name}")
    return model


def missing_alias(session: Session, name: str, alias: str) -> NotFound:
    """The error for an alias that an existing model does not have."""
    others = [row.alias for row in list_aliases(session, name)]
    if others:
        return NotFound(f"The model {name} has no alias {alias}; it has {', '.join(others)}")
    if (number := latest_number(session, name)) is not None:
        return NotFound(f"The model {name} has no alias {alias}; its newest version is {number}")
    return _without_version(session, name, f"The model {name} has no version left")


def _without_version(session: Session, name: str, reason: str) -> NotFound:
    """The error for a model without a version, by what has become of its newest job."""
    trains = (Job.model == name, Job.kind.in_(TRAINING_KINDS), Job.sweep_id.is_(None))
    job = session.scalar(select(Job).where(*trains).order_by(Job.id.desc()).limit(1))
    if job is None:
        return NotFound(reason)
    if job.status in LIVE:
        fraction = (job.progress or {}).get("fraction")
        state = job.status if fraction is None else f"{job.status}, {fraction:.0%}"
        return ModelNotTrained(f"The model {name} has no version yet: its job {job.id} is {state}")
    cause = f": {job.error_message}" if job.error_message else ""
    return NotFound(f"{reason}; its newest job {job.id} is {job.status}{cause}")


def list_aliases(session: Session, name: str) -> list[Alias]:
    """Return all aliases of a model by name."""
    return list(session.scalars(select(Alias).where(Alias.model == name).order_by(Alias.alias)))


def latest_number(session: Session, name: str) -> int | None:
    """Return the highest version number that still exists; None when the model has no version."""
    return session.scalar(select(func.max(ModelVersion.version)).where(ModelVersion.model == name))


def list_versions(session: Session, name: str, paging: Paging) -> list[ModelVersion]:
    """Return the page's versions of a model, newest first, and one more if there are; raises `NotFound`."""
    get_model(session, name)
    query = select(ModelVersion).where(ModelVersion.model == name)
    return list(session.scalars(paging.apply(query, ModelVersion.version)))


def get_version(session: Session, name: str, number: int) -> ModelVersion:
    """Return one version; raises `NotFound` for an unknown model or number."""
    get_model(session, name)
    row = session.get(ModelVersion, (own_project(session), name, number))
    if row is None:
        raise NotFound(f"The model {name} has no version {number}")
    return row


def resolve_version(session: Session, name: str, number: int | None, alias: str | None) -> ModelVersion:
    """Return the version with a number, else the one of an alias, by default `production`.

    Of several versions that share an alias, the one with the largest share. Raises `NotFound`.
    """
    if number is None:
        alias = alias or PRODUCTION
        get_model(session, name)
        row = session.get(Alias, (own_project(session), name, alias))
        if row is None:
            raise missing_alias(session, name, alias)
        number = row.version
    return get_version(session, name, number)


def reference(row: ModelVersion) -> str:
    """Return the name by which predictors are asked for a version."""
    return str(ArtifactReference(row.artifact, row.sha256))


def list_references(session: Session) -> set[str]:
    """Return the names by which predictors are asked for versions, of all that the session sees."""
    rows = session.execute(select(ModelVersion.artifact, ModelVersion.sha256))
    return {str(ArtifactReference(*row)) for row in rows}


def remove_version(session: Session, name: str, number: int) -> str:
    """Delete a version's row and return the key prefix of its files, to be deleted after the commit.

    Raises `NotFound`, and `Conflict` when an alias names the version or a live job needs it.
    """
    row = session.get(ModelVersion, (own_project(session), name, number), with_for_update=True)
    if row is None:
        raise NotFound(f"The model {name} has no version {number}")
    aliases = [alias.alias for alias in list_aliases(session, name) if number in alias.referenced_versions]
    if aliases:
        raise Conflict(f"The alias {', '.join(aliases)} names version {number}; move it first")
    evaluated = select(JobVersion.job_id).where(JobVersion.job_id == Job.id, JobVersion.version == number)
    uses_version = (Job.model == name, or_(Job.model_version == number, evaluated.exists()))
    job_id = session.scalar(select(Job.id).where(*uses_version, Job.status.in_(LIVE)).limit(1))
    if job_id is not None:
        raise Conflict(f"The job {job_id} needs version {number}")
    artifact = row.artifact
    session.delete(row)
    return artifact


def remove_model(session: Session, name: str) -> None:
    """Delete a model that has no version, so that its name is free, also for another task.

    Raises `NotFound`, and `Conflict` while it has versions or a live job is to make one.
    """
    model = session.get(Model, (own_project(session), name), with_for_update=True)
    if model is None:
        raise NotFound(f"There is no model {name}")
    numbers = select(ModelVersion.version).where(ModelVersion.model == name)
    if versions := sorted(session.scalars(numbers)):
        raise Conflict(f"The model {name} has version {', '.join(map(str, versions))}; delete versions first")
    trains = (Job.model == name, Job.kind.in_(TRAINING_KINDS), Job.status.in_(LIVE))
    job_id = session.scalar(select(Job.id).where(*trains).limit(1))
    if job_id is not None:
        raise Conflict(f"The job {job_id} trains the model {name}")
    session.delete(model)
