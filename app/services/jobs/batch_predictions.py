"""Batch predictions: jobs that predict a whole data set with one version, and their results."""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import msgspec
import orjson
from sqlalchemy.orm import Session

from app.database.tables import Dataset, Job, ModelVersion
from app.errors import Conflict, Invalid, NotFound, Problem, pointer
from app.identifiers import new_id
from app.infrastructure.job_events import append
from app.infrastructure.storage import Storage
from app.services.jobs import submission
from app.states import Status
from app.tasks import TASKS
from app.tasks.contract import Task
from app.typedefs import Json

KIND = "batch_predict"
RESULTS = "results"


def state_of(storage: Storage, version: ModelVersion) -> Json:
    """What the version's task needs to know, from its manifest."""
    manifest = orjson.loads(b"".join(storage.read(f"{version.artifact}/manifest.json")))
    state: Json = manifest["state"]
    return state


def submit(session: Session, version: ModelVersion, state: Json, dataset_id: str, parameters: Json) -> Job:
    """Check that everything fits together and store a queued job; the caller commits and rings."""
    # The locks keep version and data set from being deleted between the look and the job's row.
    held = session.get(ModelVersion, (version.model, version.version), with_for_update={"read": True})
    if held is None:
        raise NotFound(f"The model {version.model} has no version {version.version}")
    dataset = session.get(Dataset, dataset_id, with_for_update={"read": True})
    if dataset is None:
        raise NotFound(f"There is no data set {dataset_id}")
    if problems := _misfits(version, state, dataset, parameters):
        raise Invalid(f"This data set cannot be predicted: {problems[0].detail}", problems)
    job = Job(
        id=new_id("job"),
        kind=KIND,
        task=held.task,
        dataset_id=dataset.id,
        model=held.model,
        model_version=held.version,
        network=held.network,
        training={},
        options={"parameters": parameters},
        job_metadata={},
    )
    session.add(job)
    session.flush()
    append(session, job.id, [("status", {"status": Status.QUEUED})])
    session.refresh(job)
    return job


def _misfits(version: ModelVersion, state: Json, dataset: Dataset, given: Json) -> list[Problem]:
    task = TASKS.get(version.task)
    if task is None:
        raise NotFound(f"The model {version.model} is for {version.task}, a task this server does not have")
    parameters = check_parameters(task, given)
    if dataset.task != task.name:
        return [Problem("/dataset", f"this data set was uploaded for {dataset.task}")]
    return task.misfits(dataset.summary, state, parameters)


def check_parameters(task: Task, given: Json) -> Any:
    """The task's parameters from what was sent; raises `Invalid` with a pointer below `/parameters`."""
    try:
        return msgspec.convert(given, task.parameters, strict=True)
    except UnicodeEncodeError as error:  # a lone surrogate in a name, which no field has
        raise Invalid(problems=[Problem("/parameters", str(error))]) from None
    except msgspec.ValidationError as error:
        detail, _, path = str(error).removesuffix("`").partition(" - at `$")
        steps = path.replace("[", ".").replace("]", "").split(".")
        raise Invalid(problems=[Problem(pointer("parameters", *filter(None, steps)), detail)]) from None


def prefix(job_id: str) -> str:
    """Where a job's results lie in the store."""
    return f"{RESULTS}/{job_id}"


def part_key(job_id: str, part: int, missed: int) -> str:
    """Where a part lies; its name tells how many of its instances could not be predicted."""
    return f"{prefix(job_id)}/{part:08d}-{missed}.jsonl"


def done(storage: Storage, job_id: str) -> tuple[int, int]:
    """How many parts are stored without a gap, and the instances in them that could not be predicted."""
    parts = failed = 0
    for key in storage.keys(prefix(job_id)):
        part, _, missed = PurePosixPath(key).stem.partition("-")
        if int(part) != parts:
            break
        parts, failed = parts + 1, failed + int(missed)
    return parts, failed


def result(session: Session, storage: Storage, job_id: str) -> dict[str, int]:
    """The parts of a job's result in order, each with its bytes; raises `NotFound` or `Conflict`."""
    job = submission.get(session, job_id)
    if job.kind != KIND:
        raise NotFound(f"The job {job_id} is of kind {job.kind}, which has no result file")
    if job.status != Status.SUCCEEDED:
        raise Conflict(f"The job is {job.status}; its result is there once it has succeeded")
    return storage.sizes(prefix(job_id))


def pieces(storage: Storage, parts: dict[str, int], first: int, last: int) -> Iterator[bytes]:
    """The bytes from `first` up to and without `last` of the parts as one file."""
    begun = 0
    for key, size in parts.items():
        if begun < last and first < begun + size:
            at = begun
            for piece in storage.read(key):
                yield piece[max(0, first - at) : max(0, last - at)]
                at += len(piece)
        begun += size
