"""Submitting jobs: requests are checked, defaults are filled in, and the job is queued."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from sqlalchemy.orm import Session

from app.database.projects import own_project
from app.database.tables import Dataset, Job, JobEvent, Model
from app.errors import Invalid, NotFound, Problem, describe_problems, pointer
from app.hyperparameters.options import NETWORK, TRAINING
from app.identifiers import new_id
from app.infrastructure.broker import ANYWHERE
from app.infrastructure.events.job_events import append_events
from app.schemas import JobIn
from app.services.jobs import devices
from app.services.jobs.field_names import OPTIONS, unknown_field
from app.services.jobs.memory_estimate import check_memory
from app.services.models.versions import latest_number
from app.states import Status
from app.tasks import TASKS
from app.tasks.contract import Defaults, Task
from app.typedefs import Json
from app.validation.names import unknown_name
from app.validation.schema_errors import pydantic_problems


@dataclass(frozen=True)
class ResolvedJobConfig:
    """What a job runs with, every default filled in."""

    network: Json
    training: Json
    options: Json


def submit(session: Session, request: JobIn) -> Job:
    """Check a request and queue its training job; the caller commits, then notifies the workers."""
    task, dataset = load_task_and_dataset(session, request)
    device = request.training.device or devices.AUTO
    problems = devices.check_device(session, device, pointer("training", "device"))
    config = resolve(task, dataset, request, [*check_model_task(session, request), *problems])
    options = check_options(task, config.options)
    _refuse(check_memory(session, task, dataset.summary, options, (config.network, config.training)))
    job = add_job(session, request, "train", **asdict(config))
    warn_without_worker(session, job, device)
    return job


def load_task_and_dataset(session: Session, request: JobIn) -> tuple[Task, Dataset]:
    """Return task and data set, the row locked against deletion; raises `Invalid` or `NotFound`."""
    task = TASKS.get(request.task)
    if task is None:
        raise Invalid(problems=[Problem("/task", unknown_name("task", request.task, sorted(TASKS)))])
    dataset = session.get(Dataset, request.dataset, with_for_update={"read": True})
    if dataset is None:
        raise NotFound(f"There is no data set {request.dataset}")
    return task, dataset


def resolve(
    task: Task, dataset: Dataset, request: JobIn, problems: Sequence[Problem] = ()
) -> ResolvedJobConfig:
    """Fill in the defaults. Raises `Invalid` with every fault; `problems` are the faults known already."""
    options = check_options(task, request.options)
    if dataset.task != task.name:  # the task cannot read the summary of another task's data
        _refuse([Problem("/dataset", f"this data set was uploaded for {dataset.task}"), *problems])
    if not dataset.summary.get("trainable", True):
        _refuse([Problem("/dataset", f"this data set cannot be trained on: {dataset.summary['reason']}")])
    defaults = task.defaults(dataset.summary, options)
    network = NETWORK | defaults.network | explicit_fields(request.network)
    training = TRAINING | defaults.training | explicit_fields(request.training)
    names, direction = _check_names(task, defaults, request), _check_direction(task, network)
    _refuse([*names, *direction, *problems, *task.check(dataset.summary, options)])
    return ResolvedJobConfig(network, training, options.model_dump(mode="json"))


def add_job(session: Session, request: JobIn, kind: str, **columns: Any) -> Job:
    """Add a queued job with its first event; `columns` are further columns of the row."""
    job = Job(
        id=new_id("job"), kind=kind, task=request.task, dataset_id=request.dataset, model=request.model,
        job_metadata=request.metadata, priority=request.priority, events=1, **columns,
    )  # fmt: skip
    queued = JobEvent(job_id=job.id, seq=1, type="status", data={"status": Status.QUEUED})
    session.add_all([job, queued])  # and no UPDATE of the event counter: jobs come in bursts
    session.flush()
    return job


def warn_without_worker(session: Session, job: Job, device: str) -> None:
    """Add a warning to a queued job if it asks for a CUDA device while no training worker lives."""
    if device not in ANYWHERE and not devices.live_devices(session):
        message = f"No training worker is running; the job waits for one that has {device}."
        append_events(session, job.id, [("warning", {"message": message})])


def explicit_fields(part: BaseModel) -> Json:
    """Return the fields that a request sets itself, without those it leaves to the defaults."""
    return {name: value for name, value in part.model_dump(exclude_unset=True).items() if value is not None}


def check_options(task: Task, options: Json) -> Any:
    """Parse the task's options; raises `Invalid`, every fault with a pointer below `/options`."""
    try:
        return task.options.model_validate(options, strict=True)
    except ValidationError as invalid:
        errors = [error | {"loc": (OPTIONS, *error["loc"])} for error in invalid.errors(include_url=False)]
        problems = pydantic_problems(errors, {OPTIONS: options}, unknown_field(JobIn, task.name))
        raise Invalid(f"The options do not fit the task: {describe_problems(problems)}", problems) from None


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise Invalid(f"This job cannot be trained: {describe_problems(problems)}", problems)


def _check_names(task: Task, defaults: Defaults, request: JobIn) -> list[Problem]:
    """Return a problem for each network or training setting that the task does not have for this data set."""
    parts = (("network", NETWORK, defaults.network), ("training", TRAINING, defaults.training))
    return [
        Problem(pointer(part, name), f"{task.name} has no {name} with this data set")
        for part, common, own in parts
        for name in explicit_fields(getattr(request, part))
        if name not in common and name not in own
    ]


def _check_direction(task: Task, network: Json) -> list[Problem]:
    if not network.get("bidirectional") or task.bidirectional:
        return []
    detail = f"{task.name} reads only the past: a bidirectional network sees the future"
    return [Problem("/network/bidirectional", detail)]


def check_model_task(session: Session, request: JobIn) -> list[Problem]:
    """Return a problem if the model exists and is for another task."""
    model = session.get(Model, (own_project(session), request.model))
    if model is None or model.task == request.task:
        return []
    detail = f"the model {request.model} is for {model.task}"
    if latest_number(session, request.model) is None:
        detail += "; it has no version left, so DELETE it to use its name for another task"
    return [Problem("/model", detail)]
