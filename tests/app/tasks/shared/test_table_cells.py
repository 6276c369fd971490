import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.arrays import Array
from app.errors import DatasetInvalid
from app.tasks.shared.table_cells import MISSING_TEXTS, as_texts, check_numbers, read_numbers, shorten
from app.tasks.source import MAX_FAULTS, Faults

WRONG = ["1_000", "١٢", "1,5", "0x10", "1e", "--1", "1 2", "abc", "½", "٣.٥", "1.2.3", "true", "1e5.5"]
GOOD = ["1", "-1", "+1", " 7 ", "1.", ".5", "1e3", "1E-3", "-0.0", "007", "1e-400"]


def texts(*values: str) -> Array:
    return np.array(values, object)


def checked(values: Array, **limits: Any) -> list[tuple[str, str]]:
    """Pointers and details of a column's faults; its rows are numbered from 100."""
    faults = Faults()
    check_numbers(values, np.arange(100, 100 + len(values)), "y", faults, **limits)
    return [(problem.pointer, problem.detail) for problem in faults.problems]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False)))
def test_what_python_writes_is_read_to_the_last_bit(numbers: list[float]) -> None:
    cells, wrong = read_numbers(texts(*map(repr, numbers)))
    assert not wrong.any()
    assert cells.tolist() == numbers


@given(st.lists(st.one_of(st.sampled_from(sorted(MISSING_TEXTS) + WRONG + GOOD), st.text(max_size=4))))
def test_each_cell_is_read_as_if_it_stood_alone(column: list[str]) -> None:
    numbers, wrong = read_numbers(texts(*column))
    for at, text in enumerate(column):
        alone, alone_wrong = read_numbers(texts(text))
        assert wrong[at] == alone_wrong[0]
        assert numbers[at] == alone[0] or (math.isnan(numbers[at]) and math.isnan(alone[0]))


@pytest.mark.parametrize("text", WRONG)
def test_what_only_python_takes_for_a_number_is_wrong(text: str) -> None:
    [(pointer, detail)] = checked(texts("1", text, "2"))
    assert (pointer, detail.startswith(f"{text!r} is not a number")) == ("/file/row/101/column/y", True)
    assert ("write a point" in detail) == (text == "1,5")


def test_commas_are_decimal_where_the_file_has_them_so() -> None:
    numbers, wrong = read_numbers(texts("1,5", " -1.234,5 ", "2", "", "1,2,3", "1.5"), decimal_comma=True)
    assert wrong.tolist() == [False, False, False, False, True, False]
    assert numbers[:3].tolist() == [1.5, -1234.5, 2]
    faults = Faults()
    check_numbers(texts("1,5", "2,5 kg"), np.arange(2), "y", faults, decimal_comma=True)
    assert [one.detail for one in faults.problems] == ["'2,5 kg' is not a number."]


@pytest.mark.parametrize("text", GOOD)
def test_numbers_as_people_write_them(text: str) -> None:
    numbers, wrong = read_numbers(texts("abc", text))  # the wrong one forces a look at each
    fast, _ = read_numbers(texts(text))
    assert wrong.tolist() == [True, False]
    assert numbers[1] == fast[0] == float(text)


@pytest.mark.parametrize("text", sorted(MISSING_TEXTS))
def test_missing_is_missing_with_and_without_wrong_neighbours(text: str) -> None:
    for column in (texts(text, "1"), texts(text, "x")):
        numbers, wrong = read_numbers(column)
        assert math.isnan(numbers[0])
        assert not wrong[0]


@pytest.mark.parametrize(
    ("text", "word"),
    [("inf", "finite"), ("-Infinity", "finite"), ("1e999", "too large"), ("-1e301", "too large")],
)
def test_infinite_and_too_large_have_different_messages(text: str, word: str) -> None:
    [(pointer, detail)] = checked(texts("1", "2", text))
    assert pointer == "/file/row/102/column/y"
    assert word in detail


def test_typed_values_beyond_the_limit() -> None:
    problems = checked(np.array([1.0, np.inf, 1e39, -1e39, np.nan]), limit=1e38)
    assert [pointer for pointer, _ in problems] == [f"/file/row/{row}/column/y" for row in (101, 102, 103)]
    assert ["finite" in detail for _, detail in problems] == [True, False, False]


def test_times_are_no_numbers_but_a_missing_one_is_missing() -> None:
    stamps = np.array(["2024-01-01", "NaT"], "datetime64[s]")
    assert [pointer for pointer, _ in checked(stamps)] == ["/file/row/100/column/y"]


def test_reading_garbage_stops_at_the_twentieth_cell() -> None:
    faults = Faults()
    with pytest.raises(DatasetInvalid) as caught:
        check_numbers(texts(*["x"] * 1000), np.arange(1000), "y", faults)
    assert len(caught.value.problems) == MAX_FAULTS


@given(st.lists(st.floats() | st.integers(-(2**53), 2**53).map(float)))
def test_typed_numbers_are_written_so_that_reading_gives_them_back(numbers: list[float]) -> None:
    written = as_texts(np.array(numbers, np.float64)) if np.isfinite(numbers).all() else []
    for text, number in zip(written, numbers, strict=False):
        assert float(text) == number
        assert not number.is_integer() or text.lstrip("-").isdigit()


def test_missing_typed_values_are_written_as_nothing() -> None:
    assert as_texts(np.array([1.0, np.nan, 2.5])) == ["1", "", "2.5"]
    assert as_texts(np.array(["2024-01-01", "NaT"], "datetime64[s]")) == ["2024-01-01T00:00:00", ""]
    assert as_texts(np.array([3, -4])) == ["3", "-4"]


@given(st.text())
def test_a_value_in_a_message_is_short_and_printable(text: str) -> None:
    shown = shorten(text)
    assert len(shown) <= 10 * 41 + 2  # an escape takes up to ten characters
    assert "\n" not in shown
    assert shown.isprintable()
