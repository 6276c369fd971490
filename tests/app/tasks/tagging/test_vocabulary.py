import json

import numpy as np
import pytest

from app.tasks.shared.tokenizers import UNKNOWN
from app.tasks.shared.word_features import COLUMNS
from app.tasks.tagging import vocabulary
from app.tasks.tagging.vocabulary import FIRST, Vocabulary, learn, load

WORDS = ["", "Ann", "ann", "1999", "2024", "rare", "never", "☂x"]
COUNTS = np.array([0, 3, 2, 1, 1, 1, 0, 4])


def learned(*, least: int = 1, most: int = 100, lower: bool = True, length: int = 6) -> str:
    return learn(WORDS, COUNTS, least=least, most=most, lower=lower, length=length)


def test_words_are_numbered_by_how_often_training_has_them() -> None:
    told = json.loads(learned())
    assert told["words"] == ["ann", "☂x", "0000", "rare"]
    rows = load(learned()).rows(["ANN", "☂x", "1066", "rare", "never", "new"])
    assert rows[:, 0].tolist() == [FIRST, FIRST + 1, FIRST + 2, FIRST + 3, UNKNOWN, UNKNOWN]


def test_rare_words_and_those_beyond_the_size_are_unknown() -> None:
    assert json.loads(learned(least=2))["words"] == ["ann", "☂x", "0000"]
    assert json.loads(learned(most=1))["words"] == ["ann"]
    assert json.loads(learned(lower=False))["words"] == ["☂x", "Ann", "0000", "ann", "rare"]


def test_what_training_never_has_teaches_nothing() -> None:
    with_, without = learned(), learn(WORDS[:6], COUNTS[:6], least=1, most=100, lower=True, length=6)
    assert "never" not in with_
    assert json.loads(without)["words"] == ["ann", "0000", "rare"]


def test_a_row_has_columns_and_characters() -> None:
    found = load(learned())
    sizes = found.sizes
    assert len(sizes.columns) == 1 + len(COLUMNS)
    rows = found.rows(["Ann", "rarerare", "☂"])
    assert rows.shape == (3, len(sizes.columns) + 6)
    assert rows.dtype == np.int64
    assert (rows[:, : len(sizes.columns)] < sizes.columns).all()
    assert rows[:, len(sizes.columns) :].max() < sizes.characters
    characters = rows[:, len(sizes.columns) :]
    assert (characters[0, 3:] == 0).all()  # padding
    assert (characters[1] > 0).all()
    assert characters[0, 1] == characters[0, 2] >= FIRST  # n, which two words have
    assert characters[2, 0] == UNKNOWN  # which one word has


def test_forms_that_training_sees_often_are_known() -> None:
    told = json.loads(learned())
    assert told["forms"]["suffix2"] == ["nn", "☂x"]
    assert told["forms"]["shape"] == ["?x", "Xxx", "xx"]


def test_a_long_word_is_read_from_both_ends() -> None:
    found = load(learned())
    start = len(found.sizes.columns)
    one, other = found.rows(["annXXXXann", "annYYann"])[:, start:]
    np.testing.assert_array_equal(one, other)


def test_rows_are_the_same_when_they_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "ROWS", 2)
    found = Vocabulary(learned())
    first = found.rows(WORDS[1:])
    np.testing.assert_array_equal(found.rows(WORDS[1:]), first)
    np.testing.assert_array_equal(Vocabulary(learned()).rows(WORDS[1:]), first)


def test_a_vocabulary_is_loaded_once() -> None:
    assert load(learned()) is load(learned())
    assert learned() == learned()
