from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.tasks.classification import baseline as counting
from app.tasks.classification.baseline import WORD, bayes, learn

WORDS = st.sampled_from(["Good", "good", "bad", "film", "not", "!", "a"])
TEXTS = st.lists(WORDS, min_size=1, max_size=6).map(" ".join)


def grams(text: str) -> list[str]:
    words = WORD.findall(text.lower())
    return [*words, *map(" ".join, pairwise(words))]


def plainly(texts: list[str], labels: list[int], asked: str, size: int) -> list[float]:
    """The log-likelihood of each label, as the textbook has it."""
    counts = [Counter[str]() for _ in range(size)]
    for text, label in zip(texts, labels, strict=True):
        counts[label].update(grams(text))
    known = set().union(*counts)
    return [
        float(
            np.log(labels.count(label) / len(labels))
            + sum(np.log((own[one] + 1) / (own.total() + len(known))) for one in grams(asked) if one in known)
        )
        for label, own in enumerate(counts)
    ]


@given(st.lists(TEXTS, min_size=6, max_size=12), st.lists(TEXTS | st.just(""), min_size=1, max_size=8))
def test_it_says_what_the_textbook_says(texts: list[str], asked: list[str]) -> None:
    labels = [row % 3 for row in range(len(texts))]
    for text, found in zip(asked, bayes(texts, np.array(labels), asked, 3).tolist(), strict=True):
        scores = plainly(texts, labels, text, 3)
        assert scores[found] == pytest.approx(max(scores))


def test_it_learns_which_words_tell() -> None:
    texts, labels = ["good fun", "good film", "bad film", "bad bore"], np.array([1, 1, 0, 0])
    assert bayes(texts, labels, ["a good one", "so bad"], 2).tolist() == [1, 0]


def test_pairs_tell_what_words_do_not() -> None:
    texts = ["not bad but good", "not good but bad"] * 2
    assert bayes(texts, np.array([1, 0, 1, 0]), ["not bad", "not good"], 2).tolist() == [1, 0]


def test_texts_without_known_words_get_the_most_frequent_label() -> None:
    texts, labels = ["one", "two", "three"], np.array([0, 1, 1])
    assert bayes(texts, labels, ["", "unheard of"], 2).tolist() == [1, 1]


def test_single_words_have_no_pairs() -> None:
    counts = learn(["a", "b"], np.array([0, 1]), 2)
    assert len(counts.pairs) == 0
    assert counts.guess(["a b", "b"]).tolist() == [0, 1]


def test_it_takes_as_much_memory_as_there_are_counts() -> None:
    texts = [f"w{row} and w{row + 1}" for row in range(2_000)]
    counts = learn(texts, np.arange(2_000) % 1_000, 1_000)
    assert len(counts.logs) < 5 * len(texts)


def test_many_texts_are_answered_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    texts, labels = ["good fun", "good film", "bad film", "bad bore"], np.array([1, 1, 0, 0])
    asked = ["bad", "good", "", "good good", "a bad one"]
    whole = bayes(texts, labels, asked, 2).tolist()
    monkeypatch.setattr(counting, "SCORES", 4)
    assert bayes(texts, labels, asked, 2).tolist() == whole
