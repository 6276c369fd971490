"""Labels without a network, by scikit-learn: naive Bayes for texts, the nearest neighbor for readings."""

from collections.abc import Callable, Sequence
from importlib import import_module  # only a worker that evaluates pays for the library

import numpy as np

from app.arrays import Array, Ints
from app.tasks.shared.ragged import Ragged
from app.tasks.unspaced import CHARACTER, OTHER_WORD

WORD_OR_SIGN = rf"{CHARACTER}|{OTHER_WORD}|[^\w\s]"
MAX_BAYES_TEXTS = 500_000  # texts that are learned from, evenly taken from all
MAX_BAYES_COUNTS = 1 << 25  # labels * features, some arrays of which are in memory; the rarest features go
MAX_BAYES_SCORES = 1 << 22  # texts * labels that are in memory at once
MAX_NEIGHBORS = 5_000  # sequences that are compared with, evenly taken from all
MAX_RESAMPLED_STEPS = 64


def naive_bayes(texts: Sequence[str], labels: Ints, requested: Sequence[str]) -> Ints:
    """The most probable label of each requested text, see `learn_naive_bayes`."""
    return learn_naive_bayes(texts, labels)(requested)


def learn_naive_bayes(texts: Sequence[str], labels: Ints) -> Callable[[Sequence[str]], Ints]:
    """What gives the most probable label of each text, learned from texts with their labels (texts,).

    Multinomial, with add-one smoothing, over words and pairs of neighboring words in lower case (Wang &
    Manning 2012, "Baselines and bigrams"). A character of a script without spaces between words is a word.
    """
    library, step = import_module("sklearn"), -(-len(texts) // MAX_BAYES_TEXTS)
    texts, labels = texts[::step], labels[::step]
    count = len(np.unique(labels))
    counter = library.feature_extraction.text.CountVectorizer(
        ngram_range=(1, 2), token_pattern=WORD_OR_SIGN, max_features=MAX_BAYES_COUNTS // count
    )
    model = library.naive_bayes.MultinomialNB().fit(counter.fit_transform(texts), labels)
    batch = max(1, MAX_BAYES_SCORES // count)

    def predict(requested: Sequence[str]) -> Ints:
        starts = range(0, len(requested), batch)
        return np.concatenate(
            [model.predict(counter.transform(requested[start : start + batch])) for start in starts]
        )

    return predict


def nearest_neighbor(readings: Ragged, labels: Ints, train: Ints, requested: Ints) -> Ints:
    """The label of the nearest training row to each requested row, see `learn_nearest_neighbor`."""
    return learn_nearest_neighbor(readings, labels, train)(readings, requested)


def learn_nearest_neighbor(readings: Ragged, labels: Ints, train: Ints) -> Callable[[Ragged, Ints], Ints]:
    """What gives the label of the nearest training row (Euclidean) to rows of standardized readings.

    `labels` are those of all rows, (rows,). Sequences are compared at the median length of the training rows.
    """
    train = train[:: -(-len(train) // MAX_NEIGHBORS)]
    steps = int(np.clip(np.median(readings.lengths[train]), 2, MAX_RESAMPLED_STEPS))
    model = import_module("sklearn").neighbors.KNeighborsClassifier(n_neighbors=1, algorithm="brute")
    model.fit(resample(readings, train, steps), labels[train])

    def predict(others: Ragged, requested: Ints) -> Ints:
        predicted: Ints = model.predict(resample(others, requested, steps))
        return predicted

    return predict


def resample(readings: Ragged, rows: Ints, steps: int) -> Array:
    """Rows as (rows, steps * channels) float32, each at `steps` positions by linear interpolation."""
    resampled = []
    for row in rows.tolist():
        sequence = readings[row]  # (time, channels)
        position = np.linspace(0, len(sequence) - 1, steps)
        left = np.floor(position).astype(np.int64)
        right, share = np.minimum(left + 1, len(sequence) - 1), (position - left)[:, None]
        resampled.append((sequence[left] * (1 - share) + sequence[right] * share).ravel())
    return np.array(resampled, np.float32)
