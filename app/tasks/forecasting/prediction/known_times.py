"""Times that many requests have in common: their frequencies, first values and time stamps are kept."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from app.arrays import Array
from app.tasks.forecasting.frequency import Frequency
from app.tasks.shared.timestamps import MAX_TIMESTAMP_CHARS

MAX_KNOWN_FREQUENCIES = 1024  # that need not be parsed again
MAX_GRIDS = 64  # frequencies with the phases of a model's series, and for each of them
MAX_KNOWN_STARTS = 4096  # first values
STAMP_BLOCK_STEPS = 64  # whose time stamps are written together
MAX_STAMP_BLOCKS = 1024  # of them: forecasts begin around now, so most of them share some


def parse_frequency(alias: str | int) -> Frequency:
    """The frequency of an alias, as `Frequency.parse`; spaces around it are not kept."""
    return _parse(alias.strip() if isinstance(alias, str) else alias)


@lru_cache(MAX_KNOWN_FREQUENCIES)
def _parse(alias: str | int) -> Frequency:
    return Frequency.parse(alias)


class KnownStarts:
    """Ordinals and phases of times by their text: many requests begin at the same ones."""

    def __init__(self, frequency: Frequency, phases: Sequence[int]) -> None:
        self._frequency, self._phases = frequency, phases
        self._places: dict[str | int, tuple[int, int]] = {}

    def locate_all(self, starts: Sequence[str | int]) -> tuple[Array, Array]:
        """The same as `Frequency.locate_all`; what is long is not kept."""
        places = [self._places.get(start) for start in starts]
        unknown = [row for row, place in enumerate(places) if place is None]
        if unknown:
            texts = [starts[row] for row in unknown]
            located = zip(*(column.tolist() for column in self._locate(texts)), strict=True)
            for row, text, place in zip(unknown, texts, located, strict=True):
                places[row] = place
                if len(self._places) >= MAX_KNOWN_STARTS:
                    self._places.clear()
                if len(str(text)) <= MAX_TIMESTAMP_CHARS:
                    self._places[text] = place
        ordinals, phases = np.array(places, np.int64).T
        return ordinals, phases

    def _locate(self, starts: Sequence[str | int]) -> tuple[Array, Array]:
        return self._frequency.locate_all(starts, self._phases)


@lru_cache(MAX_GRIDS)
def known_starts(freq: str, phases: tuple[int, ...]) -> KnownStarts:
    """Those of a model's frequency and the phases of its series."""
    return KnownStarts(parse_frequency(freq), phases)


def known_stamps(frequency: Frequency, start: int, n: int, phase: int) -> list[str] | list[int]:
    """The same as `Frequency.stamps`."""
    if n > STAMP_BLOCK_STEPS:
        return frequency.stamps(start, n, phase)
    block, first = divmod(start, STAMP_BLOCK_STEPS)
    stamps = _stamps_of_block(frequency, block, phase)
    if first + n > STAMP_BLOCK_STEPS:
        stamps = [*stamps, *_stamps_of_block(frequency, block + 1, phase)]
    return stamps[first : first + n]


@lru_cache(MAX_STAMP_BLOCKS)
def _stamps_of_block(frequency: Frequency, block: int, phase: int) -> list[str] | list[int]:
    """The stamps of the ordinals of a block; not to be changed."""
    return frequency.stamps(block * STAMP_BLOCK_STEPS, STAMP_BLOCK_STEPS, phase)
