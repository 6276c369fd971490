"""Tagged sentences laid out for a network: a table of what it reads of each word, and numbers into it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from app.features import vocabulary
from app.features.ragged import Ragged
from app.features.text import UNKNOWN
from app.features.vocabulary import FIRST

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Table:
    """Every distinct word of a data set."""

    rows: Array  # (words, features) int32: columns and characters; the first is padding
    forgotten: Array  # (words,) how often training reads it as unknown

    @classmethod
    def of(cls, written: str, words: list[str], counts: Array, rare: float) -> "Table":
        """Distinct words, how often training has each (words,), and the dropout of rare ones."""
        rows = vocabulary.load(written).rows(words).astype(np.int32)
        rows[0] = 0
        known = rows[:, 0]
        seen = np.bincount(known, weights=counts)[known]  # (words,) a word may be written in several ways
        forgotten = np.where(known >= FIRST, rare / np.maximum(rare + seen, 1), 0.0)
        return cls(rows, forgotten)


@dataclass(frozen=True)
class Layout:
    """Sentences, or pieces of them, with their tags."""

    table: Table
    words: Ragged  # rows of the table
    tags: Ragged

    def gather(self, rows: Array, rng: "np.random.Generator | None") -> tuple[Array, Array, Array, Array]:
        """Inputs (batch, time, features), lengths (batch,), targets and weights (batch, time)."""
        words, lengths = self.words.padded(rows)  # (batch, time)
        inputs = self.table.rows[words].astype(np.int64)
        if rng is not None:
            lost = rng.random(words.shape) < self.table.forgotten[words]
            inputs[lost, 0] = UNKNOWN
        tags, _ = self.tags.padded(rows)
        real = np.arange(words.shape[1]) < lengths[:, None]
        return inputs, lengths, tags.astype(np.int64), real.astype(np.float32)
