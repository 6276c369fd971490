"""A piece of music as notes, what a coding of pieces is, and notes on a grid of equal time steps."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np

from app.arrays import Array, Ints
from app.tasks.contract import END, UNKNOWN
from app.typedefs import Json

MELODIC_KEYS = 128  # a note's key is its pitch, that of a drum 128 more: drums are not transposed
KEYS = 2 * MELODIC_KEYS
FIRST_EVENT = END + 1  # the first tokens of a vocabulary are those of every task
DEFAULT_TEMPO = 500_000  # microseconds of a quarter note, where a file names none
MICROSECONDS = 1_000_000
TRANSPOSITIONS = range(-6, 6)  # semitones: every key once
OCTAVE = 12


@dataclass(frozen=True)
class Piece:
    """The notes of one file."""

    notes: Ints  # (notes, 5): start and end in ticks, key, velocity, track; by start, then key
    division: int  # ticks of a quarter note
    end: int  # tick
    tempos: Ints  # (changes, 2): tick, microseconds of a quarter note
    programs: Ints  # (tracks,) of General MIDI

    @property
    def tempo(self) -> int:
        """The first tempo, in microseconds of a quarter note."""
        return int(self.tempos[0, 1]) if len(self.tempos) else DEFAULT_TEMPO

    def seconds(self, ticks: Array) -> Array:
        """The times of ticks (n,) by the changes of the tempo, float64."""
        changes = self.tempos[np.argsort(self.tempos[:, 0], kind="stable")]
        starts = np.concatenate([[0], changes[:, 0]])
        lengths = np.concatenate([[DEFAULT_TEMPO], changes[:, 1]]) / MICROSECONDS / self.division
        passed = np.concatenate([[0.0], np.cumsum(np.diff(starts) * lengths[:-1])])
        section = np.searchsorted(starts, ticks, side="right") - 1
        times: Array = passed[section] + (ticks - starts[section]) * lengths[section]
        return times

    def last(self, quarters: int) -> "Piece":
        """About as many quarter notes from the end, from a beat on; earlier notes that sound begin there."""
        cut = max(0, self.end // self.division - quarters) * self.division
        notes = self.notes[self.notes[:, 1] > cut]
        if not cut or not len(notes):
            return self
        notes = np.concatenate([np.maximum(notes[:, :2] - cut, 0), notes[:, 2:]], axis=1)
        before = self.tempos[self.tempos[:, 0] <= cut][-1:]
        tempos = np.concatenate([before, self.tempos[self.tempos[:, 0] > cut]])
        tempos[:, 0] = np.maximum(tempos[:, 0] - cut, 0)
        return replace(self, notes=notes, end=self.end - cut, tempos=tempos)

    def folded(self, lowest: int, highest: int) -> "Piece":
        """The same piece with every pitch moved by octaves into a range of at least one octave."""
        keys = self.notes[:, 2]
        low = lowest + (keys - lowest) % OCTAVE
        high = highest - (highest - keys) % OCTAVE
        moved = np.where(keys < lowest, low, np.where(keys > highest, high, keys))
        notes = self.notes.copy()
        notes[:, 2] = np.where(keys < MELODIC_KEYS, moved, keys)
        return replace(self, notes=notes)


class Note(NamedTuple):
    """A note in time steps."""

    start: int
    end: int
    key: int
    velocity: int
    track: int


class NoteReader(Protocol):
    """Reads events one by one; notes are given once they have ended."""

    step: int  # the present time step
    invalid: int  # events that have no meaning where they stand, which were passed over

    def push(self, token: int, /) -> list[Note]:
        """The notes that end with an event."""
        ...

    def close(self) -> list[Note]:
        """The notes that are still sounding, which end now."""
        ...


class Coding(Protocol):
    """A lossless way to write the notes of a piece, on its grid of time steps, as events."""

    @property
    def size(self) -> int:
        """The number of tokens of the vocabulary."""
        ...

    @property
    def steps_per_quarter(self) -> float:
        """Time steps of a quarter note at `tempo`."""
        ...

    @property
    def tempo(self) -> int:
        """Microseconds of a quarter note of what is composed."""
        ...

    @property
    def lowest(self) -> int:
        """The lowest pitch that can be written."""
        ...

    @property
    def highest(self) -> int:
        """The highest pitch that can be written."""
        ...

    @property
    def programs(self) -> list[int]:
        """The instruments of the tracks of what is composed."""
        ...

    def to_json(self) -> Json:
        """As JSON for the state of a model."""
        ...

    def encode(self, piece: Piece) -> Ints:
        """The events of a piece, (events,) int64."""
        ...

    def count_steps(self, piece: Piece) -> int:
        """The time steps of a piece."""
        ...

    def transposed(self, shift: int) -> Ints:
        """For each token (size,) that of the same event so many semitones higher."""
        ...

    def label(self, token: int) -> str:
        """What an event says, for people, such as `on 60`."""
        ...

    def reader(self) -> NoteReader:
        """Read events from the beginning of a piece."""
        ...


def label_events(coding: Coding, tokens: Sequence[int]) -> list[str]:
    """What each event says, those that no piece has included."""
    special = {END: "end", UNKNOWN: "unknown"}
    return [special.get(token) or coding.label(token) for token in tokens]


class Roll(NamedTuple):
    """What sounds at each step of a grid, by step and then by key."""

    steps: Ints  # (n,)
    keys: Ints  # (n,)
    struck: Array  # (n,) bool: begins anew though the same key sounded a step before


def on_grid(piece: Piece, steps_per_quarter: float) -> Ints:
    """Start and end of each note in steps (notes, 2); every note has at least one."""
    steps = np.rint(piece.notes[:, :2] * steps_per_quarter / piece.division).astype(np.int64)
    steps[:, 1] = np.maximum(steps[:, 1], steps[:, 0] + 1)
    return steps


def grid_steps(piece: Piece, steps_per_quarter: float) -> int:
    """The steps of a piece up to the end of its last note and of its last track."""
    end = round(piece.end * steps_per_quarter / piece.division)
    return max(end, int(on_grid(piece, steps_per_quarter)[:, 1].max(initial=0)))


def roll_of(steps: Ints, keys: Ints) -> Roll:
    """The roll of notes with start and end (notes, 2) and keys (notes,)."""
    order = np.lexsort((steps[:, 0], keys))
    first, end, key = steps[order, 0], steps[order, 1], keys[order]
    span = int(steps[:, 1].max(initial=0)) + 1
    covered = np.maximum.accumulate(np.append(0, key[:-1] * span + end[:-1])) if len(key) else key
    first = np.clip(covered - key * span, first, end)  # what an earlier note of the key covers is left out
    lengths = end - first
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    sounding = np.sort((np.repeat(first, lengths) + within) * KEYS + np.repeat(key, lengths))
    starts = np.isin(sounding, steps[:, 0] * KEYS + keys)
    return Roll(sounding // KEYS, sounding % KEYS, starts & np.isin(sounding - KEYS, sounding))


def extended_range(keys: Iterable[int]) -> tuple[int, int]:
    """The lowest and the highest pitch of keys in every transposition."""
    pitches = [key for key in keys if key < MELODIC_KEYS] or [60]
    return (
        max(0, min(pitches) + TRANSPOSITIONS[0]),
        min(MELODIC_KEYS - 1, max(pitches) - TRANSPOSITIONS[0]),
    )


def writable_keys(used: Iterable[int]) -> list[int]:
    """The keys that a coding without voices can write, rising: the extended range, and the drums in use."""
    keys = sorted(used)
    lowest, highest = extended_range(keys)
    return [*range(lowest, highest + 1), *(key for key in keys if key >= MELODIC_KEYS)]


def shifted_tokens(size: int, runs: Iterable[tuple[int, int]], shift: int) -> Ints:
    """For each token (size,) that of the same event so many semitones higher.

    Runs are the first token and the number of tokens of rising pitches; what leaves a run stays at its end.
    """
    table = np.arange(size)
    for start, count in runs:
        table[start : start + count] = start + np.clip(np.arange(count) + shift, 0, count - 1)
    return table


def median_of(values: Sequence[int], default: int) -> int:
    """The median, one of the values; `default` without any."""
    return sorted(values)[len(values) // 2] if values else default
