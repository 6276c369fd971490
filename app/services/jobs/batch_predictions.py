"""Batch predictions: jobs that predict a whole data set with one model version, and their result files."""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import msgspec
import orjson
from sqlalchemy.orm import Session

from app.database.tables import Dataset, Job, ModelVersion
from app.errors import Conflict, Invalid, NotFound, Problem
from app.identifiers import new_id
from app.infrastructure import artifacts
from app.infrastructure.events.job_events import append_events
from app.infrastructure.storage import Storage
from app.services.jobs import queries
from app.states import EVALUATE, Status
from app.tasks import TASKS
from app.tasks.contract import Task
from app.typedefs import Json
from app.validation.names import unknown_name
from app.validation.schema_errors import UNKNOWN_FIELD, msgspec_problem

BATCH_PREDICT = "batch_predict"  # the kind of job
RESULT_KINDS = frozenset({BATCH_PREDICT, EVALUATE})  # of jobs that have a result file
RESULTS_ROOT = "results"


def load_state(storage: Storage, version: ModelVersion) -> Json:
    """Read the task's state (vocabulary, scaling, …) of a version from its manifest."""
    state: Json = load_manifest(storage, version)["state"]
    return state


def load_manifest(storage: Storage, version: ModelVersion) -> Json:
    """Read the manifest of a version."""
    manifest: Json = orjson.loads(artifacts.read_manifest(storage, version.artifact, version.sha256))
    return manifest


def submit(session: Session, version: ModelVersion, state: Json, dataset_id: str, parameters: Json) -> Job:
    """Check a request and queue its job; the caller commits, then notifies the workers.

    Raises `NotFound`, and `Invalid` when the version cannot predict the data set.
    """
    # The row locks keep version and data set from being deleted before the job that needs them is stored.
    row = session.get(
        ModelVersion, (version.project, version.model, version.version), with_for_update={"read": True}
    )
    if row is None:
        raise NotFound(f"The model {version.model} has no version {version.version}")
    dataset = session.get(Dataset, dataset_id, with_for_update={"read": True})
    if dataset is None:
        raise NotFound(f"There is no data set {dataset_id}")
    task = TASKS.get(version.task)
    if task is None:
        raise NotFound(f"The model {version.model} is for {version.task}, a task this server does not have")
    if problems := check_dataset(task, state, dataset, parse_parameters(task, parameters)):
        raise Invalid(f"This data set cannot be predicted: {problems[0].detail}", problems)
    job = Job(
        id=new_id("job"),
        kind=BATCH_PREDICT,
        task=row.task,
        dataset_id=dataset.id,
        model=row.model,
        model_version=row.version,
        network=row.network,
        training={},
        options={"parameters": parameters},
        job_metadata={},
    )
    session.add(job)
    session.flush()
    append_events(session, job.id, [("status", {"status": Status.QUEUED})])
    session.refresh(job)
    return job


def check_dataset(task: Task, state: Json, dataset: Dataset, parameters: Any) -> list[Problem]:
    """Return reasons why a version with this state cannot predict a data set."""
    if dataset.task != task.name:
        return [Problem("/dataset", f"this data set was uploaded for {dataset.task}")]
    return task.check_dataset(dataset.summary, state, parameters)


def parse_parameters(task: Task, parameters: Json) -> Any:
    """Parse the task's parameters; raises `Invalid` with a pointer below `/parameters`."""
    try:
        return msgspec.convert(parameters, task.parameters, strict=True)
    except UnicodeEncodeError as error:  # a lone surrogate in a field name
        raise Invalid(problems=[Problem("/parameters", str(error))]) from None
    except msgspec.ValidationError as error:
        place, detail = msgspec_problem(str(error))
        if match := UNKNOWN_FIELD.search(detail):
            detail = unknown_name("parameter", match["name"], task.parameters.__struct_fields__)
        raise Invalid(problems=[Problem(f"/parameters{place}", detail)]) from None


def results_prefix(job_id: str) -> str:
    """Return the key prefix of a job's result files."""
    return f"{RESULTS_ROOT}/{job_id}"


def part_key(job_id: str, part: int, failed: int) -> str:
    """Return the key of a part's file; its name holds how many instances of the part failed."""
    return f"{results_prefix(job_id)}/{part:08d}-{failed}.jsonl"


def stored_parts(storage: Storage, job_id: str) -> tuple[int, int]:
    """Return how many parts are stored without a gap, and how many instances failed in these."""
    parts = total = 0
    for key in storage.keys(results_prefix(job_id)):
        part, _, failed = PurePosixPath(key).stem.partition("-")
        if int(part) != parts:
            break
        parts, total = parts + 1, total + int(failed)
    return parts, total


def result_parts(session: Session, storage: Storage, job_id: str) -> dict[str, int]:
    """Return key and size in bytes of a result's parts, in order; raises `NotFound` or `Conflict`."""
    job = queries.get_job(session, job_id)
    if job.kind not in RESULT_KINDS:
        raise NotFound(f"The job {job_id} is of kind {job.kind}, which has no result file")
    if job.status != Status.SUCCEEDED:
        raise Conflict(f"The job is {job.status}; its result is there once it has succeeded")
    return storage.sizes(results_prefix(job_id))


def read_range(storage: Storage, parts: dict[str, int], first: int, last: int) -> Iterator[bytes]:
    """Yield the bytes [first, last) of the concatenated parts; only the parts concerned are read."""
    start = 0  # of the part in the whole
    for key, size in parts.items():
        if start < last and first < start + size:
            offset = start
            for chunk in storage.read(key):
                yield chunk[max(0, first - offset) : max(0, last - offset)]
                offset += len(chunk)
        start += size
