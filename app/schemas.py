"""Requests and responses of the API, as pydantic models."""

from typing import Annotated, Generic, Literal, TypeVar

import msgspec
from pydantic import (
    BaseModel,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
    field_validator,
)

from app.database.tables import Alias, Dataset, Job, JobEvent, JobLogLine, Model, ModelVersion, Worker
from app.hyperparameters.options import NetworkIn, StrictModel, TrainingIn
from app.patterns import ALIAS_NAME_PATTERN, MODEL_NAME_PATTERN
from app.states import Status
from app.tasks import TASKS
from app.times import rfc3339
from app.typedefs import Json

Item = TypeVar("Item")


Time = Annotated[
    float,
    PlainSerializer(rfc3339, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
ModelName = Annotated[str, StringConstraints(pattern=MODEL_NAME_PATTERN)]
VersionNumber = Annotated[int, Field(ge=1, lt=2**31)]  # as the database can hold it
Text = Annotated[str, StringConstraints(max_length=1 << 16)]  # which also refuses lone surrogates
AliasName = Annotated[str, StringConstraints(pattern=ALIAS_NAME_PATTERN)]

MAX_EVALUATED = 8  # versions of one evaluation

Priority = Annotated[
    int,
    Field(ge=-100, le=100, description="Of a project's queued jobs that with the highest goes first."),
]

# A task by its name. Requests take any text, so that an unknown task is told with the nearest known one.
TASK_NAME_SCHEMA: Json = {"type": "string", "enum": sorted(TASKS)}
TaskName = Annotated[
    str, WithJsonSchema(TASK_NAME_SCHEMA), msgspec.Meta(extra_json_schema={"enum": TASK_NAME_SCHEMA["enum"]})
]


class JobIn(StrictModel):
    """A training job to submit."""

    task: Text
    dataset: Text
    model: ModelName
    network: NetworkIn = Field(default_factory=NetworkIn)
    training: TrainingIn = Field(default_factory=TrainingIn)
    options: Json = Field(default_factory=dict)
    priority: Priority = 0
    metadata: Annotated[
        dict[Text, Text | int | float | bool | None], Field(default_factory=dict, max_length=32)
    ]


class EvaluationIn(StrictModel):
    """What to evaluate versions on, and how; by default the version that `production` answers with.

    Windows are for forecasts: how many, how many steps apart, and whether to train anew before each.
    """

    dataset: Text
    versions: Annotated[list[VersionNumber], Field(min_length=1, max_length=MAX_EVALUATED)] | None = None
    parameters: Json = Field(default_factory=dict)
    windows: Annotated[int, Field(ge=1, le=100)] = 1
    step: Annotated[int, Field(ge=1, le=100_000)] | None = None
    refit: bool = False
    baselines: Annotated[list[Text], Field(default_factory=list, max_length=16)]
    priority: Priority = 0

    @field_validator("versions", "baselines")
    @classmethod
    def _distinct(cls, values: list[object] | None) -> list[object] | None:
        if values is not None and len(set(values)) < len(values):
            raise ValueError("each may be named once")
        return values


class GuardIn(StrictModel):
    """An evaluation by which an alias moves only if the new version is not worse than the present one."""

    evaluation: Text
    metric: Text


class AliasIn(StrictModel):
    """The version that answers, or several with shares that add up to 1; `shadow` computes unseen."""

    version: VersionNumber | None = None
    versions: dict[Text, Annotated[float, Field(gt=0)]] | None = Field(
        default=None, min_length=1, max_length=16, examples=[{"3": 0.9, "4": 0.1}]
    )
    shadow: VersionNumber | None = None
    guard: GuardIn | None = None


class DatasetOut(BaseModel):
    """An uploaded data set."""

    id: str
    object: Literal["dataset"] = "dataset"
    name: str
    task: TaskName
    format: str
    bytes: int
    sha256: str
    summary: Json
    warnings: list[str]
    created_at: Time

    @classmethod
    def of(cls, row: Dataset) -> "DatasetOut":
        """The representation of a row."""
        return cls.model_validate(row, from_attributes=True)


class ErrorOut(BaseModel):
    """Why a job failed."""

    code: str
    message: str


class JobOut(BaseModel):
    """The present state of a job."""

    id: str
    object: Literal["job"] = "job"
    kind: str
    status: Status
    task: TaskName
    dataset: str
    model: str
    network: Json
    training: Json
    options: Json
    priority: int
    progress: Json | None
    metrics: Json | None
    cancel_requested: bool
    pause_requested: bool
    attempt: int
    model_version: int | None
    error: ErrorOut | None
    sweep: str | None = Field(description="The sweep that this job is a run of.")
    trial: Json | None = Field(description="Of a run of a sweep: the trial's number, parameters and seed.")
    search: Json | None = Field(description="Of a sweep: the search space, and how it is searched.")
    metadata: Json
    created_at: Time
    started_at: Time | None
    finished_at: Time | None
    updated_at: Time

    @classmethod
    def of(cls, row: Job) -> "JobOut":
        """The representation of a row."""
        same = cls.model_fields.keys() & (set(Job.__table__.columns.keys()) - {"metadata"})
        return cls(
            **{name: getattr(row, name) for name in same},
            dataset=row.dataset_id,
            metadata=row.job_metadata,
            sweep=row.sweep_id,
            cancel_requested=row.cancel_requested_at is not None,
            pause_requested=row.pause_requested_at is not None,
            error=ErrorOut(code=row.error_code, message=row.error_message or "") if row.error_code else None,
        )


class EventOut(BaseModel):
    """One event of a job's history."""

    seq: int
    type: str
    at: Time
    data: Json

    @classmethod
    def of(cls, row: JobEvent) -> "EventOut":
        """The representation of a row."""
        return cls.model_validate(row, from_attributes=True)


class LogLineOut(BaseModel):
    """One line that the process of a job wrote."""

    seq: int
    attempt: int
    at: Time
    level: str
    message: str

    @classmethod
    def of(cls, row: JobLogLine) -> "LogLineOut":
        """The representation of a row."""
        return cls.model_validate(row, from_attributes=True)


class VersionOut(BaseModel):
    """One trained version of a model."""

    model: str
    version: int
    task: TaskName
    job: str
    dataset: str
    network: Json
    options: Json
    parameters: int
    metrics: Json
    baseline: Json
    bytes: int
    sha256: str
    created_at: Time

    @classmethod
    def of(cls, row: ModelVersion) -> "VersionOut":
        """The representation of a row."""
        same = cls.model_fields.keys() & ModelVersion.__table__.columns.keys()
        return cls(**{name: getattr(row, name) for name in same}, job=row.job_id, dataset=row.dataset_id)


class ModelOut(BaseModel):
    """A model, with its aliases and the number of its newest version."""

    name: str
    object: Literal["model"] = "model"
    task: TaskName
    aliases: dict[str, int]
    latest_version: int | None
    created_at: Time

    @classmethod
    def of(cls, row: Model, aliases: list[Alias], latest: int | None) -> "ModelOut":
        """The representation of a row with its aliases and the number of its newest version."""
        return cls(
            name=row.name,
            task=row.task,
            aliases={alias.alias: alias.version for alias in aliases},
            latest_version=latest,
            created_at=row.created_at,
        )


class AliasOut(BaseModel):
    """The versions that an alias points at, each with its share; `version` has the largest share."""

    model: str
    alias: str
    version: int
    versions: dict[str, float]
    shadow: int | None
    updated_at: Time

    @classmethod
    def of(cls, row: Alias) -> "AliasOut":
        """The representation of a row."""
        return cls.model_validate(row, from_attributes=True)


class WorkerOut(BaseModel):
    """A live worker."""

    id: str
    role: str
    device: str
    host: str
    pid: int
    busy_with: str | None
    loaded: list[str]
    started_at: Time
    last_seen: Time

    @classmethod
    def of(cls, row: Worker, busy_with: str | None) -> "WorkerOut":
        """The representation of a row; `busy_with` is the job that the worker owns."""
        same = cls.model_fields.keys() & Worker.__table__.columns.keys()
        return cls(**{name: getattr(row, name) for name in same}, busy_with=busy_with)


class Page(BaseModel, Generic[Item]):
    """A page of a list, newest first."""

    data: list[Item]
    has_more: bool
    next_cursor: str | None
