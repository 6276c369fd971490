import subprocess
import sys
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.tasks.classification import baseline
from app.tasks.classification.baseline import naive_bayes, nearest_neighbor, resample
from app.tasks.shared.ragged import Ragged

WORDS = st.sampled_from(["Good", "good", "bad", "film", "not", "!", "a"])
TEXTS = st.lists(WORDS, min_size=1, max_size=6).map(" ".join)
FEW, FEW_LABELS = ["good fun", "good film", "bad film", "bad bore"], np.array([1, 1, 0, 0])


def ngrams(text: str) -> list[str]:
    words = text.lower().split()
    return [*words, *map(" ".join, pairwise(words))]


def log_likelihoods(texts: list[str], labels: list[int], text: str, size: int) -> list[float]:
    """The log-likelihood of each label, as the textbook has it."""
    counts = [Counter[str]() for _ in range(size)]
    for one, label in zip(texts, labels, strict=True):
        counts[label].update(ngrams(one))
    known = set().union(*counts)
    return [
        float(
            np.log(labels.count(label) / len(labels))
            + sum(np.log((own[one] + 1) / (own.total() + len(known))) for one in ngrams(text) if one in known)
        )
        for label, own in enumerate(counts)
    ]


@given(st.lists(TEXTS, min_size=6, max_size=12), st.lists(TEXTS | st.just(""), min_size=1, max_size=8))
def test_it_says_what_the_textbook_says(texts: list[str], requested: list[str]) -> None:
    labels = [row % 3 for row in range(len(texts))]
    for text, label in zip(requested, naive_bayes(texts, np.array(labels), requested).tolist(), strict=True):
        scores = log_likelihoods(texts, labels, text, 3)
        assert scores[label] == pytest.approx(max(scores))


def test_it_learns_which_words_tell() -> None:
    assert naive_bayes(FEW, FEW_LABELS, ["a good one", "so bad"]).tolist() == [1, 0]


def test_pairs_tell_what_words_do_not() -> None:
    texts = ["not bad but good", "not good but bad"] * 2
    assert naive_bayes(texts, np.array([1, 0, 1, 0]), ["not bad", "not good"]).tolist() == [1, 0]


def test_texts_without_known_words_get_the_most_frequent_label() -> None:
    texts, labels = ["one", "two", "three"], np.array([0, 1, 1])
    assert naive_bayes(texts, labels, ["", "unheard of"]).tolist() == [1, 1]


def test_single_words_have_no_pairs() -> None:
    assert naive_bayes(["a", "b"], np.array([0, 1]), ["a b", "b"]).tolist() == [0, 1]


def test_signs_and_words_of_one_letter_count() -> None:
    texts, labels = ["fun !", "fun ?"], np.array([1, 0])
    assert naive_bayes(texts, labels, ["so fun!", "so fun?"]).tolist() == [1, 0]


def test_a_label_that_nothing_was_learned_of_is_never_the_answer() -> None:
    assert set(naive_bayes(["one", "two"], np.array([0, 2]), ["a long unheard text", "two"]).tolist()) == {
        0,
        2,
    }


def test_the_rarest_words_go_where_counts_would_take_too_much_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    texts, labels = ["often a", "often a", "seldom b", "often b"], np.array([1, 1, 0, 0])
    assert naive_bayes(texts, labels, ["seldom", "a"]).tolist() == [0, 1]
    monkeypatch.setattr(
        baseline, "MAX_BAYES_COUNTS", 2 * 3
    )  # three features remain, `seldom` is none of them
    assert naive_bayes(texts * 2, np.tile(labels, 2), ["a", "b"]).tolist() == [1, 0]


def test_only_some_of_very_many_texts_are_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baseline, "MAX_BAYES_TEXTS", 2)
    texts, labels = ["a", "b", "c", "b"], np.array([1, 1, 0, 1])
    assert naive_bayes(texts, labels, ["c", "a", "b"]).tolist() == [0, 1, 0]  # `b` was never read


def test_many_texts_are_answered_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    requested = ["bad", "good", "", "good good", "a bad one"]
    whole = naive_bayes(FEW, FEW_LABELS, requested).tolist()
    monkeypatch.setattr(baseline, "MAX_BAYES_SCORES", 4)
    assert naive_bayes(FEW, FEW_LABELS, requested).tolist() == whole


def test_a_sequence_is_resampled_along_straight_lines() -> None:
    readings = Ragged.of([[[0.0], [2.0]], [[1.0]]], np.float32)
    np.testing.assert_allclose(
        resample(readings, np.array([0, 1]), 5), np.array([[0, 0.5, 1, 1.5, 2], [1] * 5])
    )


def test_the_nearest_row_gives_its_label() -> None:
    rows = [[[0.0], [0.0]], [[5.0], [5.0], [5.0]], [[0.2]], [[4.0], [6.0]]]
    readings, labels = Ragged.of(rows, np.float32), np.array([7, 9, 0, 0])
    assert nearest_neighbor(readings, labels, np.array([0, 1]), np.array([2, 3])).tolist() == [7, 9]


def test_a_process_that_scores_nothing_never_loads_the_library() -> None:
    script = 'import sys; import app.tasks; assert not {"sklearn", "scipy"} & set(sys.modules)'
    subprocess.run([sys.executable, "-c", script], check=True)


def test_characters_of_scripts_without_spaces_are_words() -> None:
    texts, labels = ["这部电影很好看", "这部电影不好看", "很好", "不好"], np.array([1, 0, 1, 0])
    assert naive_bayes(texts, labels, ["看了不喜欢", "很喜欢"]).tolist() == [0, 1]
