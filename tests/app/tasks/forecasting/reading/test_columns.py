import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.arrays import Array
from app.tasks.forecasting.reading import columns
from app.tasks.forecasting.reading.columns import MAX_NAME_CHARS, IdColumn, Levels, MixedColumn, TimeColumn
from app.tasks.shared.table_cells import MISSING_TEXTS
from app.tasks.source import Faults

NAMES = st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=8).filter(
    lambda text: bool(text.strip())
)


def texts(*values: str) -> Array:
    return np.array(values, object)


def in_chunks(values: list[str], sizes: list[int]) -> list[Array]:
    """The same column as chunks of these sizes, over and over."""
    chunks: list[Array] = []
    start = 0
    while start < len(values):
        size = sizes[len(chunks) % len(sizes)]
        chunks.append(texts(*values[start : start + size]))
        start += size
    return chunks


def rows(values: npt.NDArray[np.generic], first: int = 1) -> Array:
    return np.arange(first, first + len(values))


def mixed(*chunks: Array) -> tuple[MixedColumn, list[str]]:
    column, faults, first = MixedColumn(), Faults(), 2
    for chunk in chunks:
        column.add(chunk, rows(chunk, first), "x", faults)
        first += len(chunk)
    return column, [problem.pointer for problem in faults.problems]


def times(*chunks: Array) -> tuple[Array, list[tuple[str, str]]]:
    column, faults, first = TimeColumn(), Faults(), 2
    for chunk in chunks:
        column.add(chunk, rows(chunk, first), "ds", faults)
        first += len(chunk)
    return column.times(), [(problem.pointer, problem.detail) for problem in faults.problems]


@given(st.lists(NAMES, min_size=1, max_size=40), st.lists(st.integers(1, 7), min_size=1))
def test_series_are_numbered_by_appearance_whatever_the_chunks(ids: list[str], sizes: list[int]) -> None:
    column, faults = IdColumn(), Faults()
    for part in in_chunks(ids, sizes):
        column.add(part, rows(part), "unique_id", faults)
    assert not faults.problems
    assert column.names == list(dict.fromkeys(ids))
    assert [column.names[code] for code in column.codes()] == ids


def test_ids_that_look_like_missing_values_are_ids() -> None:
    column, faults = IdColumn(), Faults()
    names = sorted(MISSING_TEXTS - {""})
    column.add(texts(*names), rows(texts(*names)), "unique_id", faults)
    assert column.names == names
    assert not faults.problems


def test_typed_ids_are_written_without_a_fraction_in_every_chunk() -> None:
    column, faults = IdColumn(), Faults()
    for chunk in (np.array([7, 8]), np.array([8.0, 7.0]), texts("7", "8")):
        column.add(chunk, rows(chunk), "unique_id", faults)
    assert column.names == ["7", "8"]
    assert column.codes().tolist() == [0, 1, 1, 0, 0, 1]


def test_a_missing_or_too_long_id_is_one_fault_at_its_first_row() -> None:
    column, faults = IdColumn(), Faults()
    too_long = "x" * (MAX_NAME_CHARS + 1)
    column.add(texts("a", "", "a", "", too_long), np.array([2, 5, 6, 9, 12]), "unique_id", faults)
    column.add(texts("", too_long, "x" * MAX_NAME_CHARS), np.array([13, 14, 15]), "unique_id", faults)
    column.add(np.array([np.nan]), np.array([16]), "unique_id", faults)  # a typed null is the same id
    assert [problem.pointer for problem in faults.problems] == [
        "/file/row/5/column/unique_id",
        "/file/row/12/column/unique_id",
    ]
    assert "is missing" in faults.problems[0].detail
    assert f"longer than {MAX_NAME_CHARS}" in faults.problems[1].detail


@pytest.mark.parametrize("name", ["a\0", "\0a", "a\0b"])
def test_an_id_that_cannot_be_stored_is_refused(name: str) -> None:
    column, faults = IdColumn(), Faults()
    column.add(texts("a", name), np.array([2, 3]), "unique_id", faults)
    assert [problem.pointer for problem in faults.problems] == ["/file/row/3/column/unique_id"]
    assert "NUL" in faults.problems[0].detail


def test_levels_have_a_missing_code_only_if_allowed() -> None:
    assert Levels(missing=True).encode(texts("a", "", "NaN", "b", "a")).tolist() == [0, -1, -1, 1, 0]
    assert Levels(missing=False).encode(texts("a", "", "NaN", "b", "a")).tolist() == [0, 1, 2, 3, 0]


@pytest.mark.parametrize(
    ("cells", "integer"),
    [
        (["1", "2", "3"], True),
        (["-5", "0", "1e2"], True),
        (["2001", "2002", "2003"], False),  # years
        (["2001", "2002", "9999"], True),
        (["202401", "202402"], False),  # months
        (["202413", "202402"], True),  # no thirteenth month
        (["20240131", "20240201"], False),  # days
        (["20240131", "20240230"], True),  # no such day
        (["1.5", "2.5", "3.5"], False),
        (["2024-01-01"], False),
    ],
)
def test_the_first_chunk_decides_whether_time_is_integer(cells: list[str], integer: bool) -> None:
    stamps, _ = times(texts(*cells))
    assert np.issubdtype(stamps.dtype, np.datetime64) != integer


def test_stamps_among_integers_and_integers_among_stamps_are_faults_of_their_rows() -> None:
    _, problems = times(texts("1", "2"), texts("3", "2024-01-01", "", "4.5"))
    assert [pointer for pointer, _ in problems] == [f"/file/row/{row}/column/ds" for row in (5, 6, 7)]
    assert "is not an integer, unlike the rows before" in problems[0][1]
    assert problems[1][1] == "The date is missing."
    _, problems = times(texts("2024-01-01", "2024-01-02"), texts("2024-01-03", "17"))
    assert [pointer for pointer, _ in problems] == ["/file/row/5/column/ds"]


def test_large_integers_keep_their_last_digit() -> None:
    large = 2**53 + 1  # which no float is
    assert times(texts("1", "2", str(large)))[0].tolist() == [1, 2, large]
    assert times(np.array([1, 2, large]))[0].tolist() == [1, 2, large]
    assert [pointer for pointer, _ in times(texts("1", "2", f"{large}.0"))[1]] == ["/file/row/4/column/ds"]


def test_a_missing_typed_time_is_a_fault() -> None:
    _, problems = times(np.array(["2024-01-01", "NaT"], "datetime64[s]"))
    assert problems == [("/file/row/3/column/ds", "The date is missing.")]
    _, problems = times(np.array([1.0, np.nan, 3.0]))
    assert problems == [("/file/row/3/column/ds", "The date is missing.")]


@given(st.lists(st.integers(0, 400), min_size=1, max_size=60), st.lists(st.integers(1, 9), min_size=1))
def test_stamps_are_the_same_read_together_or_in_pieces(days: list[int], sizes: list[int]) -> None:
    stamps = (np.array(days) + np.datetime64("2023-06-01")).astype(str).tolist()
    parsed, faults = times(*in_chunks(stamps, sizes))
    assert not faults
    assert parsed.astype("datetime64[D]").astype(str).tolist() == stamps


@given(
    st.lists(st.sampled_from(["1", "2.5", "", "NaN", "red", "blue"]), min_size=1, max_size=30),
    st.lists(st.integers(1, 7), min_size=1),
)
def test_a_column_is_numeric_if_all_of_it_is_whatever_the_chunks(cells: list[str], sizes: list[int]) -> None:
    column, faults = mixed(*in_chunks(cells, sizes))
    assert not faults
    numbers, codes = column.numbers(), column.codes()
    names = [index for index, cell in enumerate(cells) if cell in ("red", "blue")]
    if names:
        assert numbers is None
        assert column.first_text == f"{cells[names[0]]!r} in row {names[0] + 2}"
    else:
        expected = [float(cell) if cell else np.nan for cell in cells]
        assert numbers is not None
        assert np.array_equal(numbers, np.array(expected, np.float32), equal_nan=True)
    assert codes is not None
    decoded = [column.levels[code] if code >= 0 else None for code in codes]
    assert decoded == [None if cell in MISSING_TEXTS else cell for cell in cells]


@pytest.mark.parametrize(
    ("cells", "numeric"),
    [
        ([*map(str, range(20)), "err"], True),
        ([*map(str, range(20)), "err", "err"], False),  # one in eleven
        ([*map(str, range(60)), "err", "err"], True),
        ([*["1", "2"] * 30, "err"], True),
        ([*["1", "2"] * 30, "x", "x"], False),  # a level among few numbers
        ([*["1"] * 30, "x"], False),
        (["1", "2", "3", "x"], False),  # too few cells to say
        ([*map(str, range(20)), "err", "1e39"], False),
    ],
)
def test_few_cells_that_are_no_numbers_leave_a_column_numeric(cells: list[str], numeric: bool) -> None:
    for size in (1, 5, 100):
        column, faults = mixed(*in_chunks(cells, [size]))
        assert (column.numbers(), faults) == (None, [])
        numbers = column.numbers_with_typos()
        assert (numbers is not None) == numeric
        if numbers is not None:
            assert np.isnan(numbers).sum() == sum(not cell.isdigit() for cell in cells)


def test_large_whole_numbers_are_names_in_text_and_typed() -> None:
    large = [2**53, 2**63 + 1, 2**63 + 2]
    for values in (texts(*map(str, large)), np.array(large, np.uint64)):
        column, faults = mixed(values)
        assert (column.numbers(), column.numbers_with_typos(), faults) == (None, None, [])
        assert column.levels == [*map(str, large)]
    assert mixed(np.array([2.0**60, 1.0]))[0].numbers() is not None
    assert mixed(texts("1e20", "1"))[0].numbers() is not None


def test_a_number_beyond_float32_is_a_fault_of_a_numeric_column_only() -> None:
    assert mixed(texts("1", "1e39"))[1] == ["/file/row/3/column/x"]
    assert mixed(texts("red", "1e39"))[1] == []


def test_typed_numbers_are_never_a_category() -> None:
    column, _ = mixed(np.array([1.0, 2.0]))
    assert column.codes() is None
    assert column.numbers() is not None


def test_too_many_or_too_long_texts_are_no_category(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "MAX_LEVELS", 5)
    monkeypatch.setattr(columns, "MAX_NUMERIC_LEVELS", 3)
    assert mixed(texts("a", "b", "c", "d", "e"))[0].codes() is not None
    assert mixed(texts("a", "b", "c"), texts("d", "e", "f"), texts("a"))[0].codes() is None
    assert mixed(texts("1", "2", "3", "4"))[0].codes() is None  # numbers have a lower limit
    assert mixed(texts("a", "x" * (MAX_NAME_CHARS + 1)))[0].codes() is None
