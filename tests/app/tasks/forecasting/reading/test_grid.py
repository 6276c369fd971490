from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.arrays import Array
from app.errors import DatasetInvalid, Problem
from app.tasks.forecasting.frequency import Frequency
from app.tasks.forecasting.reading.grid import Grid, build_grid, fill_forward
from app.tasks.forecasting.reading.rows import TableRows
from app.tasks.source import Faults

FREQUENCIES = ["s", "15min", "h", "D", "B", "W-WED", "MS", "ME", "QS-FEB", "QE-MAR", "YS", "YE-JUN", "1", "7"]


def rows_of(**series: Array) -> TableRows:
    """A long table of series one behind the other, its first row in line 2."""
    times = list(series.values())
    codes = np.repeat(np.arange(len(times), dtype=np.int32), [len(stamps) for stamps in times])
    return TableRows(list(series), codes, np.concatenate(times), np.arange(2, 2 + len(codes)), "ds")


def shuffled(rows: TableRows, rng: np.random.Generator) -> TableRows:
    """The same table with its series interleaved at random, each in its own order."""
    codes = rng.permutation(rows.codes)
    _, first = np.unique(codes, return_index=True)
    rank = np.empty(len(first), np.int32)
    rank[np.argsort(first)] = np.arange(len(first))  # series are numbered by appearance
    taken = {int(code): iter(np.flatnonzero(rows.codes == code)) for code in np.unique(codes)}
    source = [next(taken[int(code)]) for code in codes]
    names = [rows.names[int(codes[row])] for row in np.sort(first)]
    return TableRows(names, rank[codes], rows.times[source], rows.lines, "ds")


def refused(rows: TableRows) -> list[Problem]:
    with pytest.raises(DatasetInvalid) as caught:
        build_grid(rows, Faults())
    return caught.value.problems


def stamps(*texts: str) -> Array:
    return np.array(texts, "datetime64[s]")


def times_of(grid: Grid, series: int) -> Array:
    """The time stamps of all grid points of a series."""
    count = int(grid.offsets[series + 1] - grid.offsets[series])
    ordinals = np.arange(count) + grid.starts[series]
    return grid.frequency.times(ordinals, int(grid.phases[series]))


@given(
    st.sampled_from(FREQUENCIES),
    st.lists(
        st.tuples(st.integers(-300, 900), st.sets(st.integers(0, 60), max_size=20)), min_size=1, max_size=5
    ),
    st.integers(0, 2**32 - 1),
)
def test_any_interleaving_with_any_gaps_lands_where_its_stamps_say(
    alias: str, made: list[tuple[int, set[int]]], seed: int
) -> None:
    """Rows 20 to 29 are always there, so the step can be inferred; others are missing at random."""
    frequency = Frequency.parse(alias)
    series = {}
    for number, (start, missing) in enumerate(made):
        present = np.array([step for step in range(61) if step not in missing or 20 <= step < 30])
        series[f"s{number}"] = frequency.times(present + start)
    rows = shuffled(rows_of(**series), np.random.default_rng(seed))
    grid = build_grid(rows, Faults())
    assert (grid.frequency.unit, grid.frequency.step) == (frequency.unit, frequency.step)
    row_of = grid.spread(np.arange(len(rows.codes)), empty=-1)  # the row at each grid point
    assert sorted(row_of[row_of >= 0].tolist()) == list(range(len(rows.codes)))
    for index in range(len(made)):
        own = row_of[grid.offsets[index] : grid.offsets[index + 1]]
        known = own >= 0
        assert (rows.codes[own[known]] == index).all()
        assert (times_of(grid, index)[known] == rows.times[own[known]]).all()
        assert known[0]
        assert known[-1]
    assert grid.missing_points == int((row_of < 0).sum())
    assert grid.gapped_series == sum(
        bool((row_of[a:b] < 0).any()) for a, b in zip(grid.offsets, grid.offsets[1:], strict=False)
    )


def test_each_series_may_lie_elsewhere_between_the_grid_points() -> None:
    days = np.arange(8) * np.timedelta64(86_400, "s")
    grid = build_grid(
        rows_of(a=stamps("2024-01-01T16:00")[0] + days, b=stamps("2024-02-27T04:30")[0] + days), Faults()
    )
    assert grid.frequency.alias == "D"
    assert grid.phases.tolist() == [16 * 3600, 4 * 3600 + 1800]
    assert str(times_of(grid, 1)[3]) == "2024-03-01T04:30:00"


def test_month_ends_through_a_leap_year_are_months() -> None:
    ends = ["2023-11-30", "2023-12-31", "2024-01-31", "2024-02-29", "2024-03-31", "2025-02-28"]
    grid = build_grid(rows_of(a=stamps(*ends)), Faults())
    assert grid.frequency.alias == "ME"
    assert np.diff(grid.points).tolist() == [1, 1, 1, 1, 11]
    assert times_of(grid, 0)[-1] == stamps("2025-02-28")[0]


def test_business_days_skip_weekends_and_miss_holidays() -> None:
    days = ["2024-03-27", "2024-03-28", "2024-04-02", "2024-04-03", "2024-04-04", "2024-04-05", "2024-04-08"]
    grid = build_grid(rows_of(a=stamps(*days)), Faults())
    assert (grid.frequency.alias, grid.missing_points) == ("B", 2)  # Good Friday and Easter Monday
    assert grid.points.tolist() == [0, 1, 4, 5, 6, 7, 8]


@given(st.integers(2, 30), st.data())
def test_a_duplicate_fault_has_its_row_and_the_row_it_repeats(count: int, data: st.DataObject) -> None:
    first, second = np.arange(count), np.arange(100, 100 + count)
    rows = rows_of(**{"a b": first, "ü": second})
    at = data.draw(st.integers(1, count - 1))
    doubled = rows.times.copy()
    doubled[count + at] = doubled[count + at - 1]
    [problem] = refused(replace(rows, times=doubled))
    assert problem.pointer == f"/file/row/{count + at + 2}/column/ds"
    assert problem.detail == f"Duplicate time stamp: series 'ü' has this one in row {count + at + 1} too."


def test_rows_that_go_back_in_time_are_sorted() -> None:
    grid = build_grid(rows_of(a=stamps("2024-01-01", "2024-01-03", "2024-01-02", "2024-01-04")), Faults())
    assert grid.spread(np.arange(4), empty=-1).tolist() == [0, 2, 1, 3]
    assert grid.warnings == ["1 series are not in the order of time (first in row 4); they are sorted."]


def test_equal_stamps_of_different_series_are_no_duplicates() -> None:
    grid = build_grid(rows_of(a=np.arange(5), b=np.arange(5)), Faults())
    assert grid.offsets.tolist() == [0, 5, 10]


def test_a_stamp_between_the_grid_points_is_a_fault_of_its_row() -> None:
    days = stamps("2024-01-01")[0] + np.arange(12) * np.timedelta64(86_400, "s")
    days[4] += np.timedelta64(3600, "s")
    [problem] = refused(rows_of(a=days))
    assert problem.pointer == "/file/row/6/column/ds"
    assert problem.detail.startswith("Mixed frequency")


def test_a_wrong_first_row_is_the_only_fault() -> None:
    days = stamps("2024-01-01")[0] + np.arange(12) * np.timedelta64(86_400, "s")
    days[0] += np.timedelta64(3600, "s")
    assert [problem.pointer for problem in refused(rows_of(a=days))] == ["/file/row/2/column/ds"]


def test_a_series_of_another_frequency_is_a_fault_at_its_first_row() -> None:
    days = stamps("2024-01-01")[0] + np.arange(40) * np.timedelta64(86_400, "s")
    [problem] = refused(rows_of(a=days, b=days[::7], c=days))
    assert problem.pointer == "/file/row/42/column/ds"
    assert "no rows of series 'b' are D apart" in problem.detail


def test_one_row_far_away_does_not_make_a_grid_of_millions() -> None:
    seconds = np.concatenate([np.arange(10), [10**9]]).astype("datetime64[s]")
    [problem] = refused(rows_of(a=seconds))
    assert "Irregular time stamps: series 'a' has 11 rows on 1000000001 points" in problem.detail


def test_a_series_of_one_row_takes_part() -> None:
    grid = build_grid(rows_of(a=np.arange(5), lonely=np.array([42]), b=np.arange(3, 9)), Faults())
    assert grid.offsets.tolist() == [0, 5, 6, 12]
    assert grid.starts.tolist() == [0, 42, 3]


def test_no_step_at_all_cannot_be_a_grid() -> None:
    assert "frequency cannot be inferred" in refused(rows_of(a=np.array([1]), b=np.array([2])))[0].detail


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40).filter(lambda values: values[0] > 0))
def test_empty_points_repeat_the_point_before(values: list[int]) -> None:
    grid = np.array(values)
    filled = fill_forward(grid, 0)
    expected, last = [], 0
    for value in values:
        last = value or last
        expected.append(last)
    assert filled.tolist() == expected
