"""The coding that suits a data set, and the coding of a model."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from app.tasks.music.codings.chords import ChordCoding
from app.tasks.music.codings.performance import PerformanceCoding
from app.tasks.music.codings.pieces import Coding, Piece, median_of
from app.tasks.music.codings.voices import VoiceCoding, count_voices
from app.typedefs import Json

VOICES, CHORDS, PERFORMANCE = "voices", "chords", "performance"
CODINGS: dict[str, Any] = {VOICES: VoiceCoding, CHORDS: ChordCoding, PERFORMANCE: PerformanceCoding}
GRIDS = (1, 2, 3, 4, 6, 8, 12, 24)  # steps of a quarter note that are tried
MIN_ON_GRID = 0.995  # share of the notes' starts on a grid, for it to be used
MAX_OFF_GRID = 0.02  # of a step, from the next line of the grid
DEFAULT_STEPS_PER_QUARTER = 4  # where a grid is asked for and none fits
DEFAULT_GRID_VELOCITY = 80


def find_grid(pieces: Sequence[Piece]) -> int | None:
    """The fewest steps of a quarter note that nearly all starts and ends of notes are at; None if none is."""
    quarters = np.concatenate([piece.notes[:, :2].reshape(-1) / piece.division for piece in pieces])
    for steps in GRIDS:
        off = np.abs(quarters * steps - np.rint(quarters * steps))
        if (off <= MAX_OFF_GRID).mean() >= MIN_ON_GRID:
            return steps
    return None


def fit_coding(pieces: Sequence[Piece], name: str | None, steps_per_quarter: int | None) -> Coding:
    """The coding for pieces to train on; by the data where no name or grid is given."""
    steps = steps_per_quarter or find_grid(pieces)
    programs = [median_of(one, 0) for one in _programs_by_track(pieces)]
    program = median_of([int(piece.programs[0]) for piece in pieces], 0)
    if name == PERFORMANCE or (name is None and steps is None):
        return PerformanceCoding.fit(pieces, program)
    steps = steps or DEFAULT_STEPS_PER_QUARTER
    tempo = median_of([piece.tempo for piece in pieces], 0)
    velocities = [int(np.median(piece.notes[:, 3])) for piece in pieces]
    velocity = median_of(velocities, DEFAULT_GRID_VELOCITY)
    counts = {count_voices(piece, steps) for piece in pieces}
    if name == VOICES or (name is None and len(counts) == 1 and counts != {0}):
        voices = max(counts) or max(len(piece.programs) for piece in pieces)
        return VoiceCoding.fit(pieces, steps, tempo, velocity, (programs + [program] * voices)[:voices])
    return ChordCoding.fit(pieces, steps, tempo, velocity, program)


def coding_to_json(coding: Coding) -> Json:
    """A coding for the state of a model."""
    name = next(name for name, kind in CODINGS.items() if isinstance(coding, kind))
    return {"name": name, **coding.to_json()}


def coding_from_json(written: Json) -> Coding:
    """The inverse of `coding_to_json`."""
    coding: Coding = CODINGS[written["name"]](
        **{name: one for name, one in written.items() if name != "name"}
    )
    return coding


def _programs_by_track(pieces: Sequence[Piece]) -> list[list[int]]:
    longest = max(len(piece.programs) for piece in pieces)
    return [
        [int(piece.programs[track]) for piece in pieces if track < len(piece.programs)]
        for track in range(longest)
    ]
