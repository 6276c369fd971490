"""Baseline: a language model that counts characters after the four before them."""

from dataclasses import dataclass

import numpy as np

from app.arrays import Array
from app.tasks.generation.corpus import CorpusPart
from app.tasks.shared.ngrams import NGRAM_ORDER, NGramModel

MAX_TRAIN_CHARS = 8_000_000  # characters that are counted, the last ones of a corpus
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
