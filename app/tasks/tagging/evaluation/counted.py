"""The baseline that counts tags by word, learned from one data set and applied to another."""

from collections.abc import Sequence

import numpy as np

from app.arrays import Ints
from app.tasks.evaluation.contract import TrainingData
from app.tasks.evaluation.rows import learned_rows
from app.tasks.shared.ragged import Ragged, Texts
from app.tasks.tagging.baseline import predict_by_counting
from app.tasks.tagging.sentences import Sentences
from app.typedefs import Json


class CountedTags:
    """The most frequent tag of each word of some sentences, these `rows` of a data set."""

    def __init__(self, training: TrainingData, sentences: Sentences, rows: Ints) -> None:
        known = Sentences.from_arrays(training.arrays)
        train = learned_rows(known.splits, training.seed)
        joint = _join(known, train, sentences, rows)
        count = len(train)
        tokens = joint.token_indices(np.arange(count, count + len(rows)))
        tags = predict_by_counting(joint, np.arange(count), tokens)
        self._tags = Ragged(tags, sentences_offsets(sentences, rows))
        self._names = known.tag_names

    def predict(self, examples: Sequence[int]) -> list[Json]:
        """The tags of some of the sentences, by their numbers among `rows`."""
        return [{"tags": [self._names[tag] for tag in self._tags[one].tolist()]} for one in examples]


def sentences_offsets(sentences: Sentences, rows: Ints) -> Ints:
    """Where the tokens of each of these rows begin, one row after the other, (rows + 1,)."""
    lengths = sentences.tokens.lengths[rows]
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _join(known: Sentences, train: Ints, others: Sentences, rows: Ints) -> Sentences:
    """The tagged sentences `train` and then the others `rows`, whose tags do not count, as one data set."""
    words = known.words.pick(range(len(known.words)))
    numbers = {word: number for number, word in enumerate(words)}
    mapping = np.array(
        [numbers.setdefault(word, len(numbers)) for word in others.words.pick(range(len(others.words)))]
    )
    tokens = known.token_indices(train)
    values = np.concatenate(
        [known.tokens.values[tokens], mapping[others.tokens.values[others.token_indices(rows)]]]
    )
    first, second = sentences_offsets(known, train), sentences_offsets(others, rows)
    offsets = np.concatenate([first, first[-1] + second[1:]])
    tags = np.concatenate([known.tags[tokens], np.zeros(len(values) - len(tokens), known.tags.dtype)])
    splits = np.zeros(len(offsets) - 1, known.splits.dtype)
    return Sentences(Texts.of(numbers), Ragged(values, offsets), tags, known.tag_names, known.scheme, splits)
