"""Fine-tuning jobs of OpenAI's interface: each is a training job of this service."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field, StringConstraints, ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database.tables import Dataset, Job, JobEvent
from app.errors import Invalid, NotFound, Problem
from app.hyperparameters.options import NETWORK, TRAINING, StrictModel
from app.schemas import JobIn
from app.services.jobs import queries, submission
from app.services.models import versions
from app.services.openai.completions import MODEL_SEPARATOR
from app.services.openai.pages import OpenaiPaging
from app.states import Status
from app.tasks import TASKS
from app.typedefs import Json
from app.validation.schema_errors import pydantic_problems

TRAIN = "train"  # the kind of these jobs
SETTINGS = ("network", "training", "options")  # parts of a job that metadata may set, as `network.layers`
CELLS: tuple[str, ...] = ("lstm", "gru", "rnn")  # names of `model` that mean a new network
EVENT_PREFIX = "ftevent-"
CHECKPOINT_PREFIX = "ftckpt-"
LEVELS = {"warning": "warn"}  # of events, by their type
# Where what is wrong with a job stands in the request that it was made of.
PLACES = {"/model": "/suffix", "/dataset": "/training_file", "/task": "/training_file"}

AutoNumber = Literal["auto"] | None


class FineTuningHyperparameters(StrictModel):
    """How to train; `auto` is the task's default."""

    n_epochs: Annotated[int, Field(ge=1, le=10_000)] | AutoNumber = None
    batch_size: Annotated[int, Field(ge=1, le=65_536)] | AutoNumber = None
    learning_rate_multiplier: Annotated[float, Field(gt=0, le=1_000)] | AutoNumber = None


class SupervisedMethod(StrictModel):
    """Training on examples."""

    hyperparameters: FineTuningHyperparameters = Field(default_factory=FineTuningHyperparameters)


class FineTuningMethod(StrictModel):
    """The method of a fine-tuning."""

    type: Literal["supervised"] = "supervised"
    supervised: SupervisedMethod = Field(default_factory=SupervisedMethod)


class FineTuningJobIn(StrictModel):
    """A fine-tuning to submit: `model` is the cell of a new network, or a model that gets another version.

    `metadata` may set what a job has beside: `{"network.hidden_size": "256", "options.tokens": "word"}`.
    """

    model: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    training_file: Annotated[str, StringConstraints(max_length=64)]
    validation_file: Annotated[str, StringConstraints(max_length=64)] | None = None
    suffix: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    hyperparameters: FineTuningHyperparameters | None = None
    method: FineTuningMethod | None = None
    metadata: (
        Annotated[
            dict[
                Annotated[str, StringConstraints(max_length=64)],
                Annotated[str, StringConstraints(max_length=512)],
            ],
            Field(max_length=16),
        ]
        | None
    ) = None
    integrations: Annotated[list[Json], Field(max_length=0)] | None = None


def submit(session: Session, request: FineTuningJobIn) -> Job:
    """Check a request and queue its training job; the caller commits, then notifies the workers."""
    if request.validation_file is not None:
        detail = "not supported: a field `split` of the lines (train, valid, test) fixes what is held out"
        raise Invalid(problems=[Problem("/validation_file", detail)])
    dataset = session.get(Dataset, request.training_file)
    if dataset is None:
        raise NotFound(f"There is no file {request.training_file}")
    _check_model(session, request.model)
    try:
        return submission.submit(session, _job_of(request, dataset))
    except Invalid as error:
        raise Invalid(problems=[_in_request(problem) for problem in error.problems]) from None


def _check_model(session: Session, name: str) -> None:
    """Raise `Invalid` where `model` is neither a cell nor a model that there is."""
    if name not in CELLS and versions.latest_number(session, name) is None:
        detail = f"{name!r} is no model here; a new network is one of {', '.join(CELLS)}"
        raise Invalid(problems=[Problem("/model", detail)])


def _in_request(problem: Problem) -> Problem:
    part = problem.pointer.split("/")[1] if problem.pointer else ""
    if part in SETTINGS:
        name = problem.pointer.removeprefix("/").replace("/", ".", 1)
        return Problem("/metadata", f"{name}: {problem.detail}")
    return problem._replace(pointer=PLACES.get(problem.pointer, problem.pointer))


def _job_of(request: FineTuningJobIn, dataset: Dataset) -> JobIn:
    """The training job that a request means; raises `Invalid`."""
    settings: dict[str, Json] = {part: {} for part in SETTINGS}
    for name, text in (request.metadata or {}).items():
        part, _, setting = name.partition(".")
        if part in SETTINGS and setting:
            settings[part][setting] = _parse(text)
    if request.model in CELLS:
        settings["network"].setdefault("cell", request.model)
    settings["training"] |= _training(request, dataset, settings["options"])
    body = {
        "task": dataset.task,
        "dataset": dataset.id,
        "model": _model_name(request),
        "metadata": request.metadata or {},
        **settings,
    }
    try:
        return JobIn.model_validate(body)
    except ValidationError as error:
        problems = pydantic_problems(error.errors(include_url=False), body)
        raise Invalid(problems=problems) from None


def _model_name(request: FineTuningJobIn) -> str:
    """The name of the model: the suffix, or the named one, or one that is made of cell and file."""
    if request.suffix is not None:
        return request.suffix
    return f"{request.model}-{request.training_file}" if request.model in CELLS else request.model


def _parse(text: str) -> Any:
    """The value of a setting: JSON, or else the text itself."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _training(request: FineTuningJobIn, dataset: Dataset, options: Json) -> Json:
    """The settings of a training that the hyperparameters mean."""
    own = request.method.supervised.hyperparameters if request.method else None
    own = own or request.hyperparameters or FineTuningHyperparameters()
    values = {"epochs": own.n_epochs, "batch_size": own.batch_size, "seed": request.seed}
    training: Json = {name: value for name, value in values.items() if value not in (None, "auto")}
    multiplier, task = own.learning_rate_multiplier, TASKS.get(dataset.task)
    if isinstance(multiplier, float | int) and task is not None:
        defaults = task.defaults(dataset.summary, submission.check_options(task, options))
        training["learning_rate"] = float((TRAINING | defaults.training)["learning_rate"] * multiplier)
    return training


def get_job(session: Session, job_id: str) -> Job:
    """The training job; raises `NotFound` for another kind of job too."""
    job = queries.get_job(session, job_id)
    if job.kind != TRAIN:
        raise NotFound(f"The job {job_id} is of kind {job.kind}, no fine-tuning")
    return job


def list_jobs(session: Session, paging: OpenaiPaging) -> list[Job]:
    """The page's training jobs but for the runs of sweeps, newest first, and one more if there are more."""
    query = select(Job).where(Job.kind == TRAIN, Job.sweep_id.is_(None))
    return list(session.scalars(paging.apply(query, Job.id)))


def job_object(job: Job) -> Json:
    """A training job as OpenAI's clients read a fine-tuning."""
    numbers: Json = {
        "n_epochs": job.training.get("epochs", "auto"),
        "batch_size": job.training.get("batch_size", "auto"),
        "learning_rate_multiplier": "auto",
    }
    eta = (job.progress or {}).get("eta_seconds")
    error = None
    if job.error_code is not None:
        error = {"code": job.error_code, "message": job.error_message or "", "param": None}
    return {
        "id": job.id,
        "object": "fine_tuning.job",
        "created_at": int(job.created_at),
        "finished_at": None if job.finished_at is None else int(job.finished_at),
        "estimated_finish": None if eta is None else int(job.updated_at + eta),
        "model": job.network.get("cell", NETWORK["cell"]),
        "fine_tuned_model": fine_tuned_model(job),
        "organization_id": job.project,
        "result_files": [],
        "status": job.status,
        "training_file": job.dataset_id,
        "validation_file": None,
        "hyperparameters": numbers,
        "trained_tokens": None,
        "seed": job.training.get("seed"),
        "error": error,
        "method": {"type": "supervised", "supervised": {"hyperparameters": numbers}},
        "metadata": {name: str(value) for name, value in job.job_metadata.items()},
        "integrations": [],
    }


def fine_tuned_model(job: Job) -> str | None:
    """The name by which completions are asked of the version that a job made; None before."""
    return None if job.model_version is None else f"{job.model}{MODEL_SEPARATOR}{job.model_version}"


def list_events(session: Session, job_id: str, paging: OpenaiPaging) -> list[JobEvent]:
    """The page's events of a job, newest first, and one more if there are more; raises `Invalid`."""
    get_job(session, job_id)
    query = select(JobEvent).where(JobEvent.job_id == job_id)
    if paging.after is not None:
        query = query.where(JobEvent.seq < _event_number(paging.after))
    return list(session.scalars(query.order_by(JobEvent.seq.desc()).limit(paging.limit + 1)))


def _event_number(event_id: str) -> int:
    number = event_id.rpartition("-")[2]
    if not event_id.startswith(EVENT_PREFIX) or not (number.isdecimal() and len(number) < 10):
        raise Invalid(problems=[Problem("/after", "no event of this job")])
    return int(number)


def event_object(event: JobEvent) -> Json:
    """An event of a job's history as OpenAI's clients read it."""
    is_metrics = event.type == "epoch"
    return {
        "id": f"{EVENT_PREFIX}{event.job_id}-{event.seq}",
        "object": "fine_tuning.job.event",
        "created_at": int(event.at),
        "level": LEVELS.get(event.type, "error" if event.data.get("status") == Status.FAILED else "info"),
        "message": _message(event),
        "type": "metrics" if is_metrics else "message",
        "data": event.data,
    }


def _message(event: JobEvent) -> str:
    data = event.data
    if event.type == "status":
        return f"The job is {data['status']}"
    if event.type == "epoch":
        losses = [f"{name} {data[name]:.4g}" for name in ("train_loss", "valid_loss") if data.get(name)]
        return f"Epoch {data['epoch']}: {', '.join(losses)}"
    return str(data.get("message", f"A {event.type} was stored"))


def checkpoint_objects(session: Session, job_id: str) -> Sequence[Json]:
    """The checkpoints that can be used: the version that a job made. Those of its training cannot."""
    job = get_job(session, job_id)
    name = fine_tuned_model(job)
    if name is None or job.finished_at is None:
        return []
    curves = queries.learning_curves(session, job_id)
    last = curves[-1] if curves else {}
    step = int((job.progress or {}).get("step", 0))
    metrics = {name: last.get(name) for name in ("train_loss", "valid_loss")}
    return [
        {
            "id": f"{CHECKPOINT_PREFIX}{job.id}",
            "object": "fine_tuning.job.checkpoint",
            "created_at": int(job.finished_at),
            "fine_tuned_model_checkpoint": name,
            "fine_tuning_job_id": job.id,
            "step_number": step,
            "metrics": {"step": step, **metrics},
        }
    ]
