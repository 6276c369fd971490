"""Tagged sentences: every distinct word once, the sentences as numbers of words and tags."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from app.arrays import Array, Arrays
from app.tasks.shared import splits
from app.tasks.shared.ragged import Ragged, Texts
from app.tasks.tagging.spans import EntityMarks, sentence_starts
from app.tasks.tagging.tag_schemes import SCHEMES, TagScheme, TagSet

# Names of the stored arrays; two of them are fields of a file too.
WORDS, TOKENS, TAGS, NAMES, SCHEME, SPLITS = "words", "tokens", "tags", "names", "scheme", "splits"

NO_TAG = -1  # the number of the tag of a token that has none


@dataclass(frozen=True)
class Sentences:
    """A data set of sentences, all or none of them tagged; entity tags follow their scheme throughout."""

    words: Texts  # distinct ones; the first is empty and stands for padding
    tokens: Ragged  # (tokens,) word numbers, sentence by sentence
    tags: Array  # (tokens,) tag numbers, or `NO_TAG`
    tag_names: list[str]
    scheme: TagScheme | None  # None: the tags mark no entities
    splits: Array  # (sentences,) codes of `app.tasks.shared.splits`

    def __len__(self) -> int:
        return len(self.tokens)

    def arrays(self) -> Arrays:
        """The data set as arrays that an .npz file can hold."""
        scheme = [] if self.scheme is None else [self.scheme.name]
        return {
            **self.words.arrays(WORDS),
            **self.tokens.arrays(TOKENS),
            TAGS: self.tags,
            **Texts.of(self.tag_names).arrays(NAMES),
            **Texts.of(scheme).arrays(SCHEME),
            SPLITS: self.splits,
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> "Sentences":
        """The inverse of `arrays`."""
        tag_names, scheme = Texts.from_arrays(arrays, NAMES), Texts.from_arrays(arrays, SCHEME)
        return cls(
            Texts.from_arrays(arrays, WORDS),
            Ragged.from_arrays(arrays, TOKENS),
            arrays[TAGS],
            tag_names.pick(range(len(tag_names))),
            SCHEMES[scheme[0]] if len(scheme) else None,
            arrays[SPLITS],
        )

    @cached_property
    def tag_set(self) -> TagSet:
        """The tags with their types and roles; raises `ValueError` if they mark no entities."""
        if self.scheme is None:
            raise ValueError("these tags mark no entities")
        return TagSet.parse(self.scheme, self.tag_names)

    @cached_property
    def entities(self) -> EntityMarks:
        """The entities that the tags mark."""
        return EntityMarks.from_tags(self.tag_set, self.tags, sentence_starts(self.tokens.offsets))

    @property
    def is_trainable(self) -> Array:
        """Whether the file allows training on a sentence, (sentences,); some may be held out later."""
        return np.isin(self.splits, splits.TRAINING_CODES)

    def token_indices(self, rows: Array) -> Array:
        """Indices of the tokens of some sentences, one sentence after the other."""
        starts, lengths = self.tokens.offsets[rows], self.tokens.lengths[rows]
        preceding = np.cumsum(lengths) - lengths  # (rows,) tokens of the rows before
        return np.repeat(starts - preceding, lengths) + np.arange(lengths.sum())


def cut_sentences(offsets: Array, max_tokens: int, can_cut_before: Array) -> Array:
    """Offsets of pieces of sentences, each of at most `max_tokens` tokens where that is possible.

    A sentence is only cut before a token that allows it: `can_cut_before` is (tokens,).
    """
    pieces = [offsets]
    for row in np.flatnonzero(np.diff(offsets) > max_tokens):
        start, end = int(offsets[row]), int(offsets[row + 1])
        cuts = start + np.flatnonzero(can_cut_before[start:end])
        while end - start > max_tokens:
            within = cuts[(cuts > start) & (cuts <= start + max_tokens)]
            beyond = cuts[cuts > start + max_tokens]
            start = int(within[-1] if len(within) else beyond[0] if len(beyond) else end)
            pieces.append(np.array([start]))
    return np.unique(np.concatenate(pieces))
