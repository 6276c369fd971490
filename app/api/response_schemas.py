"""Answers of routes that write JSON themselves, for the OpenAPI document.

Structs, because a model of pydantic that only documents would cost the web process memory.
"""

from typing import Annotated, Any, Literal

import msgspec

from app.schemas import TaskName
from app.services.open_inference.codec import MAX_DIMENSIONS, MAX_TENSORS
from app.typedefs import Json
from app.validation.json_slices import MAX_JSON_VALUES

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


class TensorMetadata(msgspec.Struct):
    """A tensor: its datatype, and its shape with -1 for what varies."""

    name: str
    datatype: str
    shape: list[int]


class ServerMetadata(msgspec.Struct):
    """The server, and the extensions of the protocol that it has."""

    name: str
    version: str
    extensions: list[str]


class ServerLiveness(msgspec.Struct):
    """That the process is alive."""

    live: bool


class Readiness(msgspec.Struct):
    """Whether a request would be answered now; otherwise `error` says why not."""

    ready: bool
    name: str | None = None  # of a model
    live: bool | None = None  # of the server
    error: str | None = None


class ModelMetadata(msgspec.Struct):
    """The tensors that a model takes and gives."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class TensorConfig(msgspec.Struct):
    """A tensor in the words of Triton's model configuration."""

    name: str
    data_type: str
    dims: list[int]
    allow_ragged_batch: bool | None = None
    optional: bool | None = None


class ModelConfiguration(msgspec.Struct):
    """A model in the words of Triton's model configuration."""

    name: str
    platform: str
    backend: str
    version_policy: Json
    max_batch_size: int
    input: list[TensorConfig]
    output: list[TensorConfig]
    dynamic_batching: Json


class PhaseStatistics(msgspec.Struct):
    """How often something took place, and how many nanoseconds it took in all."""

    count: int
    ns: int


class VersionStatistics(msgspec.Struct):
    """The counters of one version, of the process that answers."""

    name: str
    version: str
    last_inference: int
    inference_count: int
    execution_count: int
    inference_stats: dict[str, PhaseStatistics]
    batch_stats: list[Json]


class ModelStatistics(msgspec.Struct):
    """The counters of versions."""

    model_stats: list[VersionStatistics]


class RepositoryEntry(msgspec.Struct):
    """One version of a model."""

    name: str
    version: str
    state: str
    reason: str


class EmptyObject(msgspec.Struct):
    """An object without fields."""


class InferInput(msgspec.Struct):
    """A tensor of a request; `data` is missing where it follows the JSON as bytes."""

    name: str
    datatype: str
    shape: Annotated[list[int], msgspec.Meta(max_length=MAX_DIMENSIONS)]
    data: (
        Annotated[list[Any], msgspec.Meta(max_length=MAX_JSON_VALUES, extra_json_schema={"items": {}})] | None
    ) = None
    parameters: Json | None = None


class InferTensor(msgspec.Struct):
    """A tensor of a response; `data` is missing where it follows the JSON as bytes."""

    name: str
    datatype: str
    shape: list[int]
    data: Annotated[list[Any], msgspec.Meta(extra_json_schema={"items": {}})] | None = None
    parameters: Json | None = None


class InferRequestedOutput(msgspec.Struct):
    """An output that is to be returned."""

    name: str
    parameters: Json | None = None


class InferRequest(msgspec.Struct):
    """An inference request of the Open Inference Protocol v2."""

    inputs: Annotated[list[InferInput], msgspec.Meta(max_length=MAX_TENSORS)]
    id: str | None = None
    outputs: Annotated[list[InferRequestedOutput], msgspec.Meta(max_length=MAX_TENSORS)] | None = None
    parameters: Json | None = None


class InferResponse(msgspec.Struct):
    """An inference response of the Open Inference Protocol v2."""

    model_name: str
    model_version: str
    outputs: list[InferTensor]
    id: str | None = None
    parameters: Json | None = None


class CompletionModel(msgspec.Struct):
    """A model that completes prompts."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class CompletionModels(msgspec.Struct):
    """All models that complete prompts."""

    object: Literal["list"]
    data: list[CompletionModel]


class CompletionChoice(msgspec.Struct):
    """One completion."""

    text: str
    index: int
    logprobs: None
    finish_reason: str | None


class CompletionUsage(msgspec.Struct):
    """Numbers of tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class CompletionOut(msgspec.Struct):
    """Completions in the form of OpenAI's interface."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: CompletionUsage | None = None
