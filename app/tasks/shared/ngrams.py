"""An n-gram model of numbers, such as characters or events.

Interpolated by Witten & Bell (1991): the counts after a context weigh the more, the more often the context
occurred and the fewer different numbers followed it.
"""

from dataclasses import dataclass

import numpy as np

from app.arrays import Array

NGRAM = "ngram"  # the name of the baseline
NGRAM_ORDER = 5  # numbers of an n-gram, the predicted one included
LOOKUP_SIZE = 1 << 20  # numbers that are looked up at once


@dataclass(frozen=True)
class _NGramCounts:
    """The distinct n-grams of one length, each as context * size + number, rising, and their counts."""

    keys: Array  # (n,) int64
    counts: Array  # (n,)
    totals: Array  # (contexts + 1,) occurrences of each context; 0 for the last one, the unknown context
    kinds: Array  # (contexts + 1,) different numbers that followed it

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
    """Probabilities of each number below `size` after those before it, learned from a stream (n,)."""

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
        starts = range(lead, len(stream), LOOKUP_SIZE)
        parts = [self._nats(stream[start - lead : start + LOOKUP_SIZE])[lead:] for start in starts]
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

    Position 0 has the context of the beginning.
    """
    return np.concatenate([np.zeros(1, np.int64), ngrams[:-1]])
