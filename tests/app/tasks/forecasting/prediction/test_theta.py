import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.arrays import Array
from app.tasks.forecasting.prediction.theta import (
    DRIFT_SHARE,
    EQUAL_SHARE,
    SMOOTHINGS,
    ThetaShare,
    smoothed,
    theta_paths,
    trends,
)


def reference(values: Array, horizon: int) -> Array:
    """Step by step, one series: Hyndman & Billah (2003), equation 3.2 for the forecasts."""
    n, slope = len(values), np.polyfit(np.arange(len(values)), values, 1)[0]
    best = None
    for smoothing in SMOOTHINGS:
        level, total = values[0], 0.0
        for value in values[1:]:
            total += (value - level) ** 2
            level += smoothing * (value - level)
        if best is None or total < best[0]:
            best = total, smoothing, level
    assert best is not None
    _, smoothing, level = best
    lead = np.arange(1, horizon + 1)
    drift = DRIFT_SHARE * slope * min(1.0, (n - 1) / horizon)
    return np.asarray(level + drift * (lead - 1 + (1 - (1 - smoothing) ** n) / smoothing))


@pytest.mark.parametrize("length", [2, 3, 7, 40, 129])
def test_paths_are_those_of_the_method_step_by_step(length: int) -> None:
    rng = np.random.default_rng(length)
    values = np.cumsum(rng.normal(0.3, 1.0, (5, length)), axis=1)
    paths = theta_paths(values, np.full(5, length), 6)
    np.testing.assert_allclose(paths, [reference(row, 6) for row in values], rtol=1e-9, atol=1e-9)


def test_smoothing_is_recursive() -> None:
    values = np.random.default_rng(0).normal(size=(3, 50))
    values[:, 0] = 0.0
    for smoothing, levels in zip(SMOOTHINGS, smoothed(values), strict=True):
        for step in range(1, 50):
            expected = levels[:, step - 1] + smoothing * (values[:, step] - levels[:, step - 1])
            np.testing.assert_allclose(levels[:, step], expected, atol=1e-12)


def test_trends_are_least_squares() -> None:
    values = np.random.default_rng(1).normal(size=(4, 30))
    expected = [np.polyfit(np.arange(30), row, 1)[0] for row in values]
    np.testing.assert_allclose(trends(values, np.full(4, 30)), expected)
    assert trends(values, np.ones(4, np.int64)).tolist() == [0.0] * 4


@given(st.lists(st.integers(1, 60), min_size=1, max_size=6), st.integers(0, 2**32 - 1))
def test_a_row_alone_and_among_longer_ones_is_the_same(lengths: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    padded = rng.normal(size=(len(lengths), max(lengths) + 5))  # behind the end anything may be
    together = theta_paths(padded, np.array(lengths), 7)
    for row, length in enumerate(lengths):
        alone = theta_paths(padded[row : row + 1, :length], np.array([length]), 7)
        assert alone[0].tobytes() == together[row].tobytes()


def test_a_constant_goes_on_exactly() -> None:
    assert (theta_paths(np.full((1, 33), 0.1), np.array([33]), 9) == 0.1).all()


def share_of(network: float, theta: float, rows: int = 1000) -> float:
    """The share after forecasts with these errors."""
    share, actual = ThetaShare(), np.tile([0.0, np.nan, 0.0], (rows, 1))
    ones, zeros = np.ones(rows), np.zeros((rows, 3))
    share.add(actual, zeros + network, zeros - theta, ones, ones)
    return share.fit()


def test_the_share_goes_by_the_ratio_of_errors() -> None:
    assert share_of(1.0, 1.0) == pytest.approx(EQUAL_SHARE, rel=0.03)
    assert share_of(1.0, 0.5) == share_of(1.0, 1.0)
    assert 0 < share_of(1.0, 1.2) < share_of(1.0, 1.1) < share_of(1.0, 1.0)
    assert share_of(1.0, 2.0) == 0.0
    assert share_of(1.0, 1.0, rows=7) < 0.3 * EQUAL_SHARE
    assert share_of(0.0, 1.0) == ThetaShare().fit() == 0.0
