import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.tasks.shared.word_features import COLUMNS, SHAPE, ends, known_as, shape, tidy


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("Ann", "Xxx"),
        ("NATO", "XX"),
        ("McDonald's", "XxXxx'x"),
        ("3rd", "0xx"),
        ("1,234.50", "0,00.00"),
        ("@ann_b", "@xx_x"),
        ("#Rio2016", "#Xxx00"),
        ("!!!!!", "!!"),
        ("☂", "?"),
        ("日本", "xx"),
        ("https://example.org", "⟨link⟩"),
        ("www.example.org/x", "⟨link⟩"),
        ("a-b-c-d-e-f", "x-x-x-x-"),
    ],
)
def test_a_shape_tells_kinds_of_signs(word: str, expected: str) -> None:
    assert shape(word) == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("Ann", "ann"),
        ("1984", "0000"),
        ("٣", "0"),
        ("@ann", "⟨user⟩"),
        ("@", "@"),
        ("HTTP://x.org", "⟨link⟩"),
        ("http", "http"),
        ("www.", "www."),
    ],
)
def test_what_a_word_is_looked_up_as(word: str, expected: str) -> None:
    assert known_as(word, lower=True) == expected


def test_case_may_count() -> None:
    assert known_as("Ann3", lower=False) == "Ann0"


@given(st.text(max_size=30), st.integers(1, 20))
def test_both_ends_of_a_word_are_read(word: str, length: int) -> None:
    found = ends(word, length)
    assert len(found) == min(len(word), length)
    if len(word) <= length:
        assert found == word
    else:
        first = -(-length // 2)
        assert word.startswith(found[:first])
        assert word.endswith(found[first:])


@given(st.text(min_size=1, max_size=30))
def test_columns_take_any_word(word: str) -> None:
    tidied = tidy(word)
    assert tidy(tidied) == tidied
    assert "\n" not in tidied
    for column in COLUMNS:
        assert isinstance(column.of(tidied), str)
    assert len(shape(tidied)) <= SHAPE


def test_words_are_in_normal_form() -> None:
    assert tidy(" cafe\u0301\n ") == "café"
    assert tidy("10\xa0\n000") == "10 000"
