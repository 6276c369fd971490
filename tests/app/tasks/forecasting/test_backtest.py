import numpy as np
import pytest

from app.tasks.forecasting.backtest import Slicer, cut_series, needed
from tests.series import series_set

STATE = {"horizon": 4, "history": 20, "past": [], "future": [{"name": "x"}], "static": []}


def ramp(*lengths: int) -> list[np.ndarray]:
    return [np.arange(length, dtype=float) for length in lengths]


def test_the_last_horizon_is_held_out_and_the_one_before_validates() -> None:
    cut = cut_series(series_set(ramp(*[40] * 70)), 4, 7)[0]
    assert (cut.train, cut.whole, cut.valid, cut.test) == (32, 40, (32,), (36,))


def test_a_series_ends_with_its_last_observed_value() -> None:
    values = ramp(*[40] * 70)
    values[0][34:] = np.nan
    values[1][:] = np.nan
    cuts = cut_series(series_set(values), 4, 7)
    assert (cuts[0].whole, cuts[0].test) == (34, (30,))
    assert (cuts[1].whole, cuts[1].test) == (0, ())


def test_a_short_series_gives_no_validation_and_a_tiny_one_nothing() -> None:
    cuts = cut_series(series_set(ramp(*[18] * 70, needed(4), needed(4) - 1)), 4, 7)
    assert (cuts[0].train, cuts[0].valid, cuts[0].test) == (14, (), (14,))
    assert cuts[70].test == (7,)
    assert (cuts[71].train, cuts[71].test) == (10, ())


def test_few_long_series_give_several_origins() -> None:
    cut = cut_series(series_set(ramp(200)), 4, 7)[0]
    assert cut.test == (180, 184, 188, 192, 196)
    assert cut.valid == (160, 164, 168, 172, 176)
    assert cut.train == 160


def test_marked_rows_are_held_out_by_rolling_origins() -> None:
    marks = [[1] * 30 + [2] * 6 + [3] * 10]
    cut = cut_series(series_set(ramp(46), splits=marks), 4, 7)[0]
    assert (cut.train, cut.whole, cut.valid, cut.test) == (30, 36, (30, 34), (36, 40, 44))


def test_without_rows_for_validation_the_last_horizon_before_the_test_validates() -> None:
    cut = cut_series(series_set(ramp(46), splits=[[1] * 36 + [3] * 10]), 4, 7)[0]
    assert (cut.train, cut.whole, cut.valid) == (32, 36, (32,))


def test_rows_marked_valid_are_held_out_if_none_is_marked_test() -> None:
    cut = cut_series(series_set(ramp(46), splits=[[1] * 36 + [2] * 10]), 4, 7)[0]
    assert (cut.whole, cut.test) == (36, (36, 40, 44))


def test_a_series_that_is_all_test_is_forecast_from_its_second_point_on() -> None:
    cut = cut_series(series_set(ramp(46, 9), splits=[[1] * 46, [3] * 9]), 4, 7)[1]
    assert (cut.train, cut.test) == (0, (1, 5))


def test_a_history_ends_at_its_origin_and_targets_at_the_limit() -> None:
    covariate = np.arange(90.0)
    slicer = Slicer(series_set(ramp(50, 40), covariates={"x": covariate}), STATE)
    history = slicer.history(1, 30, 32)
    assert history.values.tolist() == list(range(10, 30))
    np.testing.assert_array_equal(history.after, [30, 31, np.nan, np.nan])
    assert history.start == 10
    assert history.future is not None
    assert history.future[:, 0].tolist() == list(range(60, 84))


@pytest.mark.parametrize(("length", "count"), [(0, 0), (20, 1), (21, 2), (30, 2), (41, 4)])
def test_pieces_cover_a_series(length: int, count: int) -> None:
    pieces = Slicer(series_set(ramp(50), covariates={"x": np.zeros(50)}), STATE).pieces(0, length)
    assert len(pieces) == count
    assert {value for piece in pieces for value in piece.values} == set(range(length))
    assert all(not piece.after[piece.after >= length].size for piece in pieces)
