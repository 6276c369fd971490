"""The forecasting benchmark's scores, and how it cuts long series into windows."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.forecasting import classical
from benchmarks.forecasting.competition import GROUPS, Forecasts, Group
from benchmarks.forecasting.files import File, long_series, repeated_error
from benchmarks.forecasting.scores import covered, score, spread
from tests.support.fixtures.real_data import shared

HOURLY = """unique_id,ds,y,split
b,2024-01-01T03:00:00Z,4,test
b,2024-01-01T00:00:00Z,1,train
b,2024-01-01T02:00:00Z,,train
b,2024-01-01T04:00:00Z,7,test
"""


class Played(Group):
    """A group of two series whose values are given."""

    pasts = [np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0])]  # noqa: RUF012
    actual = np.array([[4.0, 5.0], [8.0, 10.0]])
    scales = np.array([1.0, 2.0])


def test_scores_are_in_units_of_each_series_and_intervals_pay_for_what_they_miss() -> None:
    median = np.array([[4.0, 6.0], [6.0, 10.0]])
    low, high = np.array([[3.0, 4.0], [5.0, 8.0]]), np.array([[5.0, 6.0], [7.0, 12.0]])
    found = score(Played("two", 2, 1, GROUPS[0].published), Forecasts(median, {80: (low, high)}))
    assert found.mase == pytest.approx((0 + 1 + 1 + 0) / 4)
    assert found.bias == pytest.approx((0 + 1 - 1 + 0) / 4)
    assert found.msis[80] == pytest.approx((2 + 2 + (2 + 10 * 1) / 2 + 4 / 2) / 4)
    assert found.coverage[80].tolist() == [0.5, 1.0]
    assert covered([found], 80) == "0.75 (0.50–1.00)"
    assert spread([1.0, 2.0]) == "1.50 (1.00–2.00)"


def test_naive2_repeats_the_last_value_with_its_season() -> None:
    season = np.array([1.0, 2.0, 3.0, 2.0])
    values = np.tile(season, 8)[None]
    medians, sides = classical.naive2(values, 4, 8)
    assert medians[0] == pytest.approx(np.tile(season, 2), rel=0.01)
    assert np.isnan(sides).all()


@pytest.mark.parametrize(("method", "published"), [("Naive2", 15.47), ("Theta", 13.01)])
def test_published_figures_of_m3_are_met_within_a_hundredth(method: str, published: float) -> None:
    shared("forecasting/m3_yearly.train.jsonl")
    points = [score(group, classical.forecast(group, classical.METHODS[method])).points for group in GROUPS]
    assert float(np.concatenate(points).mean()) == pytest.approx(published, rel=0.01)


def test_long_series_lie_on_a_grid_and_are_forecast_window_by_window(tmp_path: Path) -> None:
    path = tmp_path / "hourly.csv"
    path.write_text(HOURLY)
    series = long_series(path)["b"]
    assert np.array_equal(series.values, [1, np.nan, np.nan, 4, 7], equal_nan=True)
    assert list(series.origins(1)) == [3, 4]
    assert series.instance(3) == {"values": [1.0, None, None], "start": "2024-01-01T00:00:00"}
    assert series.mean_error(1, [np.array([5.0]), np.array([5.0])]) == pytest.approx(1.5)
    assert series.mean_error(2, [np.array([5.0, 5.0])]) == pytest.approx(1.5)
    assert repeated_error(series, File("hours", path, 1, seasons=(1,))) == pytest.approx((3 + 3) / 2)
