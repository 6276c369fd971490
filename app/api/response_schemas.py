"""Answers of routes that write JSON themselves, for the OpenAPI document.

Structs, because a model of pydantic that only documents would cost the web process memory.
"""

from typing import Any, Literal

import msgspec

from app.schemas import TaskName
from app.typedefs import Json

REF = "#/components/schemas/"  # of the document

BINARY_CONTENT: Json = {"schema": {"type": "string", "format": "binary"}}  # the content of a response
TEXT_CONTENT: Json = {"schema": {"type": "string"}}


def reference(name: str) -> Json:
    """A reference to a component of the document."""
    return {"$ref": REF + name}


def documented(
    kind: Any, status: int = 200, description: str = "The answer", *, more: Json | None = None
) -> dict[int | str, Json]:
    """The `responses` of a route whose answer with a status is of one of the kinds below.

    `more` has the content of other media types that it may answer with.
    """
    schema, _ = msgspec.json.schema_components([kind], ref_template=REF + "{name}")
    content = {"application/json": {"schema": schema[0]}} | (more or {})
    return {status: {"description": description, "content": content}}


class HealthOut(msgspec.Struct):
    """That the process is alive."""

    status: Literal["ok"]


Check = Literal["ok", "unavailable"]


class ReadinessChecks(msgspec.Struct):
    """What a job needs to be submitted, trained and served."""

    database: Check
    redis: Check
    train_workers: Check
    serve_workers: Check


class ReadinessOut(msgspec.Struct):
    """Whether the service is ready, and what is missing."""

    status: Check
    checks: ReadinessChecks


class TaskDefaultsOut(msgspec.Struct):
    """Network and training of a job that sets only these options, on this kind of data."""

    data: str
    options: Json
    network: Json
    training: Json


class TaskOut(msgspec.Struct):
    """A task: the JSON schemas of its options, instances, parameters, predictions; its defaults."""

    name: TaskName
    bidirectional: bool
    formats: list[str]
    columns: list[str]
    options: Json
    instance: Json
    parameters: Json
    prediction: Json
    defaults: list[TaskDefaultsOut]


class TasksOut(msgspec.Struct):
    """All tasks, and the JSON schemas of what jobs of any task can set."""

    data: list[TaskOut]
    network: Json
    training: Json


class EpochOut(msgspec.Struct):
    """One epoch of a training; stages have further fields."""

    epoch: int
    stage: int | None = None
    train_loss: float | None = None
    valid_loss: float | None = None
    learning_rate: float | None = None
    grad_norm: float | None = None
    seconds: float | None = None


class LearningCurvesOut(msgspec.Struct):
    """The learning curves of a job: one entry an epoch."""

    epochs: list[EpochOut]


class GateOut(msgspec.Struct):
    """A gate's mean activation, and the share of its activations that are near an end of their range."""

    mean: float
    saturated: float


class DiagnosticsEntryOut(msgspec.Struct):
    """How far back a network reaches after an epoch; `gradient_by_lag` has pairs of a lag and a norm."""

    epoch: int
    gradient_by_lag: list[list[float]]
    memory_length: int
    gates: dict[str, GateOut]
    time_constants: list[float]
    spectral_norm: list[float]
    steps: int
    stage: int | None = None
    phase: str | None = None
    member: int | None = None
    clipped_share: float | None = None
    update_ratio: float | None = None


class DiagnosticsOut(msgspec.Struct):
    """What a job's network remembers: by epoch, at the end, and what follows from it."""

    epochs: list[DiagnosticsEntryOut]
    final: list[DiagnosticsEntryOut]
    verdict: Literal["ok", "vanishing", "exploding", "saturated"] | None
    rule: str | None
    remedy: str | None
