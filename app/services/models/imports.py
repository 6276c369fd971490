"""Versions of another installation: stored here, and published under a model of a project."""

from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database.engine import Sessions
from app.database.projects import own_project
from app.database.tables import Job, Model
from app.errors import Conflict
from app.identifiers import new_id
from app.infrastructure.storage import Storage
from app.services.models.versions import TrainingOutcome, publish
from app.typedefs import Json


def import_version(sessions: Sessions, storage: Storage, files: list[Path], model: str, version: Json) -> int:
    """Store checked files and publish them as the model's next version, whose number is returned.

    `version` has the columns of the version's row. There is no job of this id here, as after its deletion.
    Raises `Conflict` for a model of another task.
    """
    job_id = new_id("job")
    prefix = f"artifacts/{job_id}/1"
    with sessions() as session:
        _check_task(session, model, version["task"])
    for path in files:
        storage.put(f"{prefix}/{path.name}", path)
    same = ("parameters", "bytes", "sha256", "metrics", "baseline")
    outcome = TrainingOutcome(prefix, **{name: version[name] for name in same})
    with sessions.begin() as session:
        _check_task(session, model, version["task"])
        columns = {name: version[name] for name in ("task", "network", "options")}
        columns |= {"model": model, "dataset_id": version["dataset"]}
        return publish(session, Job(id=job_id, project=own_project(session), **columns), outcome)


def _check_task(session: Session, model: str, task: str) -> None:
    present = session.scalar(select(Model.task).where(Model.name == model))
    if present not in (None, task):
        raise Conflict(f"The model {model} is of the task {present}, and the version of {task}")
