"""Words as rows of numbers, by a vocabulary that is learned from the words of the training split."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from app.arrays import Array
from app.tasks.contract import UNKNOWN
from app.tasks.shared.word_features import WORD_FEATURES, clip_word, lookup_key, normalize_word

FIRST_ID = UNKNOWN + 1  # the number of the first word, feature value or character
MAX_CHARACTERS = 8_192
MIN_WORDS_PER_CHARACTER = 2  # distinct words that a character must be in to be known
CACHED_VOCABULARIES = 64
CACHED_WORDS = 1 << 12  # of each vocabulary


@dataclass(frozen=True)
class VocabularySizes:
    """How many numbers there are in each column, including those of padding and of the unknown."""

    columns: list[int]  # of the word itself, then of each of `WORD_FEATURES`
    characters: int  # 0 if none are read


def learn_vocabulary(
    words: Sequence[str], counts: Array, *, min_count: int, max_words: int, lower: bool, max_chars: int
) -> str:
    """A vocabulary as JSON text, from distinct words and how often each occurs in training, (words,).

    Words are known if they occur `min_count` times, at most `max_words` of them; `max_chars` characters of
    each word are read.
    """
    indices = np.flatnonzero(counts).tolist()
    training = [(normalize_word(words[index]), int(counts[index])) for index in indices]
    keys: Counter[str] = Counter()
    for word, count in training:
        keys[lookup_key(word, lower=lower)] += count
    features = {}
    for feature in WORD_FEATURES:
        values: Counter[str] = Counter()
        for word, count in training:
            values[feature.extract(word)] += count
        features[feature.name] = _frequent(values, feature.min_count)
    characters: Counter[str] = Counter()
    for word, _ in training:
        characters.update(set(clip_word(word, max_chars)))
    return json.dumps(
        {
            "words": _frequent(keys, min_count)[:max_words],
            "forms": features,
            "characters": "".join(_frequent(characters, MIN_WORDS_PER_CHARACTER)[:MAX_CHARACTERS]),
            "lower": lower,
            "length": max_chars,
        },
        ensure_ascii=False,
    )


def _frequent(counts: Counter[str], min_count: int) -> list[str]:
    """Names that occur `min_count` times, the most frequent first; equally frequent ones are sorted."""
    order = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    return [name for name, count in order if count >= min_count]


class Vocabulary:
    """Gives words as rows of numbers."""

    def __init__(self, text: str) -> None:
        content = json.loads(text)
        self._lower, self._max_chars = content["lower"], content["length"]
        self._words = _number(content["words"])
        self._features = [
            (feature.extract, _number(content["forms"][feature.name])) for feature in WORD_FEATURES
        ]
        self._characters = _number(content["characters"])
        self._rows: dict[str, tuple[int, ...]] = {}

    @property
    def sizes(self) -> VocabularySizes:
        """The sizes of the columns of `rows`."""
        known = [self._words, *(values for _, values in self._features)]
        columns = [FIRST_ID + len(numbers) for numbers in known]
        return VocabularySizes(columns, FIRST_ID + len(self._characters) if self._max_chars else 0)

    def rows(self, words: Iterable[str]) -> Array:
        """The columns and characters of words, (words, features) int64."""
        return np.array([self._row(word) for word in words], np.int64)

    def _row(self, word: str) -> tuple[int, ...]:
        row = self._rows.get(word)
        if row is None:
            if len(self._rows) >= CACHED_WORDS:
                self._rows.clear()
            row = self._rows[word] = self._encode(normalize_word(word))
        return row

    def _encode(self, word: str) -> tuple[int, ...]:
        characters = [self._characters.get(sign, UNKNOWN) for sign in clip_word(word, self._max_chars)]
        return (
            self._words.get(lookup_key(word, lower=self._lower), UNKNOWN),
            *(known.get(extract(word), UNKNOWN) for extract, known in self._features),
            *characters,
            *[0] * (self._max_chars - len(characters)),
        )


def _number(names: Iterable[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(names, FIRST_ID)}


@lru_cache(CACHED_VOCABULARIES)
def load_vocabulary(text: str) -> Vocabulary:
    """The vocabulary in the JSON text that `learn_vocabulary` made."""
    return Vocabulary(text)
