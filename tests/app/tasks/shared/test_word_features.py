import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.tasks.shared.word_features import (
    MAX_SHAPE_CHARS,
    WORD_FEATURES,
    clip_word,
    lookup_key,
    normalize_word,
    word_shape,
)


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
def test_a_shape_shows_kinds_of_signs(word: str, expected: str) -> None:
    assert word_shape(word) == expected


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
def test_the_lookup_key_of_a_word(word: str, expected: str) -> None:
    assert lookup_key(word, lower=True) == expected


def test_case_may_count() -> None:
    assert lookup_key("Ann3", lower=False) == "Ann0"


@given(st.text(max_size=30), st.integers(1, 20))
def test_both_ends_of_a_word_are_read(word: str, length: int) -> None:
    clipped = clip_word(word, length)
    assert len(clipped) == min(len(word), length)
    if len(word) <= length:
        assert clipped == word
    else:
        first = -(-length // 2)
        assert word.startswith(clipped[:first])
        assert word.endswith(clipped[first:])


@given(st.text(min_size=1, max_size=30))
def test_columns_take_any_word(word: str) -> None:
    normalized = normalize_word(word)
    assert normalize_word(normalized) == normalized
    assert "\n" not in normalized
    for column in WORD_FEATURES:
        assert isinstance(column.extract(normalized), str)
    assert len(word_shape(normalized)) <= MAX_SHAPE_CHARS


def test_words_are_normalized() -> None:
    assert normalize_word(" cafe\u0301\n ") == "café"
    assert normalize_word("10\xa0\n000") == "10 000"
