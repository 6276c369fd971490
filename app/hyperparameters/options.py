"""Network and training options of a job, and their defaults."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.patterns import DEVICE_PATTERN
from app.typedefs import Json

NETWORK: Json = {"cell": "lstm", "layers": 1, "hidden_size": 64, "bidirectional": False, "dropout": 0.1}
TRAINING: Json = {
    "epochs": 20,
    "batch_size": 128,
    "learning_rate": 0.001,
    "clip_norm": 1.0,
    "patience": 5,
    "seed": 7,
    "max_seconds": None,
    "device": "auto",
    "optimizer": "adam",
    "schedule": "one_cycle",
    "weight_decay": 0.0,
    "autocast": False,
    "ensemble": 1,
    "selection": "best",
}


class StrictModel(BaseModel):
    """A request's model, which refuses unknown fields, other types, NaN and infinity."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class NetworkIn(StrictModel):
    """Options of the recurrent network; the others get the task's defaults."""

    cell: Literal["rnn", "lstm", "gru"] | None = None
    layers: int | None = Field(default=None, ge=1, le=8)
    hidden_size: int | None = Field(default=None, ge=1, le=2048)
    bidirectional: bool | None = None
    dropout: float | None = Field(default=None, ge=0, lt=1)
    input_dropout: float | None = Field(default=None, ge=0, lt=1)
    variational_dropout: bool | None = None
    weight_drop: float | None = Field(default=None, ge=0, lt=1)
    embedding_size: int | None = Field(default=None, ge=1, le=2048)
    word_dropout: float | None = Field(default=None, ge=0, lt=1)
    characters: Literal["none", "cnn", "rnn"] | None = None
    character_size: int | None = Field(default=None, ge=1, le=512)
    pooling: Literal["concat", "attention", "last", "max", "mean"] | None = None
    crf: bool | None = None
    tie_weights: bool | None = None
    layer_norm: bool | None = None
    attention: Literal["dot", "general", "additive"] | None = None


class TrainingIn(StrictModel):
    """Options of the training; the others get the task's defaults."""

    epochs: int | None = Field(default=None, ge=1, le=10_000)
    batch_size: int | None = Field(default=None, ge=1, le=65_536)
    learning_rate: float | None = Field(default=None, gt=0, le=10)
    clip_norm: float | None = Field(default=None, gt=0)
    patience: int | None = Field(default=None, ge=1, le=10_000)
    seed: int | None = Field(default=None, ge=0, lt=2**31)
    max_seconds: float | None = Field(default=None, gt=0, le=7 * 86_400)
    device: Annotated[str, StringConstraints(pattern=DEVICE_PATTERN)] | None = None
    optimizer: Literal["adam", "adamw", "nadam", "radam"] | None = None
    schedule: Literal["one_cycle", "cosine", "constant"] | None = None
    weight_decay: float | None = Field(default=None, ge=0, le=1)
    bptt_steps: int | None = Field(default=None, ge=1, le=100_000)
    autocast: bool | None = None
    ensemble: int | None = Field(default=None, ge=1, le=32)
    selection: Literal["best", "last"] | None = None
    pretrain_epochs: int | None = Field(default=None, ge=0, le=1_000)
    sorted_epochs: int | None = Field(default=None, ge=0, le=10_000)
    label_smoothing: float | None = Field(default=None, ge=0, lt=1)
    freeze_after: int | None = Field(default=None, ge=1, le=10_000)
    activation_regularization: float | None = Field(default=None, ge=0, le=100)
    temporal_regularization: float | None = Field(default=None, ge=0, le=100)
