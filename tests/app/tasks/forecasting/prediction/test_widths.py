import numpy as np
import pytest

from app.arrays import Array
from app.tasks.forecasting.prediction.widths import MAX_FACTOR, IntervalWidths

HORIZON = 12
LEVELS = [0.1, 0.5, 0.9]
NORMAL = np.array([-1.2816, 0.0, 1.2816])


def factors(spread: Array, origins: float, rows: int = 2000, levels: list[float] = LEVELS) -> list[float]:
    """Of normal errors that are `spread` (horizon,) times as wide as the forecasts say."""
    rng = np.random.default_rng(0)
    actual = spread * rng.normal(size=(rows, HORIZON))
    actual[rng.random(actual.shape) < 0.1] = np.nan
    quantiles = np.broadcast_to(
        NORMAL[[LEVELS.index(level) for level in levels]], (rows, HORIZON, len(levels))
    )
    widths = IntervalWidths(levels, HORIZON)
    for part in np.array_split(np.arange(rows), 3):
        widths.add(actual[part], quantiles[part])
    return widths.fit(origins)


def test_intervals_are_as_wide_at_each_lead_as_errors_are() -> None:
    spread = np.linspace(1.0, 2.0, HORIZON)
    np.testing.assert_allclose(factors(spread, 1e9), spread, rtol=0.15)
    assert np.diff(factors(spread, 1e9))[2:-2].min() > 0


def test_one_origin_says_half_of_it_and_nothing_becomes_narrower() -> None:
    ones = np.ones(HORIZON)
    np.testing.assert_allclose(factors(2.25 * ones, 1), 1.5 * ones, rtol=0.05)
    assert factors(0.5 * ones, 1) == factors(0.5 * ones, 1e9) == ones.tolist()


def test_factors_are_limited_and_few_values_change_nothing() -> None:
    ones = np.ones(HORIZON)
    assert max(factors(100 * ones, 1e9)) == MAX_FACTOR
    assert factors(100 * ones, 1e9, rows=4) == ones.tolist()
    assert IntervalWidths(LEVELS, 2).fit(1.0) == [1.0, 1.0]


@pytest.mark.parametrize("levels", [[0.5], [0.5, 0.9], [0.1, 0.5]])
def test_without_an_interval_around_the_median_nothing_changes(levels: list[float]) -> None:
    assert factors(2 * np.ones(HORIZON), 10, levels=levels) == [1.0] * HORIZON
