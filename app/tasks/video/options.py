"""Options of a video job, instances and parameters of a request, and the defaults of a job."""

from typing import Annotated, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from app.errors import Problem, pointer
from app.tasks.shared.label_weights import Calibrate, ClassWeights, class_weight_problems
from app.tasks.workload import Workload, trained_examples
from app.typedefs import Json

MAX_VIDEO_BYTES = 1 << 26  # of one clip in a request
MAX_CLIP_PIXELS = 1 << 23  # of all frames of a clip that the network reads

# The network and training of a job that sets nothing.
NETWORK_DEFAULTS: Json = {
    "cell": "gru",
    "layers": 1,
    "hidden_size": 128,
    "bidirectional": True,
    "dropout": 0.4,
    "input_dropout": 0.1,
    "variational_dropout": True,
    "weight_drop": 0.0,
    "embedding_size": 128,
    "pooling": "attention",
}
TRAINING_DEFAULTS: Json = {
    "epochs": 80,
    "batch_size": 16,
    "learning_rate": 4e-3,
    "clip_norm": 1.0,
    "patience": 80,
    "optimizer": "adamw",
    "weight_decay": 0.05,
    "label_smoothing": 0.1,
    "freeze_after": None,
}
ENOUGH_CLIPS = 36_000  # that are read in all epochs together
EPOCHS_RANGE = (20, 80)


class VideoOptions(BaseModel):
    """Options of a video classification job."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    frames: Annotated[
        int, Field(ge=1, le=256, description="Largest number of frames of a clip that the network reads.")
    ] = 16
    stride: Annotated[
        int | None,
        Field(
            ge=1,
            le=1000,
            description="Read each stride-th frame from the first one on; null: frames evenly spread over "
            "the clip.",
        ),
    ] = None
    size: Annotated[
        int, Field(ge=8, le=224, description="Width and height in pixels to which frames are scaled.")
    ] = 48
    fit: Annotated[
        Literal["crop", "pad", "stretch"],
        Field(
            description="How a frame becomes a square: crop keeps its center, pad puts black bars beside it, "
            "stretch changes its proportions."
        ),
    ] = "crop"
    color: Annotated[bool, Field(description="Read red, green and blue instead of gray.")] = False
    differences: Annotated[
        bool, Field(description="Read each frame with its change since the one before it.")
    ] = True
    augment: Annotated[
        bool,
        Field(
            description="Vary the clips in training: shifted, scaled, lighter or darker, partly erased, cut "
            "in time."
        ),
    ] = True
    mirror: Annotated[
        bool, Field(description="Mirror half of the clips in training; not where left and right are labels.")
    ] = False
    frame_average: Annotated[
        bool,
        Field(
            description="Train a second network that averages over single frames; it is the baseline, and "
            "shows what the order of the frames is worth."
        ),
    ] = True
    class_weights: ClassWeights = "none"
    calibrate: Calibrate = True

    @property
    def channels(self) -> int:
        """Numbers of a pixel."""
        return 3 if self.color else 1


class VideoInstance(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A clip as a file in any of the formats that can be uploaded; base64 in JSON."""

    video_base64: Annotated[bytes, msgspec.Meta(max_length=MAX_VIDEO_BYTES)]


class VideoParameters(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How many labels to return, the most probable first; by default all of them."""

    top_k: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=1_000)] | None,
        msgspec.Meta(description="How many labels to answer; by default all."),
    ] = None


EXAMPLE_INSTANCE: Json = {"video_base64": "AAAAHGZ0eXBpc29tAAACAGlzb21pc28ybXA0MQ=="}
EXAMPLE_PREDICTION: Json = {"label": "waving", "scores": {"waving": 0.88, "clapping": 0.12}}


def check_options(summary: Json, options: VideoOptions) -> list[Problem]:
    """The problems of these options for a data set with this summary; none if a job may have them."""
    problems = []
    pixels = options.frames * options.channels * options.size**2
    if pixels > MAX_CLIP_PIXELS:
        detail = f"so many frames of this size have {pixels:,} numbers; at most {MAX_CLIP_PIXELS:,} are read"
        problems.append(Problem("/options/frames", detail))
    return problems + class_weight_problems(options.class_weights, summary)


def default_hyperparameters(summary: Json) -> tuple[Json, Json]:
    """Default network and training; the more clips there are, the fewer epochs."""
    low, high = EPOCHS_RANGE
    epochs = min(max(round(ENOUGH_CLIPS / max(summary.get("examples", 1), 1)), low), high)
    return NETWORK_DEFAULTS, TRAINING_DEFAULTS | {"epochs": epochs}


def workload(summary: Json, options: VideoOptions, network: Json, training: Json) -> Workload:
    """The size of a training, by the frames of its clips."""
    del training
    return Workload(
        examples=trained_examples(summary["splits"]),
        steps=max(1, min(int(summary["lengths"]["median"] / (options.stride or 1)), options.frames)),
        steps_setting=pointer("options", "frames"),
        inputs=network["embedding_size"] + options.channels * options.size**2,
        outputs=summary["classes"],
        stepwise=False,
    )
