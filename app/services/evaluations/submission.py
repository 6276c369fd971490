"""Submitting evaluations: requests are checked against versions, task and data set, and the job is queued."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.database.projects import own_project
from app.database.tables import Dataset, Job, JobVersion, ModelVersion
from app.errors import Invalid, NotFound, Problem, describe_problems, pointer
from app.identifiers import new_id
from app.infrastructure.events.job_events import append_events
from app.infrastructure.storage import Storage
from app.schemas import EvaluationIn
from app.services.jobs.batch_predictions import load_manifest, parse_parameters
from app.services.jobs.memory_estimate import check_memory
from app.services.jobs.submission import check_options
from app.services.models import versions
from app.states import EVALUATE, Status
from app.tasks import TASKS
from app.tasks.contract import Task
from app.tasks.evaluation.contract import EvaluatedTask, EvaluationSettings, TaskEvaluation
from app.typedefs import Json
from app.validation.names import unknown_name

MAX_REFITS = 24  # trainings of one evaluation


@dataclass(frozen=True)
class PublishedVersion:
    """A version and its manifest."""

    row: ModelVersion
    manifest: Json


def find_versions(
    session: Session, storage: Storage, name: str, numbers: Sequence[int] | None
) -> list[PublishedVersion]:
    """Return the versions with these numbers, or the one that `production` answers with.

    Raises `NotFound`, with a pointer to each number that does not exist.
    """
    versions.get_model(session, name)
    if numbers is None:
        rows = [versions.resolve_version(session, name, None, None)]
    else:
        project = own_project(session)
        by_number = {number: session.get(ModelVersion, (project, name, number)) for number in numbers}
        missing = [
            Problem(pointer("versions", index), f"there is no version {number}")
            for index, number in enumerate(numbers)
            if by_number[number] is None
        ]
        if missing:
            raise NotFound(f"The model {name} lacks a version: {describe_problems(missing)}", missing)
        rows = [row for row in by_number.values() if row is not None]
    return [PublishedVersion(row, load_manifest(storage, row)) for row in rows]


def submit(session: Session, published: Sequence[PublishedVersion], request: EvaluationIn) -> Job:
    """Check a request and queue its job; the caller commits, then notifies the workers.

    Raises `NotFound`, and `Invalid` when the versions cannot be evaluated on the data set.
    """
    _lock_versions(session, published)
    dataset = session.get(Dataset, request.dataset, with_for_update={"read": True})
    if dataset is None:
        raise NotFound(f"There is no data set {request.dataset}")
    first = published[0].row
    task = TASKS.get(first.task)
    if task is None or not isinstance(task, EvaluatedTask):
        raise Invalid(f"The model {first.model} is for {first.task}, which cannot be evaluated here")
    parsed = parse_parameters(task, request.parameters)
    if dataset.task != task.name:  # the task cannot read the summary of another task's data
        _refuse([Problem("/dataset", f"this data set was uploaded for {dataset.task}")])
    reference = _reference(session, first)
    baselines, problems = _choose_baselines(task.evaluation, dataset, request, reference)
    settings = EvaluationSettings(tuple(baselines), request.windows, request.step, request.refit)
    _refuse([*problems, *_check_windows(task.evaluation, len(published), request)])
    _refuse(_check_dataset(task, task.evaluation, dataset.summary, published, parsed, settings))
    if request.refit:
        _refuse(_check_refits(session, task, dataset, published))
    needs_training = any(task.evaluation.baselines[name] for name in baselines)
    return _add_job(session, published, request, baselines, reference if needs_training else None)


def _refuse(problems: Sequence[Problem]) -> None:
    if problems:
        raise Invalid(f"This evaluation cannot be made: {describe_problems(problems)}", problems)


def _lock_versions(session: Session, published: Sequence[PublishedVersion]) -> None:
    """Keep the versions from being deleted before the job that needs them is stored; raises `NotFound`."""
    for row in sorted((one.row for one in published), key=lambda row: row.version):
        key = (row.project, row.model, row.version)
        if session.get(ModelVersion, key, with_for_update={"read": True}, populate_existing=True) is None:
            raise NotFound(f"The model {row.model} has no version {row.version}")


def _reference(session: Session, version: ModelVersion) -> str | None:
    """Return the id of the data set that a version was trained on; None if it was deleted."""
    row = session.get(Dataset, version.dataset_id, with_for_update={"read": True})
    return None if row is None else row.id


def _choose_baselines(
    evaluation: TaskEvaluation, dataset: Dataset, request: EvaluationIn, reference: str | None
) -> tuple[list[str], list[Problem]]:
    """The baselines to compute: those of every evaluation, as far as there is what they learn from."""
    problems = []
    for index, name in enumerate(request.baselines):
        at = pointer("baselines", index)
        if name not in evaluation.baselines:
            problems.append(Problem(at, unknown_name("baseline", name, sorted(evaluation.baselines))))
        elif evaluation.baselines[name] and reference is None:
            detail = "it learns from the data set that the first version was trained on, which was deleted"
            problems.append(Problem(at, detail))
    if problems:
        return [], problems
    always = [
        name
        for name in evaluation.always(dataset.summary)
        if reference is not None or not evaluation.baselines[name]
    ]
    return list(dict.fromkeys([*always, *request.baselines])), []


def _check_windows(evaluation: TaskEvaluation, versions_count: int, request: EvaluationIn) -> list[Problem]:
    if not evaluation.has_windows:
        return [
            Problem(pointer(name), "only forecasts have windows of time")
            for name in ("windows", "step", "refit")
            if name in request.model_fields_set
        ]
    if request.refit and request.windows * versions_count > MAX_REFITS:
        detail = (
            f"{request.windows} windows of {versions_count} versions are more than {MAX_REFITS} trainings"
        )
        return [Problem("/windows", detail)]
    return []


def _check_dataset(
    task: Task,
    evaluation: TaskEvaluation,
    summary: Json,
    published: Sequence[PublishedVersion],
    parsed: Any,
    settings: EvaluationSettings,
) -> list[Problem]:
    """Whether every version can read the data set, and whether there is something to compare with."""
    states = [one.manifest["state"] for one in published]
    problems = [problem for state in states for problem in task.check_dataset(summary, state, parsed)]
    return list(dict.fromkeys(problems)) or evaluation.check(summary, states, parsed, settings)


def _check_refits(
    session: Session, task: Task, dataset: Dataset, published: Sequence[PublishedVersion]
) -> list[Problem]:
    """Whether each version's training could be repeated with this data set, on a worker that lives."""
    problems = []
    for one in published:
        options = check_options(task, one.manifest["options"])
        training = one.manifest["training"] | {"device": "auto"}
        config = (one.manifest["network"], training)
        details = [
            *task.check(dataset.summary, options),
            *check_memory(session, task, dataset.summary, options, config),
        ]
        if details:
            reason = f"version {one.row.version} cannot be trained on it: {describe_problems(details)}"
            problems.append(Problem("/refit", reason))
    return problems


def _add_job(
    session: Session,
    published: Sequence[PublishedVersion],
    request: EvaluationIn,
    baselines: list[str],
    reference: str | None,
) -> Job:
    first = published[0].row
    numbers = [one.row.version for one in published]
    job = Job(
        id=new_id("job"),
        kind=EVALUATE,
        task=first.task,
        dataset_id=request.dataset,
        model=first.model,
        network=first.network,
        training={},
        options={
            "versions": numbers,
            "parameters": request.parameters,
            "windows": request.windows,
            "step": request.step,
            "refit": request.refit,
            "baselines": baselines,
            "training_dataset": reference,
        },
        job_metadata={},
        priority=request.priority,
    )
    session.add(job)
    session.flush()
    session.add_all([JobVersion(job_id=job.id, version=number) for number in numbers])
    append_events(session, job.id, [("status", {"status": Status.QUEUED})])
    session.refresh(job)
    return job
