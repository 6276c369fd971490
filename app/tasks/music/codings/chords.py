"""A step grid: at each time step the pitches that sound, from the highest to the lowest, then an end."""

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
    grid_steps,
    on_grid,
    roll_of,
    shifted_tokens,
    writable_keys,
)
from app.typedefs import Json

STEP = FIRST_EVENT  # the event that ends a time step
FIRST_NOTE = FIRST_EVENT + 1
END_OF_CHORD = KEYS  # sorts behind every key of a step


@dataclass(frozen=True)
class ChordCoding:
    """Events: `STEP`, for each key that it sounds, and where the data repeat notes, that it begins anew.

    A key that sounds at two steps running is held. All tracks are one.
    """

    steps_per_quarter: float
    tempo: int
    velocity: int
    keys: list[int]  # that can be written, rising: a range of pitches, and drums
    repeats: bool  # whether there are events of notes that begin anew
    programs: list[int]

    @classmethod
    def fit(
        cls, pieces: Sequence[Piece], steps_per_quarter: float, tempo: int, velocity: int, program: int
    ) -> "ChordCoding":
        """The coding for pieces to train on."""
        used: set[int] = set()
        repeats = False
        for piece in pieces:
            roll = roll_of(on_grid(piece, steps_per_quarter), piece.notes[:, 2])
            used.update(np.unique(roll.keys).tolist())
            repeats = repeats or bool(roll.struck.any())
        return cls(steps_per_quarter, tempo, velocity, writable_keys(used), repeats, [program])

    def to_json(self) -> Json:
        """See `Coding`."""
        return asdict(self)

    @property
    def size(self) -> int:
        """See `Coding`."""
        return FIRST_NOTE + len(self.keys) * (1 + self.repeats)

    @property
    def lowest(self) -> int:
        """See `Coding`."""
        return self.keys[0]

    @property
    def highest(self) -> int:
        """See `Coding`."""
        return max(key for key in self.keys if key < MELODIC_KEYS)

    def encode(self, piece: Piece) -> Ints:
        """See `Coding`; keys that cannot be written are `UNKNOWN`."""
        roll = roll_of(on_grid(piece, self.steps_per_quarter), piece.notes[:, 2])
        tokens = np.full(KEYS, UNKNOWN)
        tokens[self.keys] = FIRST_NOTE + np.arange(len(self.keys))
        notes = tokens[roll.keys]
        if self.repeats:
            notes = np.where(roll.struck & (notes != UNKNOWN), notes + len(self.keys), notes)
        steps = np.arange(self.count_steps(piece))
        width = END_OF_CHORD + 1
        places = np.concatenate([roll.steps * width + KEYS - 1 - roll.keys, steps * width + END_OF_CHORD])
        events: Ints = np.concatenate([notes, np.full(len(steps), STEP)])[np.argsort(places)]
        return events

    def count_steps(self, piece: Piece) -> int:
        """See `Coding`."""
        return grid_steps(piece, self.steps_per_quarter)

    def transposed(self, shift: int) -> Ints:
        """See `Coding`."""
        melodic = self.highest - self.lowest + 1
        starts = (FIRST_NOTE, FIRST_NOTE + len(self.keys))[: 1 + self.repeats]
        return shifted_tokens(self.size, ((start, melodic) for start in starts), shift)

    def label(self, token: int) -> str:
        """See `Coding`."""
        if token == STEP:
            return "step"
        again, index = divmod(token - FIRST_NOTE, len(self.keys))
        return f"{'again' if again else 'note'} {self.keys[index]}"

    def reader(self) -> "ChordReader":
        """See `Coding`."""
        return ChordReader(self)


class ChordReader:
    """Reads events of a `ChordCoding`; a chord that does not fall in pitch is invalid but understood."""

    def __init__(self, coding: ChordCoding) -> None:
        self.step = self.invalid = 0
        self._coding = coding
        self._sounding: dict[int, int] = {}  # key -> the step of its start
        self._chord: dict[int, bool] = {}  # keys of the present step, and whether they begin anew

    def push(self, token: int) -> list[Note]:
        """See `NoteReader`."""
        if token == STEP:
            return self._end_step()
        index = token - FIRST_NOTE
        again, index = divmod(index, len(self._coding.keys))
        if token < FIRST_NOTE or again > self._coding.repeats:
            self.invalid += 1
            return []
        key = self._coding.keys[index]
        last = next(reversed(self._chord), KEYS)
        self.invalid += key >= last or (bool(again) and key not in self._sounding)
        self._chord[key] = bool(again)
        return []

    def close(self) -> list[Note]:
        """See `NoteReader`."""
        ended = self._end_step() if self._chord else []
        ended += [self._note(key, start) for key, start in self._sounding.items()]
        self._sounding = {}
        return ended

    def _end_step(self) -> list[Note]:
        gone = [key for key in self._sounding if self._chord.get(key, True)]
        ended = [self._note(key, self._sounding.pop(key)) for key in gone]
        for key in self._chord:
            self._sounding.setdefault(key, self.step)
        self._chord = {}
        self.step += 1
        return ended

    def _note(self, key: int, start: int) -> Note:
        return Note(start, self.step, key, self._coding.velocity, 0)
