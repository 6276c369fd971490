"""Options of a speech job, instances and parameters of a request, and the defaults of a job."""

import math
from typing import Annotated, Literal, TypedDict

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from app.errors import Problem, pointer
from app.media.filterbank import FRAMES_A_SECOND, has_room
from app.tasks.contract import Prediction
from app.tasks.shared import tokenizers
from app.tasks.workload import Workload, trained_examples
from app.typedefs import Json

DEFAULT_STRIDE, MAX_STRIDE = 3, 8
KERNEL_STRIDES = 4  # windows of the convolution cover so many strides, less one frame
MAX_BEAM_SIZE = 64
TRAIN_SECONDS, LARGE_TRAIN_SECONDS = 208_000.0, 140_000.0  # of audio in all epochs together, by default
MIN_EPOCHS, MAX_EPOCHS = 12, 100
MIN_PATIENCE = 15  # epochs
BATCH_SECONDS = 25.0  # of audio in a batch, about
MIN_BATCH, MAX_BATCH = 4, 32
SMALL_SECONDS = 1_800.0  # with less audio for training, a network learns texts by heart
SMALL_WINDOW_SECONDS = 1.5
LARGE_SECONDS = 3_600.0  # with more, it need not be varied much, and is learned in fewer epochs
MASKING, LARGE_MASKING = 0.2, 0.05
DROPOUT, LARGE_DROPOUT = 0.2, 0.05
SHORT_CLIP_SECONDS = 1.0


class SpeechOptions(BaseModel):
    """Options of a speech job."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    tokens: Annotated[
        Literal["character", "bpe"],
        Field(description="The unit of a transcript that the network writes: characters or byte pairs."),
    ] = "character"
    vocabulary_size: Annotated[
        int, Field(ge=8, le=8_192, description="Largest number of byte pairs; of no effect on characters.")
    ] = 500
    mel_bins: Annotated[int, Field(ge=8, le=128, description="Bands of the mel spectrum.")] = 40
    stride: Annotated[
        int,
        Field(
            ge=1,
            le=MAX_STRIDE,
            description="Frames of 10 ms that become one step. A step writes one character at most.",
        ),
    ] = DEFAULT_STRIDE
    normalize: Annotated[
        Literal["clip", "data"] | None,
        Field(
            description="Subtract the mean spectrum of each clip, or that of the training data. By default "
            "that of the clip, unless most clips are shorter than a second."
        ),
    ] = None
    speed: Annotated[
        float,
        Field(ge=0, le=0.25, description="Play training clips up to this share slower or faster; 0: never."),
    ] = 0.1
    warp: Annotated[
        float,
        Field(
            ge=0, le=0.25, description="Shift training spectra up to this share, as other voices; 0: never."
        ),
    ] = 0.1
    masking: Annotated[
        float | None,
        Field(
            ge=0,
            le=0.5,
            description="Share of a training spectrum hidden in time, and in bands; 0: none. By default "
            "0.2, but with more than an hour of audio 0.05.",
        ),
    ] = None
    pauses: Annotated[
        bool, Field(description="Exchange the lengths of pauses in training clips, those at the ends too.")
    ] = True
    window: Annotated[
        float | None,
        Field(
            ge=0,
            le=600,
            description="Seconds of a training clip that are read as if nothing stood before and behind, on "
            "average; 0: whole clips. By default whole clips, but with less than half an hour of audio 1.5.",
        ),
    ] = None
    language_model: Annotated[
        Literal["auto", "on", "off"],
        Field(
            description="Search with an n-gram model of the training transcripts; auto: if it helps on the "
            "validation split."
        ),
    ] = "auto"
    ngram: Annotated[int, Field(ge=1, le=12, description="Labels in an n-gram of the language model.")] = 8


class SpeechInstance(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A recording: the bytes of a file in any common audio format, base64 in JSON."""

    audio_base64: bytes


class SpeechParameters(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Hypotheses of the beam search, by default as validation chose; and whether the text is streamed."""

    beam_size: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=MAX_BEAM_SIZE)] | None,
        msgspec.Meta(description="Transcripts that are compared; 1: the best path."),
    ] = None
    stream: bool = False


class TranscribedWord(TypedDict):
    """A word, when it is spoken, in seconds, and how sure that is."""

    word: str
    start: float
    end: float
    confidence: float | None


class SpeechPrediction(Prediction):
    """The words of a recording."""

    text: str
    duration_seconds: float
    confidence: float | None
    words: list[TranscribedWord]


EXAMPLE_INSTANCE: Json = {"audio_base64": "UklGRiQAAABXQVZFZm10IBAAAAABAAEAgD4AAAB9AAACABAAZGF0YQAAAAA="}
EXAMPLE_PREDICTION: Json = {
    "text": "seven four",
    "duration_seconds": 1.3,
    "confidence": 0.94,
    "words": [
        {"word": "seven", "start": 0.12, "end": 0.55, "confidence": 0.97},
        {"word": "four", "start": 0.71, "end": 1.08, "confidence": 0.91},
    ],
}


def check_options(summary: Json, options: SpeechOptions) -> list[Problem]:
    """The problems of these options for a data set with this summary; none if a job may have them."""
    problems = []
    rate = summary["sample_rate"]
    if not has_room(rate, options.mel_bins):
        most = next(bins for bins in range(options.mel_bins, 0, -1) if has_room(rate, bins))
        detail = f"recordings at {rate:,} Hz have room for {most} bins"
        problems.append(Problem("/options/mel_bins", detail))
    if options.tokens == "bpe":
        problems += tokenizers.vocabulary_problems(options.tokens, options.vocabulary_size)
    elif options.stride > summary["max_stride"]:
        detail = f"the longest text for its audio leaves room for {summary['max_stride']} frames a step"
        problems.append(Problem("/options/stride", detail))
    return problems


def normalizes_by_clip(options: SpeechOptions, clip_seconds: float) -> bool:
    """Whether each clip's own mean spectrum is subtracted, for training clips of about so many seconds.

    That of a very short clip is the sound of its one word.
    """
    if options.normalize is None:
        return clip_seconds >= SHORT_CLIP_SECONDS
    return options.normalize == "clip"


def window_steps(options: SpeechOptions, train_seconds: float) -> int:
    """Steps of the windows that training reads one by one, on average; 0: whole clips."""
    seconds = options.window
    if seconds is None:
        seconds = SMALL_WINDOW_SECONDS if train_seconds < SMALL_SECONDS else 0.0
    return math.ceil(seconds * FRAMES_A_SECOND / options.stride)


def masked_share(options: SpeechOptions, train_seconds: float) -> float:
    """The share of training spectra that is hidden, for so many seconds of audio."""
    if options.masking is None:
        return MASKING if train_seconds < LARGE_SECONDS else LARGE_MASKING
    return options.masking


def default_batch_size(clip_seconds: float) -> int:
    """The power of two that makes batches of about `BATCH_SECONDS` from clips of so many seconds."""
    exponent = round(math.log2(BATCH_SECONDS / max(clip_seconds, 0.01)))
    return int(min(max(2**exponent, MIN_BATCH), MAX_BATCH))


def default_hyperparameters(summary: Json) -> tuple[Json, Json]:
    """Default network and training: small batches, which leave the plateau of blanks soon, and layer norm.

    One dropout mask for all steps takes a tenth less time than one for each.
    """
    seconds = max(float(summary["train_seconds"]), 1.0)
    large = seconds >= LARGE_SECONDS
    network: Json = {
        "cell": "lstm",
        "layers": 2,
        "hidden_size": 128,
        "bidirectional": True,
        "dropout": LARGE_DROPOUT if large else DROPOUT,
        "input_dropout": 0.0,
        "variational_dropout": True,
        "embedding_size": 128,
        "layer_norm": True,
    }
    epochs = min(
        max(round((LARGE_TRAIN_SECONDS if large else TRAIN_SECONDS) / seconds), MIN_EPOCHS), MAX_EPOCHS
    )
    training: Json = {
        "epochs": epochs,
        "batch_size": default_batch_size(float(summary["lengths"]["median"])),
        "learning_rate": 2e-3,
        "clip_norm": 5.0,
        # Few clips validate noisily, and the last epochs, whose steps are small, gain much.
        "patience": max(MIN_PATIENCE, epochs // 2),
        "optimizer": "adamw",
        "weight_decay": 0.01,
        "sorted_epochs": 1,
    }
    return network, training


def workload(summary: Json, options: SpeechOptions, network: Json, training: Json) -> Workload:
    """The size of a training, by how long its clips are."""
    del training
    frames = summary["lengths"]["median"] * FRAMES_A_SECOND * (1 - options.speed)
    return Workload(
        examples=trained_examples(summary["splits"]),
        steps=max(1, int(frames / options.stride)),
        steps_setting=pointer("options", "stride"),
        inputs=network["embedding_size"],
        outputs=1,
        stepwise=True,
    )
