"""A request for music: a beginning as events, and the settings of decoding."""

import math
from typing import Annotated

import msgspec
import numpy as np

from app.arrays import Arrays, Ints
from app.errors import Invalid, Problem
from app.media.decoder import process_decoder
from app.media.errors import MediaError
from app.tasks.contract import END
from app.tasks.music.codings.performance import PerformanceCoding
from app.tasks.music.codings.pieces import MICROSECONDS, Coding
from app.tasks.music.midi_file import write_piece
from app.tasks.music.reading import StoredPieces, piece_of
from app.tasks.shared.seeds import SeedChoice, Temperature, TopK, TopP, derive_seed
from app.typedefs import Json

MAX_PRIMER_EVENTS = 4096  # that are read of a beginning, the last ones
MAX_PRIMER_BYTES = 1 << 23
MAX_SECONDS = 300
MAX_EVENTS_PER_SECOND = 100  # that are composed
MIN_EVENTS = 200


class MusicInstance(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The beginning of a piece as a MIDI file, whose last 4,096 events are read; or nothing."""

    midi_base64: Annotated[
        bytes,
        msgspec.Meta(max_length=MAX_PRIMER_BYTES, description="A beginning; without one, from nothing."),
    ] = b""


class MusicParameters(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How much to compose, and how to choose each event.

    `temperature` 0 takes the most likely one, `top_k` 0 and `top_p` 1 any. The same `seed` and beginning give
    the same music; without a seed it is another one each time.
    """

    seconds: Annotated[float, msgspec.Meta(gt=0, le=MAX_SECONDS, description="How long the music gets.")] = (
        20.0
    )
    temperature: Temperature = 1.0
    top_k: TopK = 0
    top_p: TopP = 1.0
    seed: SeedChoice = None
    stream: bool = False


class MusicInstances:
    """The pieces of a data set as instances: each as a beginning."""

    def __init__(self, arrays: Arrays) -> None:
        self._pieces = StoredPieces(arrays)

    def __len__(self) -> int:
        return len(self._pieces)

    def __getitem__(self, index: int) -> MusicInstance:
        return MusicInstance(write_piece(self._pieces[index]))


def encode_primer(coding: Coding, content: bytes) -> tuple[Ints, list[str]]:
    """The last events of a beginning behind `END`, with which every piece begins, (time, 1) int64; warnings.

    Pitches that the model does not know are moved by octaves. Raises `Invalid` for what is no MIDI file.
    """
    if not content:
        return np.array([[END]], np.int64), []
    try:
        decoded = process_decoder().decode("midi", content, {})
    except MediaError as error:
        raise Invalid(f"The file {error}.", [Problem("/midi_base64", f"The file {error}.")]) from None
    is_grid = not isinstance(coding, PerformanceCoding)
    quarters = math.ceil(MAX_PRIMER_EVENTS / (coding.steps_per_quarter if is_grid else 1))
    events = coding.encode(piece_of(decoded).last(quarters).folded(coding.lowest, coding.highest))
    warnings = [f"The file {remark}." for remark in decoded["warnings"]]
    return np.concatenate([[END], events[-MAX_PRIMER_EVENTS:]])[:, None], warnings


def decoding_settings(coding: Coding, primer: Ints, parameters: MusicParameters) -> Json:
    """The settings of decoding, as JSON; the seed is derived from the events (time, 1) of the beginning."""
    greedy = parameters.top_p == 0  # not even the most likely event fits in
    steps = max(1, round(parameters.seconds / step_seconds(coding)))
    events = MIN_EVENTS + round(MAX_EVENTS_PER_SECOND * parameters.seconds)
    return {
        "max_tokens": events,
        "min_tokens": events,  # a piece lasts as long as was asked for, whatever may end before
        "temperature": parameters.temperature,
        "top_k": 1 if greedy else parameters.top_k,
        "top_p": 1.0 if greedy else parameters.top_p,
        "seed": derive_seed(parameters.seed, primer.astype("<i8").tobytes()),
        "stop": steps,  # time steps
    }


def step_seconds(coding: Coding) -> float:
    """How long a time step of what is composed lasts."""
    return coding.tempo / MICROSECONDS / coding.steps_per_quarter
