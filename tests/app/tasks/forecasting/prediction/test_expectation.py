"""`mean` is the expectation, whatever the distribution; `median` is the median."""

from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from app.tasks.forecasting.inference import ForecastingInstance, ForecastingParameters
from app.tasks.forecasting.options import ForecastingOptions
from app.tasks.forecasting.prediction.expectation import (
    PRIOR_WEIGHTS,
    MeanContext,
    MeanWeights,
    add_terms,
    historical_means,
    integrate_quantiles,
    mean_terms,
)
from app.tasks.forecasting.prediction.tails import NORMAL_TAILS
from app.tasks.forecasting.task import TASK
from app.typedefs import Json
from tests.support.factories.series import series_set, waves
from tests.support.single import decode_one, encode_one

LEVELS = [0.1, 0.5, 0.9]
NAN = np.nan


def parts(count: int = 12, length: int = 200, share: float = 0.3) -> list[Any]:
    """Spare parts: most days none is sold, else one to three."""
    rng = np.random.default_rng(5)
    return [(rng.random(length) < share) * rng.integers(1, 4, length).astype(float) for _ in range(count)]


def state_of(series: list[Any], horizon: int = 14, **options: Any) -> Json:
    return TASK.plan(series_set(series).arrays(), ForecastingOptions(horizon=horizon, **options), 0).state


def predict(state: Json, values: Any, output: float = 0.0) -> Json:
    example = encode_one(TASK, state, ForecastingInstance(values=values.tolist()), ForecastingParameters())
    outputs = np.full(state["horizon"] * len(state["quantiles"]), output, np.float32)
    prediction: Json = decode_one(TASK, state, example, outputs, ForecastingParameters())
    return prediction


@pytest.mark.parametrize("levels", [[0.1, 0.5, 0.9], [0.5, 0.6], [k / 20 for k in range(1, 20)]])
@pytest.mark.parametrize(("centre", "spread"), [(0.0, 1.0), (-40.0, 3.0), (1e6, 0.1)])
def test_quantiles_of_a_normal_distribution_integrate_to_its_mean(
    levels: list[float], centre: float, spread: float
) -> None:
    quantiles = np.array([[[NormalDist(centre, spread).inv_cdf(level) for level in levels]]])
    assert integrate_quantiles(quantiles, levels, log=False)[0] == pytest.approx(
        [centre], abs=1e-6 * abs(centre) + 1e-9
    )


@pytest.mark.parametrize("spread", [0.1, 0.5, 1.0])
def test_quantiles_of_a_lognormal_distribution_integrate_to_its_mean(spread: float) -> None:
    quantiles = np.exp([[[NormalDist(2.0, spread).inv_cdf(level) for level in LEVELS]]])
    expected = np.exp(2.0 + spread**2 / 2)
    assert integrate_quantiles(quantiles, LEVELS, log=True)[0] == pytest.approx([expected], rel=0.01)
    assert quantiles[0, 0, 1] < expected


def test_what_cannot_be_negative_adds_nothing_below_zero() -> None:
    quantiles = np.array([[[0.0, 0.0, 2.0]]])
    ((mean,),) = integrate_quantiles(quantiles, LEVELS, log=False, lower_bound=np.zeros(1))
    assert mean == pytest.approx(0.5 * np.sqrt(2 / np.pi) * 2 / NormalDist().inv_cdf(0.9), rel=0.01)
    assert integrate_quantiles(np.array([[[4.0], [5.0]]]), [0.5], log=False).tolist() == [[4.0, 5.0]]


def test_the_mean_of_the_history_is_that_of_the_same_step_of_the_season() -> None:
    history = np.array([9.0, 1.0, 2.0, NAN, 3.0, 4.0, 11.0])
    short = np.array([NAN, 4.0, 8.0, *[NAN] * 4])
    means = historical_means(np.stack([history, history, short]), np.array([7, 7, 3]), np.array([3, 0, 3]), 4)
    np.testing.assert_allclose(means, [[2.0, 3.0, 10.0, 2.0], [5.0] * 4, [6.0, 4.0, 8.0, 6.0]])
    huge = historical_means(np.full((1, 50), 1.5e308), np.array([50]), np.zeros(1, np.int64), 1)
    np.testing.assert_allclose(huge, [[1.5e308]])


def test_the_mean_of_parts_is_what_they_sell_where_their_median_is_zero() -> None:
    series = parts()
    state = state_of(series)
    predictions = [predict(state, np.concatenate([values, [0.0]])) for values in series]
    assert sum(sum(one["median"]) for one in predictions) == 0.0
    expected = 14 * sum(float(values.mean()) for values in series)
    assert sum(sum(one["mean"]) for one in predictions) == pytest.approx(expected, rel=0.1)


def test_parts_that_hardly_ever_sell_have_a_mean_too() -> None:
    series = parts(20, 400, 0.03)
    state = state_of(series, 7)
    total = sum(sum(predict(state, values)["mean"]) for values in series)
    assert total == pytest.approx(7 * sum(values[-140:].mean() for values in series), rel=0.05)


def test_the_mean_of_night_and_day_is_not_one_figure() -> None:
    hours = np.arange(24 * 30) % 24
    rng = np.random.default_rng(6)
    series = [np.where(hours >= 14, rng.poisson(3.0 + k, len(hours)), 0).astype(float) for k in range(4)]
    made = series_set(series, "h")
    state = TASK.plan(made.arrays(), ForecastingOptions(horizon=24), 0).state
    mean = np.array(predict(state, series[0])["mean"])
    assert mean[:14] == pytest.approx(np.zeros(14), abs=0.3)
    assert mean[14:].mean() == pytest.approx(3.0, abs=0.8)


def test_without_spread_or_concentration_the_mean_is_the_median() -> None:
    state = state_of(waves(4))
    prediction = predict(state, waves(1)[0])
    assert prediction["mean"] == pytest.approx(prediction["median"], rel=1e-9)


@pytest.mark.parametrize("true", [(1.0, 0.0, 1.0), (0.6, 0.5, 0.4), (1.2, 0.0, 0.0)])
def test_weights_are_those_that_the_validation_data_show(true: tuple[float, ...]) -> None:
    rng = np.random.default_rng(7)
    weights = MeanWeights()
    for _ in range(200):
        terms = rng.normal(size=(14, 3))
        median = rng.normal(size=14)
        actual = median + terms @ np.array(true) + 0.5 * rng.normal(size=14)
        actual[rng.random(14) < 0.2] = NAN
        weights.add(actual, median, terms, rng.normal(size=90))
    assert weights.fit() == pytest.approx(true, abs=0.05)


def test_a_few_noisy_forecasts_do_not_move_the_weights() -> None:
    rng = np.random.default_rng(8)
    weights = MeanWeights()
    assert weights.fit() == list(PRIOR_WEIGHTS)
    weights.add(10 * rng.normal(size=7), np.zeros(7), 0.1 * rng.normal(size=(7, 3)), rng.normal(size=90))
    assert weights.fit() == pytest.approx(PRIOR_WEIGHTS, abs=0.02)
    constant = MeanWeights()
    constant.add(np.ones(7), np.ones(7), np.ones((7, 3)), np.ones(90))
    assert constant.fit() == list(PRIOR_WEIGHTS)


def test_terms_beyond_all_measure_leave_the_median() -> None:
    quantiles = np.array([[[-1.7e308, 0.0, 1.7e308], [1.7e308] * 3]])
    context = MeanContext(np.array([False]), np.array([0.5]), np.full((1, 2), -1.7e308))
    terms = mean_terms(quantiles, LEVELS, context, np.array([-np.inf]))
    assert np.isfinite(add_terms(quantiles[..., 1], terms, PRIOR_WEIGHTS)).all()


def test_calibration_leaves_the_quantiles_of_parts() -> None:
    plan = TASK.plan(series_set(parts()).arrays(), ForecastingOptions(horizon=14), 0)
    outputs = [np.zeros(plan.outputs, np.float32)] * len(plan.valid.lengths)
    calibrated = TASK.calibrate(plan.state, plan.valid, outputs)
    assert plan.state["mean"] == list(PRIOR_WEIGHTS)
    unchanged = {"theta": 0.0, "widths": [1.0] * 14, "tails": NORMAL_TAILS}
    assert calibrated == {**plan.state, **unchanged, "mean": calibrated["mean"]}
    assert calibrated["mean"][2] == pytest.approx(1.0, abs=0.3)
    assert TASK.score(calibrated, plan.test, outputs) == TASK.score(plan.state, plan.test, outputs)


def test_a_version_whose_mean_was_the_median_keeps_it() -> None:
    series = parts()
    state = state_of(series)
    del state["mean"]
    prediction = predict(state, np.concatenate([series[0], [0.0]]))
    assert prediction["mean"] == prediction["median"] == prediction["quantiles"]["0.5"]
