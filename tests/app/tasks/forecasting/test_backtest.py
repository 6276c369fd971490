import numpy as np
import pytest

from app.tasks.forecasting.backtest import HistorySlicer, find_split_points, min_length
from tests.support.factories.series import series_set

STATE = {
    "horizon": 4,
    "history": 20,
    "past": [],
    "future": [{"name": "x", "levels": [], "mean": 0.0, "std": 100.0}],
    "static": [],
}


def ramp(*lengths: int) -> list[np.ndarray]:
    return [np.arange(length, dtype=float) for length in lengths]


def test_the_last_horizon_is_held_out_and_the_one_before_validates() -> None:
    points = find_split_points(series_set(ramp(*[40] * 70)), 4, 7)[0]
    assert (points.train_end, points.refit_end, points.valid, points.test) == (32, 40, (32,), (36,))


def test_a_series_ends_with_its_last_observed_value() -> None:
    values = ramp(*[40] * 70)
    values[0][34:] = np.nan
    values[1][:] = np.nan
    points = find_split_points(series_set(values), 4, 7)
    assert (points[0].refit_end, points[0].test) == (34, (30,))
    assert (points[1].refit_end, points[1].test) == (0, ())


def test_a_short_series_gives_no_validation_and_a_tiny_one_nothing() -> None:
    points = find_split_points(series_set(ramp(*[18] * 70, min_length(4), min_length(4) - 1)), 4, 7)
    assert (points[0].train_end, points[0].valid, points[0].test) == (14, (), (14,))
    assert points[70].test == (7,)
    assert (points[71].train_end, points[71].test) == (10, ())


def test_few_long_series_give_several_origins() -> None:
    points = find_split_points(series_set(ramp(200)), 4, 7)[0]
    assert points.test == (180, 184, 188, 192, 196)
    assert points.valid == (160, 164, 168, 172, 176)
    assert points.train_end == 160


def test_marked_rows_are_held_out_by_rolling_origins() -> None:
    marks = [[1] * 30 + [2] * 6 + [3] * 10]
    points = find_split_points(series_set(ramp(46), splits=marks), 4, 7)[0]
    assert (points.train_end, points.refit_end, points.valid, points.test) == (30, 36, (30, 34), (36, 40, 44))


def test_without_rows_for_validation_the_last_horizon_before_the_test_validates() -> None:
    points = find_split_points(series_set(ramp(46), splits=[[1] * 36 + [3] * 10]), 4, 7)[0]
    assert (points.train_end, points.refit_end, points.valid) == (32, 36, (32,))


def test_rows_marked_valid_are_held_out_if_none_is_marked_test() -> None:
    points = find_split_points(series_set(ramp(46), splits=[[1] * 36 + [2] * 10]), 4, 7)[0]
    assert (points.refit_end, points.test) == (36, (36, 40, 44))


def test_a_series_that_is_all_test_is_forecast_from_its_second_point_on() -> None:
    points = find_split_points(series_set(ramp(46, 9), splits=[[1] * 46, [3] * 9]), 4, 7)[1]
    assert (points.train_end, points.test) == (0, (1, 5))


def test_a_history_ends_at_its_origin_and_targets_at_the_limit() -> None:
    covariate = np.arange(90.0)
    slicer = HistorySlicer(series_set(ramp(50, 40), covariates={"x": covariate}), STATE)
    histories = slicer.histories(np.array([[1, 30, 32], [1, 38, 40]]))
    assert histories.lengths.tolist() == [20, 20]
    np.testing.assert_array_equal(histories.values(20)[0], np.arange(10, 30))
    np.testing.assert_array_equal(histories.targets(4), [[30, 31, np.nan, np.nan], [38, 39, np.nan, np.nan]])
    assert histories.start.tolist() == [10, 18]
    assert histories.first.tolist() == [60, 68]
    assert histories.known_end.tolist() == [84, 90]
    np.testing.assert_allclose(histories.points.future[:, 0], covariate / 100)


@pytest.mark.parametrize(("length", "count"), [(0, 0), (20, 1), (21, 2), (30, 2), (41, 4)])
def test_training_histories_cover_a_series(length: int, count: int) -> None:
    slicer = HistorySlicer(series_set(ramp(50), covariates={"x": np.zeros(50)}), STATE)
    origins = slicer.training_origins([(0, length)])
    assert len(origins) == count
    histories = slicer.histories(origins)
    values = [
        histories.points.values[first:origin]
        for first, origin in zip(histories.first, histories.origin, strict=True)
    ]
    assert {value for history in values for value in history} == set(range(length))
    assert not (histories.targets(4) >= length).any()
