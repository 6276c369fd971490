"""Sentences with a tag for each word: every distinct word once, the sentences as numbers of words."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from app.tasks.contract import Array, Arrays
from app.tasks.shared import splits
from app.tasks.shared.ragged import Ragged, Texts
from app.tasks.tagging.spans import Segments, firsts_of
from app.tasks.tagging.tag_schemes import SCHEMES, Scheme, TagSet

WORDS, TOKENS, TAGS, NAMES, SCHEME, SPLITS = "words", "tokens", "tags", "names", "scheme", "splits"


@dataclass(frozen=True)
class Sentences:
    """A data set; where its tags tell entities they are without fault."""

    words: Texts  # distinct ones; the first is empty and stands for padding
    tokens: Ragged  # (tokens,) numbers of words, sentence by sentence
    tags: Array  # (tokens,) numbers of tags
    names: list[str]  # of the tags
    scheme: Scheme | None  # None: the tags tell no entities
    splits: Array  # (sentences,) codes of `splits`

    def __len__(self) -> int:
        return len(self.tokens)

    def arrays(self) -> Arrays:
        """As arrays that a file can hold."""
        scheme = [] if self.scheme is None else [self.scheme.name]
        return {
            **self.words.arrays(WORDS),
            **self.tokens.arrays(TOKENS),
            TAGS: self.tags,
            **Texts.of(self.names).arrays(NAMES),
            **Texts.of(scheme).arrays(SCHEME),
            SPLITS: self.splits,
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> "Sentences":
        """The inverse of `arrays`."""
        names, scheme = Texts.from_arrays(arrays, NAMES), Texts.from_arrays(arrays, SCHEME)
        return cls(
            Texts.from_arrays(arrays, WORDS),
            Ragged.from_arrays(arrays, TOKENS),
            arrays[TAGS],
            names.pick(range(len(names))),
            SCHEMES[scheme[0]] if len(scheme) else None,
            arrays[SPLITS],
        )

    @cached_property
    def tag_set(self) -> TagSet:
        """The tags taken apart; raises `ValueError` if they tell no entities."""
        if self.scheme is None:
            raise ValueError("these tags tell no entities")
        return TagSet.parsed(self.scheme, self.names)

    @cached_property
    def segments(self) -> Segments:
        """The entities."""
        return Segments.read(self.tag_set, self.tags, firsts_of(self.tokens.offsets))

    @property
    def training(self) -> Array:
        """Whether a sentence may be trained on, (sentences,); some of them may be held out later."""
        return np.isin(self.splits, (splits.OPEN, splits.TRAIN))

    def taken(self, rows: Array) -> Array:
        """Where the tokens of some sentences are, one sentence after the other."""
        starts, lengths = self.tokens.offsets[rows], self.tokens.lengths[rows]
        before = np.cumsum(lengths) - lengths  # (rows,) tokens of the rows before
        return np.repeat(starts - before, lengths) + np.arange(lengths.sum())


def cut(offsets: Array, longest: int, apart: Array) -> Array:
    """Offsets of pieces of at most `longest` tokens where that is possible.

    A sentence is only cut before a token that is `apart` (tokens,) from the one before it.
    """
    found = [offsets]
    for row in np.flatnonzero(np.diff(offsets) > longest):
        start, end = int(offsets[row]), int(offsets[row + 1])
        seams = start + np.flatnonzero(apart[start:end])
        while end - start > longest:
            fitting = seams[(seams > start) & (seams <= start + longest)]
            later = seams[seams > start + longest]
            start = int(fitting[-1] if len(fitting) else later[0] if len(later) else end)
            found.append(np.array([start]))
    return np.unique(np.concatenate(found))
