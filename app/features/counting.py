"""Labels without a network: naive Bayes for texts, the nearest neighbour for readings."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from app.features.ragged import Ragged

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]

WORD = re.compile(r"\w+|[^\w\s]")
GRAMS = 2_000_000  # different ones that are counted
STEPS = 64  # of readings that are compared
TOGETHER = 256  # sequences whose distances are in memory
MOST = 5_000  # neighbours that are looked at


def grams(text: str) -> list[str]:
    """Words and pairs of words, in lower case."""
    words = WORD.findall(text.lower())
    return [*words, *map(" ".join, pairwise(words))]


def bayes(texts: Sequence[str], labels: Ints, asked: Sequence[str], count: int) -> Ints:
    """The likeliest label of each text by a multinomial naive Bayes model with Laplace smoothing.

    Wang & Manning (2012), "Baselines and bigrams".
    """
    numbers: dict[str, int] = {}
    rows, columns, weights = [], [], []
    for row, text in enumerate(texts):
        for gram, times in Counter(grams(text)).items():
            number = numbers.setdefault(gram, len(numbers)) if len(numbers) < GRAMS else numbers.get(gram)
            if number is not None:
                rows.append(row)
                columns.append(number)
                weights.append(times)
    table = np.ones((count, max(len(numbers), 1)))
    np.add.at(table, (labels[np.array(rows, np.int64)], np.array(columns, np.int64)), weights)
    logs = np.log(table / table.sum(axis=1, keepdims=True))  # (labels, grams)
    prior = np.log((np.bincount(labels, minlength=count) + 1) / (len(labels) + count))
    found = []
    for text in asked:
        known = [numbers[gram] for gram in grams(text) if gram in numbers]
        found.append(int((prior + logs[:, known].sum(axis=1)).argmax()))
    return np.array(found, np.int64)


def resampled(readings: Ragged, rows: Ints, steps: int) -> Array:
    """Rows as (rows, steps * channels), each stretched to so many steps by straight lines."""
    found = []
    for row in rows.tolist():
        one = readings[row]  # (time, channels)
        place = np.linspace(0, len(one) - 1, steps)
        left = np.floor(place).astype(np.int64)
        right, share = np.minimum(left + 1, len(one) - 1), (place - left)[:, None]
        found.append((one[left] * (1 - share) + one[right] * share).ravel())
    return np.array(found, np.float32)


def nearest(readings: Ragged, labels: Ints, train: Ints, asked: Ints) -> Ints:
    """The label of the nearest training row to each row asked (Euclidean); readings are standardised."""
    train = train[:: -(-len(train) // MOST)]
    steps = int(np.clip(np.median(readings.lengths[train]), 2, STEPS))
    known = resampled(readings, train, steps)  # (train, width)
    square, found = (known**2).sum(axis=1), []
    for start in range(0, len(asked), TOGETHER):
        some = resampled(readings, asked[start : start + TOGETHER], steps)
        found.append(labels[train[(square - 2 * some @ known.T).argmin(axis=1)]])
    return np.concatenate(found)
