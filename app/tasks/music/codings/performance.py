"""Performance events: notes on and off, time shifts, velocities, without a grid of beats.

Oore et al. (2018), "This time with feeling: learning expressive musical performance".
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from app.arrays import Ints
from app.tasks.contract import UNKNOWN
from app.tasks.music.codings.pieces import (
    FIRST_EVENT,
    KEYS,
    MELODIC_KEYS,
    Note,
    Piece,
    shifted_tokens,
    writable_keys,
)
from app.typedefs import Json

STEPS_PER_SECOND = 100
STEPS_PER_QUARTER = 50.0  # at the tempo that is written: 120 quarter notes a minute
TEMPO = 500_000  # microseconds
MAX_SHIFT = 100  # steps of one event
VELOCITY_BINS, VELOCITIES_PER_BIN = 32, 4
FIRST_SHIFT = FIRST_EVENT
FIRST_VELOCITY = FIRST_SHIFT + MAX_SHIFT
FIRST_ON = FIRST_VELOCITY + VELOCITY_BINS
OFF, ON = range(2)  # at one time notes end before others begin
DEFAULT_VELOCITY = 64


@dataclass(frozen=True)
class PerformanceCoding:
    """Events: shifts of 10 ms to 1 s, 32 velocities of what follows, and each key on and off."""

    keys: list[int]  # that can be written, rising: a range of pitches, and drums
    programs: list[int]
    steps_per_quarter: float = STEPS_PER_QUARTER
    tempo: int = TEMPO

    @classmethod
    def fit(cls, pieces: Sequence[Piece], program: int) -> "PerformanceCoding":
        """The coding for pieces to train on."""
        used = set(np.unique(np.concatenate([piece.notes[:, 2] for piece in pieces])).tolist())
        return cls(writable_keys(used), [program])

    def to_json(self) -> Json:
        """See `Coding`."""
        return asdict(self)

    @property
    def size(self) -> int:
        """See `Coding`."""
        return FIRST_ON + 2 * len(self.keys)

    @property
    def lowest(self) -> int:
        """See `Coding`."""
        return self.keys[0]

    @property
    def highest(self) -> int:
        """See `Coding`."""
        return max(key for key in self.keys if key < MELODIC_KEYS)

    def encode(self, piece: Piece) -> Ints:
        """See `Coding`; notes of keys that cannot be written are left out, each leaving `UNKNOWN`."""
        return self.encode_stretched(piece, 1.0)

    def encode_stretched(self, piece: Piece, factor: float) -> Ints:
        """The events of a piece that takes `factor` times as long."""
        places = np.full(KEYS, -1)
        places[self.keys] = np.arange(len(self.keys))
        steps = _steps_of(piece, factor)
        heard = steps[:, 1] > steps[:, 0]
        steps, notes = steps[heard], piece.notes[heard]
        keys, bins = places[notes[:, 2]], _bins(notes[:, 3])
        times = np.concatenate([steps[:, 0], steps[:, 1]])
        kinds = np.repeat([ON, OFF], len(steps))
        order = np.lexsort((np.tile(notes[:, 2], 2), kinds, times))
        rows = zip(
            times[order].tolist(), kinds[order].tolist(), np.tile(keys, 2)[order].tolist(),
            np.tile(bins, 2)[order].tolist(), strict=True,
        )  # fmt: skip
        events: list[int] = []
        now, velocity = 0, -1
        for time, kind, place, strength in rows:
            if time > now:
                events += _shifts(time - now)
                now = time
            if place < 0:
                events += [UNKNOWN] * (kind == ON)
            elif kind == OFF:
                events.append(FIRST_ON + len(self.keys) + place)
            else:
                if strength != velocity:
                    events.append(FIRST_VELOCITY + strength)
                    velocity = strength
                events.append(FIRST_ON + place)
        return np.array(events, np.int64)

    def count_steps(self, piece: Piece) -> int:
        """See `Coding`."""
        return int(_steps_of(piece, 1.0)[:, 1].max())

    def transposed(self, shift: int) -> Ints:
        """See `Coding`."""
        melodic = self.highest - self.lowest + 1
        starts = (FIRST_ON, FIRST_ON + len(self.keys))
        return shifted_tokens(self.size, ((start, melodic) for start in starts), shift)

    def label(self, token: int) -> str:
        """See `Coding`."""
        if token < FIRST_VELOCITY:
            return f"wait {(1 + token - FIRST_SHIFT) / STEPS_PER_SECOND:g} s"
        if token < FIRST_ON:
            return f"velocity {_velocity_of(token - FIRST_VELOCITY)}"
        is_off, index = divmod(token - FIRST_ON, len(self.keys))
        return f"{'off' if is_off else 'on'} {self.keys[index]}"

    def reader(self) -> "PerformanceReader":
        """See `Coding`."""
        return PerformanceReader(self)


class PerformanceReader:
    """Reads events of a `PerformanceCoding`; a note's end without a beginning is invalid."""

    def __init__(self, coding: PerformanceCoding) -> None:
        self.step = self.invalid = 0
        self._coding = coding
        self._velocity = DEFAULT_VELOCITY
        self._sounding: dict[int, tuple[int, int]] = {}  # key -> the step of its start, and its velocity

    def push(self, token: int) -> list[Note]:
        """See `NoteReader`; a key that is on already ends and begins again."""
        if FIRST_SHIFT <= token < FIRST_VELOCITY:
            self.step += 1 + token - FIRST_SHIFT
            return []
        if FIRST_VELOCITY <= token < FIRST_ON:
            self._velocity = _velocity_of(token - FIRST_VELOCITY)
            return []
        is_off, place = divmod(token - FIRST_ON, len(self._coding.keys))
        if token < FIRST_ON or is_off > 1:
            self.invalid += 1
            return []
        key = self._coding.keys[place]
        ended = self._end(key)
        if is_off:
            self.invalid += not ended
        else:
            self._sounding[key] = self.step, self._velocity
        return ended

    def close(self) -> list[Note]:
        """See `NoteReader`."""
        return [note for key in list(self._sounding) for note in self._end(key)]

    def _end(self, key: int) -> list[Note]:
        if key not in self._sounding:
            return []
        start, velocity = self._sounding.pop(key)
        return [Note(start, max(self.step, start + 1), key, velocity, 0)]


def _steps_of(piece: Piece, factor: float) -> Ints:
    """Start and end of each note in steps (notes, 2); a key that is struck again ends before."""
    times = piece.seconds(piece.notes[:, :2].reshape(-1)).reshape(-1, 2)
    steps = np.rint(times * factor * STEPS_PER_SECOND).astype(np.int64)
    steps[:, 1] = np.maximum(steps[:, 1], steps[:, 0] + 1)
    order = np.lexsort((steps[:, 1], steps[:, 0], piece.notes[:, 2]))
    ahead, behind = order[1:], order[:-1]
    same = piece.notes[ahead, 2] == piece.notes[behind, 2]
    ends = np.minimum(steps[behind, 1], np.where(same, steps[ahead, 0], steps[behind, 1]))
    steps[behind, 1] = np.maximum(ends, steps[behind, 0])
    return steps


def _shifts(steps: int) -> list[int]:
    whole, rest = divmod(steps, MAX_SHIFT)
    return [FIRST_SHIFT + MAX_SHIFT - 1] * whole + [FIRST_SHIFT + rest - 1] * (rest > 0)


def _bins(velocities: Ints) -> Ints:
    return np.clip(velocities // VELOCITIES_PER_BIN, 0, VELOCITY_BINS - 1)


def _velocity_of(index: int) -> int:
    """The velocity in the middle of a bin."""
    return VELOCITIES_PER_BIN * index + VELOCITIES_PER_BIN // 2
