"""Tagged sentences laid out for a network: a table of what it reads of each word, and numbers into it."""

from dataclasses import dataclass

import numpy as np

from app.tasks.contract import Array
from app.tasks.shared.ragged import Ragged
from app.tasks.shared.tokenizers import UNKNOWN
from app.tasks.tagging import vocabulary
from app.tasks.tagging.sentences import Sentences
from app.tasks.tagging.tag_schemes import PLAIN, SCHEMES, TagSet
from app.tasks.tagging.vocabulary import FIRST

LEARNED = "bioes"  # the scheme of entities, unless another one is asked for


@dataclass(frozen=True)
class Targets:
    """Tags that training has, and a number of one for each token.

    What training has not cannot be learned: the most frequent tag stands for it, or none of an entity.
    """

    scheme: str
    names: list[str]
    numbers: Array  # (tokens,)
    apart: Array  # (tokens,) whether a token is in no entity with the one before it
    forbidden: list[list[int]]  # which tag never follows which

    @classmethod
    def learn(cls, sentences: Sentences, rows: Array, scheme: str) -> "Targets":
        """From the tags of some sentences; `scheme` is one of the job's options."""
        if sentences.scheme is None or scheme == PLAIN:
            return _of_words(sentences, rows)
        return _of_entities(sentences, rows, LEARNED if scheme == "auto" else scheme)


def _of_words(sentences: Sentences, rows: Array) -> Targets:
    counts = np.bincount(sentences.tags[sentences.taken(rows)], minlength=len(sentences.names))
    order = np.argsort(-counts, kind="stable")[: int((counts > 0).sum())]
    numbers = np.zeros(len(counts), np.int16)
    numbers[order] = np.arange(len(order))
    names = [sentences.names[tag] for tag in order.tolist()]
    return Targets(PLAIN, names, numbers[sentences.tags], np.ones(len(sentences.tags), bool), [])


def _of_entities(sentences: Sentences, rows: Array, scheme: str) -> Targets:
    segments, types = sentences.segments, sentences.tag_set.types
    met = np.unique(segments.kinds[sentences.taken(rows)])
    met = met[met > 0]
    tags = TagSet.full(SCHEMES[scheme], [types[kind] for kind in met.tolist()])
    kinds = np.zeros(len(types), np.int64)
    kinds[met] = np.arange(1, len(met) + 1)  # types are in order in either
    known = segments.mapped(kinds)
    numbers = tags.numbers(known.kinds, known.roles).astype(np.int16)
    apart = known.begins | (known.kinds == 0)
    return Targets(scheme, tags.names, numbers, apart, tags.forbidden())


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
