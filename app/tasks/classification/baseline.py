"""Naive Bayes over words and pairs of words: labels of texts without a network.

Multinomial, with add-one smoothing, in lower case (Wang & Manning 2012, "Baselines and bigrams").
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from app.tasks.contract import Array
from app.tasks.shared.ragged import Ragged, offsets_of

WORD = re.compile(r"\w+|[^\w\s]")
LEARNED = 500_000  # texts that are learned from, evenly taken from all
SCORES = 1 << 22  # numbers in memory at once
STRANGE = -1  # a word that training has not


@dataclass(frozen=True)
class Counts:
    """How often labels have words and, numbered behind them, pairs of words.

    Of feature `i` the counts above 0 are those from `offsets[i]` to `offsets[i + 1]`.
    """

    words: dict[str, int]
    pairs: Array  # (pairs,) rising: first word * words + second word
    offsets: Array  # (features + 1,)
    labels: Array  # (counts,)
    logs: Array  # (counts,) log(count + 1)
    priors: Array  # (labels,) log of the share of a label
    totals: Array  # (labels,) log(features of a label + distinct features)

    def guess(self, texts: Iterable[str]) -> Array:
        """The likeliest label of each text, (texts,)."""
        words = _numbered(texts, lambda word: self.words.get(word, STRANGE))
        owners, features = self._features(words)
        order = np.argsort(owners, kind="stable")
        owners, features = owners[order], features[order]
        group = max(1, SCORES // len(self.priors))  # texts
        found = np.zeros(len(words), np.int64)
        for start in range(0, len(words), group):
            begin, end = np.searchsorted(owners, [start, start + group])
            count = min(group, len(words) - start)
            scores = self._scores(owners[begin:end] - start, features[begin:end], count)
            found[start : start + count] = scores.argmax(axis=1)
        return found

    def _features(self, words: Ragged) -> tuple[Array, Array]:
        """The text and the number of each known word and pair; words of all texts come first."""
        owners = np.repeat(np.arange(len(words)), words.lengths)  # (words,)
        known = words.values != STRANGE
        firsts = _firsts(words)
        firsts = firsts[known[firsts] & known[firsts + 1]]
        keys = _keys(words.values, firsts, len(self.words))
        places = np.minimum(np.searchsorted(self.pairs, keys), max(len(self.pairs) - 1, 0))
        there = self.pairs[places] == keys if len(self.pairs) else np.zeros(len(keys), bool)
        return (
            np.concatenate([owners[known], owners[firsts[there]]]),
            np.concatenate([words.values[known], len(self.words) + places[there]]),
        )

    def _scores(self, owners: Array, features: Array, texts: int) -> Array:
        """Log-likelihoods (texts, labels) but for a constant; features with the texts that have them."""
        size = len(self.priors)
        lengths = np.diff(self.offsets)[features]
        before = np.cumsum(lengths) - lengths  # (features,)
        counts = np.repeat(self.offsets[features] - before, lengths) + np.arange(lengths.sum())
        keys = np.repeat(owners * size, lengths) + self.labels[counts]
        logs = np.bincount(keys, weights=self.logs[counts], minlength=texts * size).reshape(texts, size)
        read = np.bincount(owners, minlength=texts)  # (texts,)
        return self.priors + logs - read[:, None] * self.totals


def bayes(texts: Sequence[str], labels: Array, asked: Iterable[str], size: int) -> Array:
    """The likeliest label of each text that is asked about, of the `size` labels of some texts."""
    step = -(-len(texts) // LEARNED)
    return learn(texts[::step], labels[::step], size).guess(asked)


def learn(texts: Iterable[str], labels: Array, size: int) -> Counts:
    """From texts with their labels (texts,), of which there are `size`; each has at least one text."""
    known: dict[str, int] = {}
    words = _numbered(texts, lambda word: known.setdefault(word, len(known)))
    firsts = _firsts(words)
    pairs, numbers = np.unique(_keys(words.values, firsts, len(known)), return_inverse=True)
    owners = np.repeat(labels, words.lengths)  # (words,) the label of each
    features = np.concatenate([words.values, len(known) + numbers])
    keys, counts = np.unique(features * size + np.concatenate([owners, owners[firsts]]), return_counts=True)
    distinct = len(known) + len(pairs)
    each = np.bincount(keys % size, weights=counts, minlength=size)  # (labels,)
    shares = np.bincount(labels, minlength=size) / len(labels)
    return Counts(
        words=known,
        pairs=pairs,
        offsets=offsets_of(np.bincount(keys // size, minlength=distinct)),
        labels=keys % size,
        logs=np.log(counts + 1),
        priors=np.log(np.maximum(shares, 1e-9)),
        totals=np.log(each + distinct),
    )


def _numbered(texts: Iterable[str], number: Callable[[str], int]) -> Ragged:
    """The words of each text as numbers, int64."""
    found = [np.array([number(word) for word in WORD.findall(text.lower())], np.int64) for text in texts]
    return Ragged.of(found, np.int64)


def _firsts(words: Ragged) -> Array:
    """Places of words that another one of the same text follows."""
    place = np.arange(len(words.values))
    last = np.zeros(len(words.values), bool)
    last[words.offsets[1:][words.lengths > 0] - 1] = True
    return place[~last]


def _keys(words: Array, firsts: Array, size: int) -> Array:
    """A number for each pair of words."""
    keys: Array = words[firsts] * size + words[firsts + 1]
    return keys
