"""A step grid of voices: at each time step one event for every voice, always in the same order.

No event says which voice it is of, or that a step ends, and a harmony is read note by note as in the
serialised chorales of Liang et al. (2017), "Automatic stylistic composition of Bach chorales with deep LSTM".
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from app.arrays import Array, Ints
from app.tasks.contract import UNKNOWN
from app.tasks.music.codings.pieces import (
    FIRST_EVENT,
    MELODIC_KEYS,
    Note,
    Piece,
    extended_range,
    grid_steps,
    on_grid,
    roll_of,
    shifted_tokens,
)
from app.typedefs import Json

REST = -1
MAX_VOICES = 8
MAX_OVERLAP = 0.01  # share of a track's steps at which two of its notes sound; with more it is no voice


@dataclass(frozen=True)
class VoiceCoding:
    """Events of each voice: a rest, for each pitch that it sounds, and, where voices repeat notes, begins."""

    steps_per_quarter: float
    tempo: int
    velocity: int
    ranges: list[list[int]]  # lowest and highest pitch of each voice
    repeats: bool  # whether there are events of notes that begin anew
    programs: list[int]  # of each voice

    @classmethod
    def fit(
        cls,
        pieces: Sequence[Piece],
        steps_per_quarter: float,
        tempo: int,
        velocity: int,
        programs: list[int],
    ) -> "VoiceCoding":
        """The coding for pieces to train on, all of which have the same number of voices."""
        used: list[set[int]] = [set() for _ in programs]
        repeats = False
        for piece in pieces:
            sheet, struck = voice_sheet(piece, steps_per_quarter, len(programs))
            for voice, keys in enumerate(used):
                keys.update(np.unique(sheet[:, voice]).tolist())
            repeats = repeats or bool(struck.any())
        ranges = [list(extended_range(keys - {REST})) for keys in used]
        return cls(steps_per_quarter, tempo, velocity, ranges, repeats, programs)

    def to_json(self) -> Json:
        """See `Coding`."""
        return asdict(self)

    @property
    def widths(self) -> list[int]:
        """The number of events of each voice."""
        return [1 + (high - low + 1) * (1 + self.repeats) for low, high in self.ranges]

    @property
    def starts(self) -> list[int]:
        """The first event of each voice, its rest; then the end of the vocabulary."""
        return [FIRST_EVENT, *(FIRST_EVENT + np.cumsum(self.widths)).tolist()]

    @property
    def size(self) -> int:
        """See `Coding`."""
        return self.starts[-1]

    @property
    def lowest(self) -> int:
        """See `Coding`."""
        return min(low for low, _ in self.ranges)

    @property
    def highest(self) -> int:
        """See `Coding`."""
        return max(high for _, high in self.ranges)

    def encode(self, piece: Piece) -> Ints:
        """See `Coding`; of a piece with other tracks the highest notes of each step are the voices."""
        sheet, struck = voice_sheet(piece, self.steps_per_quarter, len(self.ranges))
        tokens = np.empty(sheet.shape, np.int64)  # (steps, voices)
        for voice, (low, high) in enumerate(self.ranges):
            column, count = sheet[:, voice], high - low + 1
            events = self.starts[voice] + 1 + column - low
            if self.repeats:
                events = events + np.where(struck[:, voice], count, 0)
            known = (column >= low) & (column <= high)
            tokens[:, voice] = np.where(known, events, np.where(column == REST, self.starts[voice], UNKNOWN))
        return tokens.reshape(-1)

    def count_steps(self, piece: Piece) -> int:
        """See `Coding`."""
        return grid_steps(piece, self.steps_per_quarter)

    def transposed(self, shift: int) -> Ints:
        """See `Coding`."""
        runs: list[tuple[int, int]] = []
        for start, (low, high) in zip(self.starts, self.ranges, strict=False):
            count = high - low + 1
            runs += [(first, count) for first in (start + 1, start + 1 + count)[: 1 + self.repeats]]
        return shifted_tokens(self.size, runs, shift)

    def label(self, token: int) -> str:
        """See `Coding`."""
        voice = bisect_right(self.starts, token) - 1
        low, high = self.ranges[voice]
        place = token - self.starts[voice]
        if not place:
            return f"voice {voice + 1} rest"
        again, index = divmod(place - 1, high - low + 1)
        return f"voice {voice + 1} {'again' if again else 'note'} {low + index}"

    def reader(self) -> "VoiceReader":
        """See `Coding`."""
        return VoiceReader(self)


class VoiceReader:
    """Reads events of a `VoiceCoding`; one of another voice than the next one is invalid."""

    def __init__(self, coding: VoiceCoding) -> None:
        self.step = self.invalid = 0
        self._coding, self._starts = coding, coding.starts
        self._voice = 0  # the one whose event is next
        self._sounding: dict[int, tuple[int, int]] = {}  # voice -> key, and the step of its start

    def push(self, token: int) -> list[Note]:
        """See `NoteReader`."""
        voice, place = self._voice, token - self._starts[self._voice]
        if not 0 <= place < self._starts[voice + 1] - self._starts[voice]:
            self.invalid += 1
            return []
        low, high = self._coding.ranges[voice]
        again, index = divmod(place - 1, high - low + 1)
        ended = self._play(voice, low + index if place else REST, again=place > 0 and again > 0)
        self._voice = (voice + 1) % len(self._coding.ranges)
        self.step += self._voice == 0
        return ended

    def close(self) -> list[Note]:
        """See `NoteReader`; voices that have no event at the last step keep their note."""
        self.step += self._voice > 0
        voices = list(self._sounding)
        return [note for voice in voices for note in self._play(voice, REST, again=False)]

    def _play(self, voice: int, key: int, *, again: bool) -> list[Note]:
        before, start = self._sounding.get(voice, (REST, self.step))
        if key == before and not again:
            return []
        ended = []
        if before != REST:
            ended = [Note(start, self.step, before, self._coding.velocity, voice)]
            del self._sounding[voice]
        if key != REST:
            self._sounding[voice] = key, self.step
        return ended


def count_voices(piece: Piece, steps_per_quarter: float) -> int:
    """The number of a piece's tracks if each is one voice, else 0."""
    tracks = len(piece.programs)
    if not 2 <= tracks <= MAX_VOICES or (piece.notes[:, 2] >= MELODIC_KEYS).any():
        return 0
    steps = on_grid(piece, steps_per_quarter)
    for track in range(tracks):
        part = steps[piece.notes[:, 4] == track]
        length = int((part[:, 1] - part[:, 0]).sum())
        overlap = int(np.maximum(np.maximum.accumulate(part[:-1, 1]) - part[1:, 0], 0).sum())
        if overlap > MAX_OVERLAP * length:
            return 0
    return tracks


def voice_sheet(piece: Piece, steps_per_quarter: float, voices: int) -> tuple[Ints, Array]:
    """The key of each voice at each step, or `REST`, (steps, voices); and where one begins anew, bool."""
    shape = grid_steps(piece, steps_per_quarter), voices
    sheet, struck = np.full(shape, REST, np.int64), np.zeros(shape, bool)
    steps, keys = on_grid(piece, steps_per_quarter), piece.notes[:, 2]
    if count_voices(piece, steps_per_quarter) == voices:
        for (start, end), key, track in zip(steps.tolist(), keys.tolist(), piece.notes[:, 4], strict=True):
            struck[start, track] = start > 0 and sheet[start - 1, track] == key
            sheet[start:end, track] = key
        return sheet, struck
    melodic = keys < MELODIC_KEYS
    roll = roll_of(steps[melodic], keys[melodic])
    order = np.lexsort((-roll.keys, roll.steps))
    starts = np.searchsorted(roll.steps, roll.steps)  # of each note's chord
    rank = np.arange(len(order)) - starts
    kept = order[rank < voices]
    columns = rank[rank < voices]
    sheet[roll.steps[kept], columns] = roll.keys[kept]
    struck[roll.steps[kept], columns] = roll.struck[kept]
    struck[1:] &= sheet[1:] == sheet[:-1]
    return sheet, struck
