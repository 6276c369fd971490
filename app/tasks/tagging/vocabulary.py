"""Words as columns of numbers, by what was learned from the words of a training split."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from app.tasks.contract import Array
from app.tasks.shared.tokenizers import UNKNOWN
from app.tasks.shared.word_features import COLUMNS, ends, known_as, tidy

FIRST = UNKNOWN + 1  # the number of the first word, form or character
MOST_CHARACTERS = 8_192
LEAST_CHARACTER = 2  # distinct words that a known character is in
CACHED = 64  # vocabularies in memory
ROWS = 1 << 12  # words in memory of each


@dataclass(frozen=True)
class Sizes:
    """How many numbers there are in each column, those of padding and of the unknown included."""

    columns: list[int]
    characters: int  # 0 if none are read


def learn(words: Sequence[str], counts: Array, *, least: int, most: int, lower: bool, length: int) -> str:
    """A vocabulary as JSON text, from distinct words and how often training has each, (words,).

    `least` is how often a word must occur, `most` how many are known, `length` how many of a word's
    characters are read.
    """
    seen = [(tidy(words[at]), int(counts[at])) for at in np.flatnonzero(counts).tolist()]
    known: Counter[str] = Counter()
    for word, count in seen:
        known[known_as(word, lower=lower)] += count
    forms = {}
    for column in COLUMNS:
        found: Counter[str] = Counter()
        for word, count in seen:
            found[column.of(word)] += count
        forms[column.name] = _frequent(found, column.least)
    characters: Counter[str] = Counter()
    for word, _ in seen:
        characters.update(set(ends(word, length)))
    return json.dumps(
        {
            "words": _frequent(known, least)[:most],
            "forms": forms,
            "characters": "".join(_frequent(characters, LEAST_CHARACTER)[:MOST_CHARACTERS]),
            "lower": lower,
            "length": length,
        },
        ensure_ascii=False,
    )


def _frequent(counts: Counter[str], least: int) -> list[str]:
    """The most frequent first; equally frequent ones in order of their signs."""
    return [
        name for name, count in sorted(counts.items(), key=lambda one: (-one[1], one[0])) if count >= least
    ]


class Vocabulary:
    """Looks words up."""

    def __init__(self, written: str) -> None:
        told = json.loads(written)
        self._lower, self._length = told["lower"], told["length"]
        self._words = _numbered(told["words"])
        self._forms = [(column.of, _numbered(told["forms"][column.name])) for column in COLUMNS]
        self._characters = _numbered(told["characters"])
        self._rows: dict[str, tuple[int, ...]] = {}

    @property
    def sizes(self) -> Sizes:
        """Of its columns."""
        columns = [FIRST + len(known) for known in (self._words, *(forms for _, forms in self._forms))]
        return Sizes(columns, FIRST + len(self._characters) if self._length else 0)

    def rows(self, words: Iterable[str]) -> Array:
        """The columns and characters of words, (words, features) int64."""
        return np.array([self._row(word) for word in words], np.int64)

    def _row(self, word: str) -> tuple[int, ...]:
        row = self._rows.get(word)
        if row is None:
            if len(self._rows) >= ROWS:
                self._rows.clear()
            row = self._rows[word] = self._look_up(tidy(word))
        return row

    def _look_up(self, word: str) -> tuple[int, ...]:
        characters = [self._characters.get(sign, UNKNOWN) for sign in ends(word, self._length)]
        return (
            self._words.get(known_as(word, lower=self._lower), UNKNOWN),
            *(known.get(of(word), UNKNOWN) for of, known in self._forms),
            *characters,
            *[0] * (self._length - len(characters)),
        )


def _numbered(names: Iterable[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(names, FIRST)}


@lru_cache(CACHED)
def load(written: str) -> Vocabulary:
    """The vocabulary that `learn` wrote."""
    return Vocabulary(written)
