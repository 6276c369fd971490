import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.tasks.forecasting.reading import covariates
from app.tasks.forecasting.reading.columns import MixedColumn
from app.tasks.forecasting.reading.covariates import attach_covariates, last_observed_points
from app.tasks.forecasting.reading.grid import Grid, build_grid
from app.tasks.forecasting.reading.rows import TableRows
from app.tasks.forecasting.series import SeriesSet
from app.tasks.source import Faults

CELLS = st.sampled_from(["red", "blue", "", "NaN", "7"])


def table(series: dict[str, tuple[list[int], list[float]]]) -> tuple[Grid, SeriesSet]:
    """Series of integer time, by times and values."""
    codes = np.repeat(np.arange(len(series), dtype=np.int32), [len(times) for times, _ in series.values()])
    times = np.concatenate([times for times, _ in series.values()])
    grid = build_grid(TableRows(list(series), codes, times, np.arange(2, 2 + len(codes)), "ds"), Faults())
    values = np.concatenate([values for _, values in series.values()])
    on_grid = grid.spread(values, empty=np.nan)
    made = SeriesSet(
        ids=np.array(list(series)),
        freq="1",
        starts=grid.starts,
        offsets=grid.offsets,
        values=on_grid,
        splits=np.zeros(len(on_grid), np.int8),
    )
    return grid, made


def column(*cells: str | float) -> MixedColumn:
    made = MixedColumn()
    typed = not isinstance(cells[0], str)
    values = np.array(cells, np.float64 if typed else object)
    made.add(values, np.arange(2, 2 + len(cells)), "x", Faults())
    return made


def attached(
    series: dict[str, tuple[list[int], list[float]]], **columns: MixedColumn
) -> tuple[SeriesSet, list[str]]:
    grid, made = table(series)
    warnings: list[str] = []
    return attach_covariates(made, columns, grid, warnings), warnings


def ones(count: int) -> tuple[list[int], list[float]]:
    return list(range(count)), [1.0] * count


TWO = {"a": ones(3), "b": ones(3)}


def test_a_text_that_never_changes_within_a_series_describes_it() -> None:
    series, warnings = attached(TWO, shop=column("x", "x", "x", "y", "", "y"))
    assert (series.static_names, series.static_levels) == (["shop"], [["x", "y"]])
    assert series.static_codes.tolist() == [[0], [1]]
    assert (series.covariate_names, series.covariates.shape, warnings) == ([], (6, 0), [])


def test_a_series_without_the_text_has_no_level() -> None:
    series, _ = attached(TWO, shop=column("", "", "", "y", "", "y"))
    assert series.static_codes.tolist() == [[-1], [0]]


def test_a_text_that_changes_is_a_covariate_with_levels() -> None:
    series, warnings = attached(TWO, sky=column("sun", "rain", "", "rain", "rain", "sun"))
    assert (series.static_names, series.covariate_levels) == ([], [["sun", "rain"]])
    assert np.array_equal(series.covariates[:, 0], [0, 1, np.nan, 1, 1, 0], equal_nan=True)
    assert warnings == []


@given(st.lists(CELLS, min_size=6, max_size=6))
def test_static_and_changing_follow_from_the_cells_alone(cells: list[str]) -> None:
    series, warnings = attached(TWO, x=column(*cells))
    present = [[cell for cell in part if cell not in ("", "NaN")] for part in (cells[:3], cells[3:])]
    if not any(present):
        assert "it holds no value" in warnings[0]
        assert (series.static_names, series.covariate_names) == ([], [])
    elif all(cell == "7" for part in present for cell in part):
        assert (series.covariate_names, series.covariate_levels) == (["x"], [[]])
    elif all(len(set(part)) < 2 for part in present):
        assert series.static_names == ["x"]
    else:
        assert series.covariate_names == ["x"]
        assert sorted(series.covariate_levels[0]) == sorted({cell for part in present for cell in part})
    assert series.covariates.dtype == np.float32
    assert series.static_codes.dtype == np.int32


def test_numbers_stay_numbers_even_if_they_never_change() -> None:
    series, _ = attached(TWO, size=column("5", "5", "5", "6", "6", "6"))
    assert (series.static_names, series.covariate_names) == ([], ["size"])


def test_gaps_of_the_grid_are_missing_in_every_covariate_and_do_not_make_a_text_change() -> None:
    series = {"a": ([0, 1, 4], [1.0, 1.0, 1.0]), "b": ones(2)}
    result, _ = attached(series, price=column(1.0, 2.0, 3.0, 4.0, 5.0), shop=column("x", "x", "x", "y", "y"))
    price = [1, 2, np.nan, np.nan, 3, 4, 5]
    assert np.array_equal(result.covariates[:, 0], price, equal_nan=True)
    assert result.static_codes.tolist() == [[0], [1]]


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        (["1", "2", "3", "4", "5", "x"], "'x' in row 7 is no number"),
        (["", "NaN", "", "", "", ""], "it holds no value"),
    ],
)
def test_a_column_that_cannot_be_used_is_left_out_with_a_reason(
    cells: list[str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(covariates, "MAX_VARYING_LEVELS", 3)
    series, [warning] = attached(TWO, **{"my column": column(*cells)})
    assert warning.startswith("The column 'my column' is left out")
    assert reason in warning
    assert (series.static_names, series.covariate_names) == ([], [])


def test_many_levels_are_fine_where_they_do_not_vary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(covariates, "MAX_VARYING_LEVELS", 1)
    series, warnings = attached(TWO, shop=column("x", "x", "x", "y", "y", "y"))
    assert (series.static_names, warnings) == (["shop"], [])


def test_a_mixture_of_typed_numbers_and_texts_is_left_out() -> None:
    mixed = column(1.0, 2.0, 3.0)
    mixed.add(np.array(["a", "b", "c"], object), np.arange(5, 8), "x", Faults())
    series, [warning] = attached(TWO, x=mixed)
    assert "neither a number everywhere ('a' in row 5) nor a category" in warning
    assert series.covariate_names == []


LATER = {"a": ([0, 1, 2, 3], [1.0, 1.0, np.nan, np.nan]), "b": ([5, 6, 7], [1.0, 1.0, np.nan])}
FULL = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0)


def test_what_goes_on_where_every_value_has_ended_is_known_ahead() -> None:
    holed = (0.0, np.nan, 2.0, 3.0, 4.0, np.nan, 6.0)  # a hole before the end does not matter
    ended = (0.0, 1.0, 2.0, np.nan, 4.0, 5.0, 6.0)  # but one after it does
    series, [warning] = attached(LATER, promo=column(*FULL), sparse=column(*holed), short=column(*ended))
    assert series.known_ahead == ["promo", "sparse"]
    assert "promo, sparse" in warning


def test_a_category_can_be_known_ahead() -> None:
    series, _ = attached(LATER, day=column("mo", "tu", "mo", "tu", "mo", "tu", "mo"))
    assert series.known_ahead == ["day"]


@pytest.mark.parametrize(
    "b",
    [
        ([5, 6, 7], [1.0, 1.0, 1.0]),  # has a value to its end
        ([5, 6, 7], [np.nan, np.nan, np.nan]),  # never had one
    ],
)
def test_nothing_is_known_ahead_unless_every_series_says_so(b: tuple[list[int], list[float]]) -> None:
    series, warnings = attached({"a": LATER["a"], "b": b}, promo=column(*FULL))
    assert (series.known_ahead, warnings) == ([], [])


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=8), min_size=1, max_size=5))
def test_the_last_observed_value_of_each_series(observed: list[list[bool]]) -> None:
    sizes = [len(part) for part in observed]
    made = SeriesSet(
        ids=np.arange(len(observed)).astype(str),
        freq="1",
        starts=np.zeros(len(observed), np.int64),
        offsets=np.concatenate([[0], np.cumsum(sizes)]),
        values=np.array([1.0 if one else np.nan for part in observed for one in part]),
        splits=np.zeros(sum(sizes), np.int8),
    )
    last_points = last_observed_points(made)
    for part, first, last in zip(observed, made.offsets, last_points, strict=False):
        indices = [index for index, one in enumerate(part) if one]
        assert last == (first + indices[-1] if indices else -1)
