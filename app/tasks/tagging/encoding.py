"""Encodes tagged sentences for a network: rows of numbers for words, and numbers of tags."""

from dataclasses import dataclass

import numpy as np

from app.arrays import Array
from app.tasks.contract import UNKNOWN
from app.tasks.shared.ragged import Ragged
from app.tasks.tagging.sentences import Sentences
from app.tasks.tagging.tag_schemes import PLAIN, SCHEMES, TagSet
from app.tasks.tagging.vocabulary import FIRST_ID, load_vocabulary

DEFAULT_ENTITY_SCHEME = "bioes"  # in which entities are learned unless the job names another one


@dataclass(frozen=True)
class TagTargets:
    """The tags that a network learns, and one of them for each token.

    A tag that is not in the training split cannot be learned. The most frequent tag replaces it; an entity
    of an unknown type is no entity.
    """

    scheme: str
    tag_names: list[str]
    tag_ids: Array  # (tokens,)
    can_cut_before: Array  # (tokens,) whether a token is not in the same entity as the one before it
    forbidden: list[list[int]]  # pairs of tags [from, to] that never follow each other

    @classmethod
    def learn(cls, sentences: Sentences, rows: Array, scheme: str) -> "TagTargets":
        """From the tags of the training sentences `rows`; `scheme` is the option of the job."""
        if sentences.scheme is None or scheme == PLAIN:
            return _learn_plain(sentences, rows)
        return _learn_entities(sentences, rows, DEFAULT_ENTITY_SCHEME if scheme == "auto" else scheme)


def _learn_plain(sentences: Sentences, rows: Array) -> TagTargets:
    """Tags as they are, the most frequent first."""
    tags = sentences.tags
    counts = np.bincount(tags[sentences.token_indices(rows)], minlength=len(sentences.tag_names))
    order = np.argsort(-counts, kind="stable")[: int((counts > 0).sum())]
    tag_ids = np.zeros(len(counts), np.int16)
    tag_ids[order] = np.arange(len(order))
    tag_names = [sentences.tag_names[tag] for tag in order.tolist()]
    return TagTargets(PLAIN, tag_names, tag_ids[tags], np.ones(len(tags), bool), [])


def _learn_entities(sentences: Sentences, rows: Array, scheme: str) -> TagTargets:
    """Entities of the types that training has, tagged in `scheme`."""
    entities, types = sentences.entities, sentences.tag_set.types
    known = np.unique(entities.type_ids[sentences.token_indices(rows)])
    known = known[known > 0]
    tags = TagSet.complete(SCHEMES[scheme], [types[type_id] for type_id in known.tolist()])
    mapping = np.zeros(len(types), np.int64)
    mapping[known] = np.arange(1, len(known) + 1)  # types are sorted in both sets
    learned = entities.map_types(mapping)
    tag_ids = tags.tag_ids(learned.type_ids, learned.roles).astype(np.int16)
    can_cut_before = learned.begins | (learned.type_ids == 0)
    return TagTargets(scheme, tags.names, tag_ids, can_cut_before, tags.forbidden_transitions())


@dataclass(frozen=True)
class WordTable:
    """The input rows of all distinct words of a data set."""

    rows: Array  # (words, features) int32: columns and characters; the first is padding
    drop_rates: Array  # (words,) how often training reads a word as unknown

    @classmethod
    def from_words(cls, vocabulary: str, words: list[str], counts: Array, rare_dropout: float) -> "WordTable":
        """From distinct words and how often each occurs in training, (words,).

        A word that occurs n times is read as unknown with probability rare_dropout / (rare_dropout + n).
        """
        rows = load_vocabulary(vocabulary).rows(words).astype(np.int32)
        rows[0] = 0
        word_ids = rows[:, 0]
        occurrences = np.bincount(word_ids, weights=counts)[word_ids]  # (words,) of all spellings of a word
        drop_rates = rare_dropout / np.maximum(rare_dropout + occurrences, 1)
        return cls(rows, np.where(word_ids >= FIRST_ID, drop_rates, 0.0))


@dataclass(frozen=True)
class EncodedSentences:
    """Sentences, or pieces of them, with their tags."""

    table: WordTable
    words: Ragged  # row numbers of the table
    tags: Ragged

    def gather(self, rows: Array, rng: "np.random.Generator | None") -> tuple[Array, Array, Array, Array]:
        """Inputs (batch, time, features), lengths (batch,), targets and weights (batch, time)."""
        words, lengths = self.words.padded(rows)  # (batch, time)
        inputs = self.table.rows[words].astype(np.int64)
        if rng is not None:
            dropped = rng.random(words.shape) < self.table.drop_rates[words]
            inputs[dropped, 0] = UNKNOWN
        tags, _ = self.tags.padded(rows)
        is_token = np.arange(words.shape[1]) < lengths[:, None]
        return inputs, lengths, tags.astype(np.int64), is_token.astype(np.float32)
