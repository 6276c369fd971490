"""Pieces as events to learn from: one stream that is transposed anew for each pass, and held-out windows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from app.arrays import Array, Ints
from app.tasks.contract import END, PADDING, Batch
from app.tasks.music.codings.performance import PerformanceCoding
from app.tasks.music.codings.pieces import MELODIC_KEYS, TRANSPOSITIONS, Coding, Piece
from app.tasks.shared.ragged import Ragged

VIEW = 1  # tells the seeds of a pass's view from those of its other random choices
WINDOW_EVENTS = 512  # of a held-out piece that are scored together
CONTEXT_EVENTS = 512  # that are read before them


@dataclass(frozen=True)
class Variation:
    """What each training pass changes in each piece."""

    transpose: bool
    stretch: float  # largest change of a performance's length, as a share of it


class TrainingStream:
    """All pieces as one stream of events with `END` before each and behind the last.

    A view with a random generator has the pieces in another order, each in another key, and performances at
    another tempo. It depends on the generator's seed alone, not on how far it was used: all batches of one
    pass are of one view, so that the network's state can be carried from piece to piece.
    """

    def __init__(self, coding: Coding, pieces: Sequence[Piece], variation: Variation, steps: int) -> None:
        self.carried = True
        self._coding, self._pieces, self._variation, self._steps = coding, pieces, variation, steps
        self._events = [coding.encode(piece) for piece in pieces]
        self._shifts = [_possible_shifts(piece) for piece in pieces]
        self._tables = {shift: coding.transposed(shift) for shift in TRANSPOSITIONS}
        self.canonical = joined(self._events)
        self._targets = len(self.canonical) - 1
        self._view: tuple[object, Ints] = None, self.canonical  # the last seed, and its stream
        starts = np.arange(0, self._targets, steps)
        self.lengths: Ints = np.minimum(self._targets - starts, steps)  # (parts,)

    def batch(self, rows: Ints, rng: "np.random.Generator | None") -> Batch:
        """Some parts of the stream, as the NEXT_TOKEN loss expects them."""
        stream = self.canonical if rng is None else self._varied(rng)
        starts = np.asarray(rows, np.int64) * self._steps  # (batch,)
        lengths = np.minimum(self._targets - starts, self._steps)
        steps = np.arange(lengths.max())
        real = steps < lengths[:, None]  # (batch, time)
        index = np.minimum(starts[:, None] + steps, self._targets - 1)
        inputs = np.where(real, stream[index], PADDING)
        targets = np.where(real, stream[index + 1], PADDING)
        return Batch(inputs[:, :, None], lengths, targets, real.astype(np.float32))

    def _varied(self, rng: "np.random.Generator") -> Ints:
        seeds = cast("Any", rng.bit_generator).seed_seq
        seed = repr((seeds.entropy, seeds.spawn_key))
        if self._view[0] != seed:
            fresh = np.random.SeedSequence(seeds.entropy, spawn_key=(*seeds.spawn_key, VIEW))
            self._view = seed, self._draw(np.random.default_rng(fresh))
        return self._view[1]

    def _draw(self, rng: "np.random.Generator") -> Ints:
        """A stream of exactly as many events: a longer one is cut, a shorter one begins again."""
        order = rng.permutation(len(self._pieces)).tolist()
        return np.resize(joined([self._vary(index, rng) for index in order]), self._targets + 1)

    def _vary(self, index: int, rng: "np.random.Generator") -> Ints:
        events, stretch = self._events[index], self._variation.stretch
        if stretch and isinstance(self._coding, PerformanceCoding):
            factor = 1 + float(rng.uniform(-stretch, stretch))
            events = self._coding.encode_stretched(self._pieces[index], factor)
        return (
            self._tables[int(rng.choice(self._shifts[index]))][events]
            if self._variation.transpose
            else events
        )


class HeldOutWindows:
    """Pieces in windows that are scored, each read after the events before it; a piece begins with `END`."""

    def __init__(self, coding: Coding, pieces: Sequence[Piece]) -> None:
        self.carried = False
        self.coding, self.pieces = coding, pieces
        self.events = [coding.encode(piece) for piece in pieces]
        windows = [window for events in self.events for window in scored_windows(joined([events]))]
        self._windows = Ragged.of([tokens for tokens, _ in windows] or [[END, END]], np.int64)
        self.contexts: Ints = np.array([context for _, context in windows] or [0])  # (windows,)
        self.lengths: Ints = self._windows.lengths - 1  # (windows,)

    def batch(self, rows: Ints, rng: "np.random.Generator | None") -> Batch:
        """Some windows; the events before the scored ones have no weight."""
        del rng  # a held-out piece is never varied
        tokens, lengths = self._windows.padded(rows)  # (batch, time + 1)
        steps = np.arange(tokens.shape[1] - 1)
        real = steps < lengths[:, None] - 1  # (batch, time)
        scored = real & (steps >= self.contexts[rows][:, None])
        inputs, targets = np.where(real, tokens[:, :-1], PADDING), np.where(real, tokens[:, 1:], PADDING)
        return Batch(inputs[:, :, None], lengths - 1, targets, scored.astype(np.float32))

    def scored(self, outputs: Sequence[Array]) -> Array:
        """The negative log-likelihood of each event (events,), from those of whole windows."""
        parts = [output[context:] for output, context in zip(outputs, self.contexts, strict=True)]
        return np.concatenate(parts).astype(np.float64)


def joined(pieces: Sequence[Ints]) -> Ints:
    """The events of pieces in order (events,), with `END` before the first and after each."""
    end = np.array([END], np.int64)
    return np.concatenate([end, *(part for events in pieces for part in (events, end))])


def scored_windows(tokens: Ints) -> list[tuple[Ints, int]]:
    """The windows of a piece from `END` to `END`; and how many of the targets of each are not scored."""
    targets = len(tokens) - 1
    first = min(WINDOW_EVENTS + CONTEXT_EVENTS, targets)
    windows = [(tokens[: first + 1], 0)]
    for start in range(first, targets, WINDOW_EVENTS):
        end = min(start + WINDOW_EVENTS, targets)
        windows.append((tokens[start - CONTEXT_EVENTS : end + 1], CONTEXT_EVENTS))
    return windows


def _possible_shifts(piece: Piece) -> list[int]:
    """The transpositions in which a piece has no pitch that MIDI lacks."""
    pitches = piece.notes[piece.notes[:, 2] < MELODIC_KEYS, 2]
    low, high = int(pitches.min(initial=MELODIC_KEYS)), int(pitches.max(initial=0))
    return [shift for shift in TRANSPOSITIONS if low + shift >= 0 and high + shift < MELODIC_KEYS]
