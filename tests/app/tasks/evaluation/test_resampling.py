"""Intervals: weights that depend on the unit alone, and figures by hand."""

import numpy as np
import pytest

from app.tasks.evaluation.resampling import BLOCK_UNITS, Resampler, estimate, ratio, rounded
from app.tasks.evaluation.sums import SumTally


def test_weights_depend_on_the_unit_alone() -> None:
    units = np.array([3, 300, 4, 3, 1000])
    together = Resampler(0, 50).weights(units)
    assert (together[0] == 1).all()
    assert (together[:, 0] == together[:, 3]).all()
    for column, unit in enumerate(units.tolist()):
        assert (Resampler(0, 50).weights(np.array([unit]))[:, 0] == together[:, column]).all()
    assert (Resampler(1, 50).weights(units)[1:] != together[1:]).any()


def test_weights_are_poisson() -> None:
    weights = Resampler(0).weights(np.arange(4 * BLOCK_UNITS))[1:]
    assert weights.mean() == pytest.approx(1, abs=0.01)
    assert weights.var() == pytest.approx(1, abs=0.01)
    assert (weights == np.floor(weights)).all()
    correlation = np.corrcoef(weights[:, 0], weights[:, BLOCK_UNITS])[0, 1]
    assert abs(correlation) < 0.15


def test_an_interval_by_hand() -> None:
    values = np.array([5.0, *range(1, 101)])
    assert estimate(values, 10) == {"value": 5.0, "low": 3.475, "high": 97.525}
    assert estimate(values, 1) == {"value": 5.0, "low": None, "high": None}
    assert estimate(np.array([np.nan, *[np.nan] * 60, *[1.0] * 40]), 9)["low"] is None
    assert estimate(np.array([2.0, *[np.nan] * 40, *[1.0] * 60]), 9) == {"value": 2, "low": 1, "high": 1}


def test_the_interval_of_a_mean_is_that_of_its_standard_error() -> None:
    rng = np.random.default_rng(0)
    values, resampler = rng.normal(10, 2, 400), Resampler(0)
    tally = SumTally(
        resampler.rows, 2, lambda line: [line["x"], 1.0], lambda sums: {"mean": ratio(sums[:, 0], sums[:, 1])}
    )
    for start in range(0, 400, 37):
        part = np.arange(start, min(start + 37, 400))
        tally.add([{"x": value} for value in values[part].tolist()], resampler.weights(part))
    figure = estimate(tally.values()["mean"], 400)
    error = values.std() / 20
    assert figure["value"] == pytest.approx(values.mean(), rel=1e-5)
    assert figure["high"] - figure["low"] == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert figure["low"] < values.mean() < figure["high"]


def test_figures_have_six_digits() -> None:
    assert rounded(1234.56789) == 1234.57
    assert rounded(float("nan")) is None
    assert np.isnan(ratio(np.array([1.0]), np.array([0.0]))).all()
