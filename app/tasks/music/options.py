"""Options of a music job, their check against a data set, and the defaults of a job."""

from typing import Annotated, Literal, TypedDict

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from app.errors import Problem
from app.tasks.contract import Prediction
from app.tasks.media_members import too_few
from app.tasks.music.reading import MIN_TRAIN_NOTES
from app.tasks.workload import TRAIN_SHARE, Workload, stream_workload
from app.typedefs import Json

MIN_PIECES = 3  # one for each split
MIN_EVENT_KINDS = 64  # that any coding has at least
BPTT_EVENTS = 64  # through which the gradient goes
NETWORK_DEFAULTS: Json = {
    "cell": "lstm",
    "layers": 1,
    "hidden_size": 192,
    "embedding_size": 64,
    "bidirectional": False,
    "dropout": 0.2,
    "input_dropout": 0.1,
    "variational_dropout": False,
    "weight_drop": 0.0,
    "word_dropout": 0.0,
    "tie_weights": False,
}
TRAINING_DEFAULTS: Json = {
    "learning_rate": 6e-3,
    "clip_norm": 1.0,
    "patience": 10,
    "bptt_steps": BPTT_EVENTS,
    "autocast": True,
    "activation_regularization": 0.0,
    "temporal_regularization": 0.0,
}
ENOUGH_EVENTS = 2_200_000  # that are read in all epochs together
EPOCH_BOUNDS = (8, 60)
EVENTS_PER_STREAM = 7_000  # of each stream that a batch reads side by side
BATCH_BOUNDS = (8, 16)


class MusicOptions(BaseModel):
    """Options of a music job."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    coding: Annotated[
        Literal["voices", "chords", "performance"] | None,
        Field(
            description="How notes are written as events: on a grid of time steps by `voices`, of which each "
            "track is one, or by `chords`; or as a `performance` with times in hundredths of a second and "
            "velocities. null: by the data."
        ),
    ] = None
    steps_per_quarter: Annotated[
        int | None,
        Field(ge=1, le=48, description="Time steps of a quarter note on the grid; null: by the data."),
    ] = None
    transpose: Annotated[
        bool, Field(description="Whether each training pass reads each piece in another key.")
    ] = True
    stretch: Annotated[
        float,
        Field(
            ge=0,
            le=0.5,
            allow_inf_nan=False,
            description="By how much of its length each training pass may shorten or lengthen a performance.",
        ),
    ] = 0.05


class ComposedNote(TypedDict):
    """A note: MIDI pitch and velocity, start and end in seconds."""

    pitch: int
    start: float
    end: float
    velocity: int


class MusicPrediction(Prediction):
    """A MIDI file, base64 in JSON, with its notes and some statistics of them."""

    midi_base64: bytes
    notes: list[ComposedNote]
    finish_reason: str
    statistics: dict[str, str | float | None]


EXAMPLE_INSTANCE: Json = {}
EXAMPLE_PREDICTION: Json = {
    "midi_base64": "TVRoZAAAAAYAAAABAeBNVHJrAAAABAD/LwA=",
    "notes": [{"pitch": 67, "start": 0.0, "end": 0.5, "velocity": 80}],
    "finish_reason": "length",
    "statistics": {
        "notes": 1,
        "valid_events": 1.0,
        "key": "G major",
        "notes_in_key": 1.0,
        "lowest_pitch": 67,
        "highest_pitch": 67,
    },
}


def check_options(summary: Json, options: MusicOptions) -> list[Problem]:
    """The problems of these options for a data set with this summary; none if a job may have them."""
    reason = untrainable(summary)
    problems = [] if reason is None else [Problem("/dataset", reason)]
    if options.coding == "voices" and (summary["tracks"] < 2 or summary["drums"]):
        detail = "The pieces have no voices: each of their tracks must be one, without drums."
        problems.append(Problem("/options/coding", detail))
    if options.coding == "performance" and options.steps_per_quarter is not None:
        problems.append(Problem("/options/steps_per_quarter", "A performance has no grid of quarter notes."))
    return problems


def untrainable(summary: Json) -> str | None:
    """Why there is too little music to train on, if so."""
    notes = summary["train_notes"]
    if few := too_few(summary["pieces"], "piece", MIN_PIECES):
        return few
    if notes < MIN_TRAIN_NOTES:
        return f"There are {notes:,} notes to train on; at least {MIN_TRAIN_NOTES:,} are needed."
    return None


def training_defaults(summary: Json) -> Json:
    """The default training: little music is read often, in few streams; much music seldom."""
    events = max(summary["train_events"], 1)
    return TRAINING_DEFAULTS | {
        "epochs": int(np.clip(ENOUGH_EVENTS // events, *EPOCH_BOUNDS)),
        "batch_size": int(np.clip(events // EVENTS_PER_STREAM, *BATCH_BOUNDS)),
    }


def workload(summary: Json, options: MusicOptions, network: Json, training: Json) -> Workload:
    """The size of a training, by its events: one stream that is cut in pieces."""
    del options
    events = max(1, int(TRAIN_SHARE * summary["train_events"]))
    return stream_workload(events, network, training, MIN_EVENT_KINDS)
