"""Text sets of different sizes, languages and numbers of labels, made from the training texts of other data.

Each is drawn anew, alike every time: no row of another data set's validation or test split is in any. A label
is what a line came from, or the kind of sentence that it is.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from app.typedefs import Json
from tests.support.fixtures.real_data import ROOT

Labelled = tuple[str, str]  # a text and its label
TEST_TEXTS = 1_500  # at most, and at most as many as `TEST_SHARE` of all there are
TEST_SHARE = 0.35
QUESTION_ENDS = {"?": "question", ".": "statement"}
# Verses by their place in the Bible, well within the books that the label names.
SPANISH_BOOKS = {"law": (100, 5_700), "psalms": (14_000, 16_300), "prophets": (17_900, 22_500)}
SPANISH_NEW = {"gospels": (23_300, 26_800), "letters": (28_100, 30_500)}
BROWN_KINDS = {"press": (0, 8_000), "learned": (28_000, 35_000), "fiction": (44_000, 57_000)}
PLAYS = {
    "HAMLET, PRINCE": "Hamlet",
    "THE LIFE AND DEATH OF KING RICHARD III": "Richard",
    "AS YOU": "Rosalind",
}


@dataclass(frozen=True)
class TextSet:
    """Where the texts of a set come from, and how many are for training."""

    name: str
    language: str
    size: int
    texts: Callable[[], Iterator[Labelled]]

    def rows(self, seed: int = 0, *, tuning: bool = False) -> list[Json]:
        """Rows of an upload; with `tuning` those to test on are others, to select by, and none is real."""
        rng = np.random.default_rng(seed)
        found = list(dict.fromkeys(self.texts()))
        fixed = np.random.default_rng(0).permutation(len(found))
        held_out = min(TEST_TEXTS, int(TEST_SHARE * len(found)))
        test, rest = fixed[:held_out], rng.permutation(fixed[held_out:])
        if tuning:
            held_out = min(TEST_TEXTS, int(TEST_SHARE * len(rest)))
            test, rest = rest[:held_out], rest[held_out:]
        parts = {"train": rest[: self.size], "test": test}
        return [
            {"text": found[row][0], "label": found[row][1], "split": split}
            for split, rows in parts.items()
            for row in rows.tolist()
        ]


def _training(path: str) -> Iterator[tuple[int, Json]]:
    """Rows of the training split with their place in the file."""
    for number, line in enumerate((ROOT / f"{path}.jsonl").read_text().splitlines()):
        row: Json = json.loads(line)
        if row["split"] == "train":
            yield number, row


def _snippets() -> Iterator[Labelled]:
    for _, row in _training("classification/movie_snippets"):
        yield row["text"], row["label"]


def _questions() -> Iterator[Labelled]:
    """Whether a sentence is a question, without the sign that says so; about as many of either."""
    for number, row in _training("tagging/brown_pos"):
        *words, last = row["tokens"]
        kind = QUESTION_ENDS.get(last)
        if len(words) > 2 and kind and (kind == "question" or number % 15 == 0):
            yield " ".join(words), kind


def _brown_kinds() -> Iterator[Labelled]:
    for number, row in _training("tagging/brown_pos"):
        for label, (first, end) in BROWN_KINDS.items():
            if first <= number < end:
                yield " ".join(row["tokens"]), label


def _tweets() -> Iterator[Labelled]:
    """Whether a tweet names anything."""
    for _, row in _training("tagging/wnut16_ner"):
        yield " ".join(row["tokens"]), "names" if any(tag != "O" for tag in row["tags"]) else "none"


def _verses(places: dict[str, tuple[int, int]], field: str) -> Iterator[Labelled]:
    for number, row in _training("translation/bible_en_es"):
        for label, (first, end) in places.items():
            if first <= number < end:
                yield row[field], label


def _speeches() -> Iterator[Labelled]:
    """Which of three plays a speech is from; the line with its speaker is left out."""
    for _, row in _training("generation/shakespeare"):
        for start, label in PLAYS.items():
            if row["text"].startswith(start):
                for part in re.split(r"\n\n+", row["text"])[20:]:
                    text = " ".join(part.splitlines()[1:])
                    if len(text.split()) > 4:
                        yield text, label


TEXT_SETS = (
    *(TextSet(f"snippets_{size}", "English", size, _snippets) for size in (500, 1_000, 2_000, 5_000)),
    TextSet("questions", "English", 1_500, _questions),
    TextSet("brown_kinds", "English", 3_000, _brown_kinds),
    TextSet("tweets", "English", 1_000, _tweets),
    TextSet("speeches", "English", 1_200, _speeches),
    TextSet("spanish_new", "Spanish", 1_000, lambda: _verses(SPANISH_NEW, "target")),
    TextSet("spanish_books", "Spanish", 4_000, lambda: _verses(SPANISH_BOOKS, "target")),
)
