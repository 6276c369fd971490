import json
from typing import Any

import numpy as np
import pytest

from app.tasks.contract import UNKNOWN
from app.tasks.shared.word_features import WORD_FEATURES
from app.tasks.tagging import vocabulary
from app.tasks.tagging.vocabulary import FIRST_ID, Vocabulary, learn_vocabulary, load_vocabulary

WORDS = ["", "Ann", "ann", "1999", "2024", "rare", "never", "☂x"]
COUNTS = np.array([0, 3, 2, 1, 1, 1, 0, 4])


def learned(words: int = len(WORDS), **changed: Any) -> str:
    settings: dict[str, Any] = {"min_count": 1, "max_words": 100, "lower": True, "max_chars": 6}
    return learn_vocabulary(WORDS[:words], COUNTS[:words], **settings | changed)


def test_words_are_numbered_by_how_often_training_has_them() -> None:
    content = json.loads(learned())
    assert content["words"] == ["ann", "☂x", "0000", "rare"]
    rows = load_vocabulary(learned()).rows(["ANN", "☂x", "1066", "rare", "never", "new"])
    assert rows[:, 0].tolist() == [FIRST_ID, FIRST_ID + 1, FIRST_ID + 2, FIRST_ID + 3, UNKNOWN, UNKNOWN]


def test_rare_words_and_those_beyond_the_size_are_unknown() -> None:
    assert json.loads(learned(min_count=2))["words"] == ["ann", "☂x", "0000"]
    assert json.loads(learned(max_words=1))["words"] == ["ann"]
    assert json.loads(learned(lower=False))["words"] == ["☂x", "Ann", "0000", "ann", "rare"]


def test_what_training_never_has_teaches_nothing() -> None:
    with_, without = learned(), learned(6)
    assert "never" not in with_
    assert json.loads(without)["words"] == ["ann", "0000", "rare"]


def test_a_row_has_columns_and_characters() -> None:
    words = load_vocabulary(learned())
    sizes = words.sizes
    assert len(sizes.columns) == 1 + len(WORD_FEATURES)
    rows = words.rows(["Ann", "rarerare", "☂"])
    assert rows.shape == (3, len(sizes.columns) + 6)
    assert rows.dtype == np.int64
    assert (rows[:, : len(sizes.columns)] < sizes.columns).all()
    assert rows[:, len(sizes.columns) :].max() < sizes.characters
    characters = rows[:, len(sizes.columns) :]
    assert (characters[0, 3:] == 0).all()  # padding
    assert (characters[1] > 0).all()
    assert characters[0, 1] == characters[0, 2] >= FIRST_ID  # n, which two words have
    assert characters[2, 0] == UNKNOWN  # which one word has


def test_feature_values_that_are_frequent_in_training_are_known() -> None:
    content = json.loads(learned())
    assert content["forms"]["suffix2"] == ["nn", "☂x"]
    assert content["forms"]["shape"] == ["?x", "Xxx", "xx"]


def test_a_long_word_is_read_from_both_ends() -> None:
    words = load_vocabulary(learned())
    start = len(words.sizes.columns)
    one, other = words.rows(["annXXXXann", "annYYann"])[:, start:]
    np.testing.assert_array_equal(one, other)


def test_rows_are_the_same_when_they_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "CACHED_WORDS", 2)
    words = Vocabulary(learned())
    first = words.rows(WORDS[1:])
    np.testing.assert_array_equal(words.rows(WORDS[1:]), first)
    np.testing.assert_array_equal(Vocabulary(learned()).rows(WORDS[1:]), first)


def test_a_vocabulary_is_loaded_once() -> None:
    assert load_vocabulary(learned()) is load_vocabulary(learned())
    assert learned() == learned()
