"""What takes several calls, as flows: from data to data sets, to versions and to predictions."""

import json
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recurra import operations
from recurra.errors import Conflict, InvalidInput, JobFailed, Json, NotFound, RequestRefused, refused
from recurra.operations import Query, quoted
from recurra.progress import ProgressView, progress_view
from recurra.protocol.steps import Compute, Flow, handled
from recurra.records import DatasetRecord
from recurra.results import parse_piece
from recurra.tasks import requested_task, task_named
from recurra.tasks.contract import PredictionInputs, PreparedFile, Schema, TaskInputs, as_list, warn
from recurra.tasks.places import with_hint, with_places

PRODUCTION = "production"  # the alias that answers where nothing is named
MAX_REQUEST_INSTANCES = 1_024
MAX_REQUEST_CELLS = 1 << 20  # numbers and short texts; a quarter of what the service takes
MAX_NAME_CHARS = 255  # of a data set; the service cuts the rest off
CELL_CHARS = 16  # of a text
DATASET_ID = re.compile(r"ds_\w+", re.ASCII)
RESULT_NAME = "result.jsonl"


@dataclass(frozen=True)
class TrainingRequest:
    """Data, and what to train on them; `settings` are roles of columns and options of the task."""

    data: Any
    task: str
    model: str
    answers: Any = None
    network: Json = field(default_factory=dict)
    training: Json = field(default_factory=dict)
    metadata: Json = field(default_factory=dict)
    columns: Mapping[str, str] | None = None
    name: str | None = None
    settings: Json = field(default_factory=dict)
    progress: bool = True


def split_settings(
    task: TaskInputs, columns: Mapping[str, str] | None, settings: Json, *, strict: bool = False
) -> tuple[dict[str, str], Json]:
    """The user's columns by their canonical names, and what is left of the keywords of a call.

    Raises `InvalidInput` if something is left where nothing may be.
    """
    named, rest = dict(columns or {}), dict(settings)
    for role, canonical in task.roles.items():
        if isinstance(rest.get(role), str):
            named[canonical] = rest.pop(role)
    if strict and rest:
        raise InvalidInput(f"{next(iter(rest))} is no role of a column; there are {', '.join(task.roles)}")
    return named, rest


def queue_training(data: Any, answers: Any, task: str, model: str, request: Json) -> Flow[Json]:
    """Upload and queue the job of a call whose further keywords are `request`."""
    fields = TrainingRequest.__dataclass_fields__.keys() - {"data", "answers", "task", "model", "settings"}
    known = {name: value for name, value in request.items() if name in fields and value is not None}
    settings = {name: value for name, value in request.items() if name not in fields}
    made = TrainingRequest(data, task, model, answers, settings=settings, **known)
    with progress_view(enabled=made.progress) as view:
        return (yield from start_training(made, view))


def start_training(request: TrainingRequest, view: ProgressView) -> Flow[Json]:
    """Upload what is not uploaded yet, and queue the job."""
    task = requested_task(request.task)
    columns, options = split_settings(task, request.columns, request.settings)
    dataset = yield from add_dataset(task, request.data, request.answers, columns, request.name, view)
    body = {"task": request.task, "dataset": dataset["id"], "model": request.model}
    parts = {
        "network": request.network, "training": request.training, "metadata": request.metadata,
        "options": task.options(options),
    }  # fmt: skip
    return (
        yield from operations.create("/v1/jobs", body | {name: part for name, part in parts.items() if part})
    )


def train(request: TrainingRequest) -> Flow[Json]:
    """Train, and wait; the job, which has succeeded. Raises `JobFailed`."""
    with progress_view(enabled=request.progress) as view:
        job = yield from start_training(request, view)
        return (yield from wait_for_job(job, view))


def wait(job: Json, *, progress: bool) -> Flow[Json]:
    """The job at its end; raises `JobFailed` if it did not succeed."""
    with progress_view(enabled=progress) as view:
        return (yield from wait_for_job(job, view))


def wait_for_job(job: Json, view: ProgressView) -> Flow[Json]:
    """The same, shown in a view that is there."""
    states = [job]

    def show(state: Json) -> None:
        states.append(state)
        view.job(state)

    yield from handled(operations.watch(job["id"]), show)
    if states[-1]["status"] != "succeeded":
        raise JobFailed(states[-1])
    return states[-1]


def upload_data(
    data: Any,
    answers: Any,
    task: str,
    columns: Mapping[str, str] | None,
    roles: Json,
    name: str | None,
    *,
    progress: bool,
) -> Flow[Json]:
    """The data set of what a user passes, uploaded unless it is there."""
    inputs = requested_task(task)
    named, _ = split_settings(inputs, columns, roles, strict=True)
    with progress_view(enabled=progress) as view:
        return (yield from add_dataset(inputs, data, answers, named, name, view))


def add_dataset(
    task: TaskInputs,
    data: Any,
    answers: Any,
    columns: Mapping[str, str],
    name: str | None,
    view: ProgressView,
) -> Flow[Json]:
    """The data set of a frame, of lists, of a file's path, or of one that is there."""
    if isinstance(data, DatasetRecord):
        return data.data
    if is_dataset_id(data):
        return (yield from operations.get(quoted("datasets", data)))
    if isinstance(data, Path) or (isinstance(data, str) and _is_file(data)):
        path = Path(data)
        if answers is not None:
            raise InvalidInput("a file has its answers in it; without them pass its content")
        file = PreparedFile(path, None, columns)
        return _named((yield from _upload(task.name, file, name or path.name, view)), name)
    with tempfile.TemporaryDirectory(prefix="recurra-") as folder:
        prepared = yield Compute(lambda: task.write(data, answers, columns, Path(folder)))
        return _named((yield from _upload(task.name, prepared, name, view)), name)


def _named(dataset: Json, name: str | None) -> Json:
    """A data set; a warning says so where the service has the same data under another name."""
    if name and dataset["name"] != name[:MAX_NAME_CHARS]:
        there = f"{dataset['name']!r} ({dataset['id']})"
        warnings.warn(
            f"these data are stored already, as {there}; they keep that name, not {name!r}", stacklevel=2
        )
    return dataset


def is_dataset_id(data: Any) -> bool:
    """Whether it is a data set's id, and no file of that name is there."""
    return isinstance(data, str) and DATASET_ID.fullmatch(data) is not None and not Path(data).exists()


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # too long for a path, such as a text to learn from
        return False


def _upload(task: str, file: PreparedFile, name: str | None, view: ProgressView) -> Flow[Json]:
    columns = {canonical: column for canonical, column in file.columns.items() if canonical != column}
    fields = {"name": name, "format": file.format, "columns": json.dumps(columns) if columns else None}
    known = {key: value for key, value in fields.items() if value is not None}
    report = view.sending(file.path.name, file.path.stat().st_size)
    try:
        return (yield from operations.upload(file.path, task, known, report))
    except RequestRefused as error:
        raise refused(with_hint(with_places(error.problem, "file", file.place), file.hint)) from None


def read_schema(model: str, which: Query) -> Flow[Schema]:
    """What the version that answers was trained on."""
    number = which.get("version")
    if number is None:
        aliases: Json = (yield from operations.get(quoted("models", model)))["aliases"]
        number = aliases.get(str(which.get("alias", PRODUCTION)))
    version = yield from operations.version(model, None if number is None else int(number))
    try:
        dataset = yield from operations.get(quoted("datasets", version["dataset"]))
    except NotFound:
        dataset = None
    return Schema(version, dataset)


@dataclass(frozen=True)
class Question:
    """What a model is asked; `settings` are roles of columns and parameters of the task."""

    model: str
    task: str
    which: Query
    data: Any
    columns: Mapping[str, str] | None = None
    settings: Json = field(default_factory=dict)
    timeout: float | None = None  # seconds


def predict(question: Question) -> Flow[Any]:
    """The answers to all instances, in the form of the data; all of them by one version."""
    path, task = quoted("models", question.model, "predict"), task_named(question.task)
    schema = yield from read_schema(question.model, question.which)
    columns, settings = split_settings(task, question.columns, question.settings)
    parameters = task.parameters(settings, schema)
    dataset = question.data.id if isinstance(question.data, DatasetRecord) else question.data
    if isinstance(question.data, DatasetRecord) or is_dataset_id(dataset):
        body = {"dataset": dataset} | ({"parameters": parameters} if parameters else {})
        answer = yield from operations.ask(path, body, question.which, question.timeout)
        warn([one.get("item_id") for one in answer["predictions"]], answer["predictions"])
        return [task.parse(prediction) for prediction in answer["predictions"]]
    inputs: PredictionInputs = yield Compute(lambda: task.inputs(question.data, columns, schema, settings))
    parts = yield Compute(lambda: list(divided(inputs.instances)))
    predictions, which = list[Json](), question.which
    for part in parts:
        body = operations.prediction_body(part, parameters)
        try:
            answer = yield from operations.ask(path, body, which, question.timeout)
        except RequestRefused as error:
            raise refused(with_places(error.problem, "instances", inputs.place, len(predictions))) from None
        predictions += answer["predictions"]
        which = {"version": answer["version"]}
    return (yield Compute(lambda: inputs.finish(predictions)))


def stream(question: Question) -> Flow[None]:
    """Give each piece of the answer to one instance, as it comes."""
    task = task_named(question.task)
    schema = yield from read_schema(question.model, question.which)
    columns, settings = split_settings(task, question.columns, question.settings)
    parameters = task.parameters(settings, schema)
    inputs = yield Compute(lambda: task.inputs(question.data, columns, schema, settings))
    if len(inputs.instances) != 1:
        raise InvalidInput(f"a stream answers one instance, not {len(inputs.instances)}")
    pieces = operations.stream(question.model, inputs.instances, parameters, question.which)
    yield from handled(pieces, lambda piece: None if "predictions" in piece else parse_piece(piece))


def divided(instances: Sequence[Any]) -> Iterator[list[Any]]:
    """Instances in parts that the service takes in one request."""
    part, cells = list[Any](), 0
    for instance in instances:
        size = count_cells(instance)
        if part and (len(part) >= MAX_REQUEST_INSTANCES or cells + size > MAX_REQUEST_CELLS):
            yield part
            part, cells = [], 0
        part.append(instance)
        cells += size
    yield part


def count_cells(value: Any) -> int:
    """How much of a request a value is: numbers count one, texts by their length."""
    if isinstance(value, dict):
        return sum(map(count_cells, value.values()))
    if isinstance(value, list):
        return sum(map(count_cells, value))
    return 1 + len(value) // CELL_CHARS if isinstance(value, str) else 1


@dataclass(frozen=True)
class EvaluationRequest:
    """On which data to evaluate a model, and how; `settings` are roles of columns and parameters."""

    model: str
    task: str
    data: Any
    answers: Any = None
    versions: Sequence[int] | None = None
    windows: int | None = None
    step: int | None = None
    refit: bool = False
    baselines: Sequence[str] = ()
    columns: Mapping[str, str] | None = None
    settings: Json = field(default_factory=dict)
    progress: bool = True


def evaluate(request: EvaluationRequest) -> Flow[Json]:
    """The job of the evaluation, which has succeeded; raises `JobFailed`."""
    task = task_named(request.task)
    which = {"version": request.versions[0]} if request.versions else {}
    schema = yield from read_schema(request.model, which)
    columns, settings = split_settings(task, request.columns, request.settings)
    with progress_view(enabled=request.progress) as view:
        named = {**schema.columns, **columns}
        dataset = yield from add_dataset(task, request.data, request.answers, named, None, view)
        body: Json = {"dataset": dataset["id"], "parameters": task.parameters(settings, schema)}
        chosen = {
            "versions": as_list(request.versions) if request.versions else None,
            "windows": request.windows, "step": request.step, "refit": request.refit or None,
            "baselines": list(request.baselines) or None,
        }  # fmt: skip
        body |= {name: value for name, value in chosen.items() if value is not None}
        job = yield from operations.create(quoted("models", request.model, "evaluations"), body)
        return (yield from wait_for_job(job, view))


def read_result(job_id: str) -> Flow[list[Json]]:
    """The lines of a batch prediction or an evaluation."""
    with tempfile.TemporaryDirectory(prefix="recurra-") as folder:
        path = Path(folder, RESULT_NAME)
        try:
            yield from operations.save(quoted("jobs", job_id, "result"), path)
        except Conflict as error:
            detail = f"{error.detail.rstrip('.')}; wait for it with job.wait()"
            raise refused(error.problem | {"detail": detail}) from None
        lines: list[Json] = yield Compute(
            lambda: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        )
        return lines
