"""Jobs as their owners see them: submit, read, list, cancel, delete."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.database.tables import Dataset, Job, JobEvent, Model
from app.errors import Conflict, Invalid, NotFound, Problem, pointer
from app.hyperparameters.options import NETWORK, TRAINING
from app.identifiers import new_id
from app.schemas import JobIn
from app.services.paging import Paging
from app.states import LIVE, SWEEP, TERMINAL, Status
from app.tasks import TASKS
from app.tasks.contract import Defaults, Task
from app.typedefs import Json


@dataclass(frozen=True)
class Settings:
    """What a job runs with, every default filled in."""

    network: Json
    training: Json
    options: Json


def submit(session: Session, request: JobIn) -> Job:
    """Check that everything fits together and store a queued job; the caller commits and rings."""
    task, dataset = named(session, request)
    settings = settle(task, dataset, request, other_task(session, request))
    return store(session, request, "train", **asdict(settings))


def named(session: Session, request: JobIn) -> tuple[Task, Dataset]:
    """The task and the data set, which is not deleted before the transaction ends."""
    task = TASKS.get(request.task)
    if task is None:
        raise Invalid(problems=[Problem("/task", f"no such task; there are {', '.join(sorted(TASKS))}")])
    dataset = session.get(Dataset, request.dataset, with_for_update={"read": True})
    if dataset is None:
        raise NotFound(f"There is no data set {request.dataset}")
    return task, dataset


def settle(task: Task, dataset: Dataset, request: JobIn, also: Sequence[Problem] = ()) -> Settings:
    """Check that everything fits together, and fill the defaults in; `also` is known to be wrong already."""
    options = check_options(task, request.options)
    if dataset.task != task.name:  # whose summary says nothing to this task
        _refuse([Problem("/dataset", f"this data set was uploaded for {dataset.task}"), *also])
    defaults = task.defaults(dataset.summary, options)
    network = NETWORK | defaults.network | given(request.network)
    training = TRAINING | defaults.training | given(request.training)
    misfits = _misfits(task, network)
    _refuse([*_unknown(task, defaults, request), *misfits, *also, *task.check(dataset.summary, options)])
    return Settings(network, training, options.model_dump(mode="json"))


def store(session: Session, request: JobIn, kind: str, **more: Any) -> Job:
    """Add a queued job."""
    job = Job(
        id=new_id("job"), kind=kind, task=request.task, dataset_id=request.dataset, model=request.model,
        job_metadata=request.metadata, events=1, **more,
    )  # fmt: skip
    born = JobEvent(job_id=job.id, seq=1, type="status", data={"status": Status.QUEUED})
    session.add_all([job, born])  # without another look at the row: jobs come in bursts
    session.flush()
    return job


def given(part: BaseModel) -> Json:
    """The fields a request names, without those it leaves to the defaults."""
    return {name: value for name, value in part.model_dump(exclude_unset=True).items() if value is not None}


def check_options(task: Task, options: Json) -> Any:
    """The task's options from what was sent; every fault has a pointer below `/options`."""
    try:
        return task.options.model_validate(options, strict=True)
    except ValidationError as wrong:
        problems = [
            Problem(pointer("options", *error["loc"]), error["msg"])
            for error in wrong.errors(include_url=False)
        ]
        raise Invalid(f"The options do not fit the task: {problems[0].detail}", problems) from None


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise Invalid(f"This job cannot be trained: {problems[0].detail}", problems)


def _unknown(task: Task, defaults: Defaults, request: JobIn) -> list[Problem]:
    """Settings that this task has no use for with this data set."""
    parts = (("network", NETWORK, defaults.network), ("training", TRAINING, defaults.training))
    return [
        Problem(pointer(part, name), f"{task.name} has no {name} with this data set")
        for part, common, own in parts
        for name in given(getattr(request, part))
        if name not in common and name not in own
    ]


def _misfits(task: Task, network: Json) -> list[Problem]:
    if not network.get("bidirectional") or task.bidirectional:
        return []
    detail = f"{task.name} reads only the past: a bidirectional network sees the future"
    return [Problem("/network/bidirectional", detail)]


def other_task(session: Session, request: JobIn) -> list[Problem]:
    """That the model is for another task, if it is."""
    model = session.get(Model, request.model)
    if model is None or model.task == request.task:
        return []
    return [Problem("/model", f"the model {request.model} is for {model.task}")]


def get(session: Session, job_id: str) -> Job:
    """The job; raises `NotFound`."""
    job = session.get(Job, job_id)
    if job is None:
        raise NotFound(f"There is no job {job_id}")
    return job


def find(session: Session, paging: Paging, filters: dict[str, str]) -> list[Job]:
    """Jobs newest first, at most one more than the page holds."""
    query = select(Job).where(*(getattr(Job, name) == value for name, value in filters.items()))
    return list(session.scalars(paging.apply(query, Job.id)))


def events(session: Session, job_id: str, after: int, limit: int) -> list[JobEvent]:
    """Events with a higher number than `after`, oldest first, at most one more than `limit`."""
    query = select(JobEvent).where(JobEvent.job_id == job_id, JobEvent.seq > after)
    return list(session.scalars(query.order_by(JobEvent.seq).limit(limit + 1)))


def curves(session: Session, job_id: str) -> list[Json]:
    """What each epoch reported; of one that was trained again after an interruption, what it said last."""
    get(session, job_id)
    query = select(JobEvent.data).where(JobEvent.job_id == job_id, JobEvent.type == "epoch")
    epochs: list[Json] = []
    for data in session.scalars(query.order_by(JobEvent.seq)):
        while epochs and _place(epochs[-1]) >= _place(data):
            epochs.pop()
        epochs.append(data)
    return epochs


def _place(epoch: Json) -> tuple[int, int]:
    return epoch.get("stage", 0), epoch["epoch"]


def remove(session: Session, job_id: str) -> None:
    """Delete a finished job and its history; with a sweep its runs, of which none can be deleted alone."""
    job = get(session, job_id)
    if job.sweep_id is not None:
        raise Conflict(f"The job is a run of {job.sweep_id}; delete that sweep")
    if job.status in LIVE:
        raise Conflict(f"The job is {job.status}; cancel it first")
    ids = [job_id, *(runs(session, job_id) if job.kind == SWEEP else ())]
    session.execute(delete(JobEvent).where(JobEvent.job_id.in_(ids)))
    session.execute(delete(Job).where(Job.id.in_(ids), Job.status.in_(TERMINAL)))


def runs(session: Session, sweep_id: str) -> list[str]:
    """The runs of a sweep that has ended; raises `Conflict` while one of them has not."""
    query = select(Job.id, Job.status).where(Job.sweep_id == sweep_id).order_by(Job.id)
    found = session.execute(query).all()
    for job_id, status in found:
        if status in LIVE:
            raise Conflict(f"The sweep's run {job_id} is still {status}; try again shortly")
    return [job_id for job_id, _ in found]
