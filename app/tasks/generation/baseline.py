"""Baseline: a language model that counts characters after the four before them.

Interpolated by Witten & Bell (1991): the counts after a context weigh the more, the more often the context
occurred and the fewer different characters followed it.
"""

from dataclasses import dataclass

import numpy as np

from app.tasks.arrays import Array
from app.tasks.generation.corpus import CorpusPart

NGRAM_ORDER = 5  # characters of an n-gram, the predicted one included
MAX_TRAIN_CHARS = 8_000_000  # characters that are counted, the last ones of a corpus
LOOKUP_CHARS = 1 << 20  # characters that are looked up at once
CODE_POINTS = 0x110000  # of Unicode: a character that did not occur may be any of them


class Alphabet:
    """The characters of a training corpus as numbers: 0 is the end of a document, the last one any other."""

    def __init__(self, part: CorpusPart) -> None:
        self._points = np.unique(np.concatenate([np.unique(_code_points(text)) for text in part.texts]))
        self.size = len(self._points) + 2

    def encode_part(self, part: CorpusPart) -> Array:
        """Documents as one stream of numbers (n,) int64, after as many ends as a context has."""
        end = np.zeros(1, np.int64)
        numbers = [np.zeros(NGRAM_ORDER - 1, np.int64)]
        for index, text in enumerate(part.texts):
            numbers += [end] * (index > 0) + [self.encode(text)]
        return np.concatenate([*numbers, *[end] * part.ended])

    def encode(self, text: str) -> Array:
        """The numbers of a text's characters, (n,) int64."""
        points = _code_points(text)
        index = np.minimum(np.searchsorted(self._points, points), len(self._points) - 1)
        return np.where(self._points[index] == points, index + 1, self.size - 1)


@dataclass(frozen=True)
class _NGramCounts:
    """The distinct n-grams of one length, each as context * size + character, rising, and their counts."""

    keys: Array  # (n,) int64
    counts: Array  # (n,)
    totals: Array  # (contexts + 1,) occurrences of each context; 0 for the last one, the unknown context
    kinds: Array  # (contexts + 1,) different characters that followed it

    @classmethod
    def of(cls, keys: Array, size: int, contexts: int) -> "_NGramCounts":
        distinct, counts = np.unique(keys, return_counts=True)
        context = distinct // size
        totals = np.bincount(context, counts, contexts + 1)
        return cls(distinct, counts, totals, np.bincount(context, minlength=contexts + 1))

    def find(self, keys: Array) -> Array:
        """The index of each n-gram in `keys`; for an unknown one the index after the last."""
        index = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[index] == keys, index, len(self.keys))


class NGramModel:
    """Probabilities of each character after those before it, learned from a stream (n,) of numbers."""

    def __init__(self, stream: Array, size: int) -> None:
        self._size = size
        self._orders: list[_NGramCounts] = []
        contexts, count = np.zeros(len(stream), np.int64), 1
        for order in range(NGRAM_ORDER):
            keys = contexts * size + stream
            counts = _NGramCounts.of(keys, size, count)
            self._orders.append(counts)
            if order < NGRAM_ORDER - 1:
                contexts, count = _next_contexts(np.searchsorted(counts.keys, keys)), len(counts.keys)

    def nats(self, stream: Array) -> Array:
        """The negative log-likelihood in nats of each number of a stream after the first context."""
        lead = NGRAM_ORDER - 1
        starts = range(lead, len(stream), LOOKUP_CHARS)
        parts = [self._nats(stream[start - lead : start + LOOKUP_CHARS])[lead:] for start in starts]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _nats(self, stream: Array) -> Array:
        contexts = np.zeros(len(stream), np.int64)
        likely = np.full(len(stream), 1 / self._size)
        for order in self._orders:
            index = order.find(contexts * self._size + stream)
            counts = np.append(order.counts, 0)[index]
            kinds = np.maximum(order.kinds[contexts], 1)  # an unknown context changes nothing
            likely = (counts + kinds * likely) / (order.totals[contexts] + kinds)
            contexts = _next_contexts(index)
        nats: Array = -np.log(likely)
        return nats


def _next_contexts(ngrams: Array) -> Array:
    """Context ids: the n-gram that ends at `t` is the context of `t + 1`.

    Position 0 has the end-of-document context.
    """
    return np.concatenate([np.zeros(1, np.int64), ngrams[:-1]])


@dataclass(frozen=True)
class NGramScore:
    """The cost of a text by the n-gram model."""

    nats: float  # of all characters and ends; the unseen characters count as one kind
    targets: int  # characters and ends
    unseen: int  # characters that did not occur in training

    @property
    def nats_with_unseen(self) -> float:
        """The cost if each unseen character is one of all code points, all equally probable."""
        return self.nats + self.unseen * float(np.log(CODE_POINTS))


def score_ngrams(train: CorpusPart, test: CorpusPart) -> NGramScore:
    """Learn from the end of one part and predict the other."""
    train = train.last(MAX_TRAIN_CHARS)
    alphabet = Alphabet(train)
    model = NGramModel(alphabet.encode_part(train), alphabet.size)
    stream = alphabet.encode_part(test)
    nats = model.nats(stream)
    return NGramScore(float(nats.sum()), len(nats), int((stream == alphabet.size - 1).sum()))


class SpellingModel:
    """The cost of spelling a word that a vocabulary lacks, by the frequency of each character."""

    def __init__(self, train: CorpusPart) -> None:
        train = train.last(MAX_TRAIN_CHARS)
        self._alphabet = Alphabet(train)
        counts = np.bincount(self._alphabet.encode_part(train), minlength=self._alphabet.size)
        kinds = np.count_nonzero(counts)  # smoothed by Witten & Bell as well
        smoothed = np.append(counts[:-1], kinds / CODE_POINTS)
        self._nats = -np.log(smoothed / (counts.sum() + kinds))

    def nats(self, words: list[str]) -> float:
        """The cost of all characters, and of one bit a character that says whether the word ends."""
        numbers = self._alphabet.encode("".join(words))
        return float(self._nats[numbers].sum() + len(numbers) * np.log(2))


def _code_points(text: str) -> Array:
    """Code points (n,) int64."""
    return np.frombuffer(text.encode("utf-32-le"), np.uint32).astype(np.int64)
