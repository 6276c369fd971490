"""Answers of the protocols of other clients, for the OpenAPI document; see `app/api/response_schemas.py`."""

from typing import Annotated, Any, Literal

import msgspec

from app.services.open_inference.codec import MAX_DIMENSIONS, MAX_TENSORS
from app.typedefs import Json
from app.validation.json_slices import MAX_JSON_VALUES


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


class NixtlaKeyOut(msgspec.Struct):
    """That a key is known."""

    message: Literal["success"]
    detail: str


class NixtlaModelFacts(msgspec.Struct):
    """How many values of a series a model reads, and how far ahead it forecasts."""

    input_size: int
    horizon: int


class NixtlaModelOut(msgspec.Struct):
    """The answer about a model."""

    detail: NixtlaModelFacts


class NixtlaForecastOut(msgspec.Struct):
    """Forecasts of series, one behind the other; intervals by names such as `lo-80`."""

    mean: list[float]
    intervals: dict[str, list[float]] | None
    weights_x: None
    feature_contributions: None
    input_tokens: int
    output_tokens: int
    finetune_tokens: int


class NixtlaCrossValidationOut(msgspec.Struct):
    """Forecasts of windows; `idxs` are the places of their steps in `y`, `sizes` their numbers by series."""

    mean: list[float]
    intervals: dict[str, list[float]] | None
    sizes: list[int]
    idxs: list[int]
    input_tokens: int
    output_tokens: int
    finetune_tokens: int


class OpenaiFile(msgspec.Struct):
    """A file to train on: a data set in the form of OpenAI's interface."""

    id: str
    object: Literal["file"]
    bytes: int
    created_at: int
    expires_at: None
    filename: str
    purpose: Literal["fine-tune"]
    status: Literal["processed"]
    status_details: None


class OpenaiFiles(msgspec.Struct):
    """A page of files, newest first."""

    object: Literal["list"]
    data: list[OpenaiFile]
    first_id: str | None
    last_id: str | None
    has_more: bool


class OpenaiFileDeleted(msgspec.Struct):
    """That a file was deleted."""

    id: str
    object: Literal["file"]
    deleted: bool


class FineTuningError(msgspec.Struct):
    """Why a fine-tuning failed."""

    code: str
    message: str
    param: None


class FineTuningJob(msgspec.Struct):
    """A training job in the form of OpenAI's interface; `fine_tuned_model` is for completions."""

    id: str
    object: Literal["fine_tuning.job"]
    created_at: int
    finished_at: int | None
    estimated_finish: int | None
    model: str
    fine_tuned_model: str | None
    organization_id: str
    result_files: list[str]
    status: Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"]
    training_file: str
    validation_file: None
    hyperparameters: dict[str, int | float | str]
    trained_tokens: None
    seed: int | None
    error: FineTuningError | None
    method: Json
    metadata: dict[str, str]
    integrations: list[Json]


class FineTuningJobs(msgspec.Struct):
    """A page of training jobs, newest first."""

    object: Literal["list"]
    data: list[FineTuningJob]
    first_id: str | None
    last_id: str | None
    has_more: bool


class FineTuningEvent(msgspec.Struct):
    """An event of a training job."""

    id: str
    object: Literal["fine_tuning.job.event"]
    created_at: int
    level: Literal["info", "warn", "error"]
    message: str
    type: Literal["message", "metrics"]
    data: Json


class FineTuningEvents(msgspec.Struct):
    """A page of events, newest first."""

    object: Literal["list"]
    data: list[FineTuningEvent]
    first_id: str | None
    last_id: str | None
    has_more: bool


class FineTuningCheckpoint(msgspec.Struct):
    """A version that a training job made."""

    id: str
    object: Literal["fine_tuning.job.checkpoint"]
    created_at: int
    fine_tuned_model_checkpoint: str
    fine_tuning_job_id: str
    step_number: int
    metrics: dict[str, float | None]


class FineTuningCheckpoints(msgspec.Struct):
    """The versions that a training job made."""

    object: Literal["list"]
    data: list[FineTuningCheckpoint]
    first_id: str | None
    last_id: str | None
    has_more: bool
