"""A series that never moved forecasts its value exactly."""

from typing import Any

import numpy as np
import pytest

from app.tasks.contract import Plan
from app.tasks.forecasting.inference import ForecastingInstance, ForecastingParameters
from app.tasks.forecasting.options import ForecastingOptions
from app.tasks.forecasting.prediction.still import MIN_STILL, fit_still, still_values
from app.tasks.forecasting.task import TASK
from app.typedefs import Json
from tests.support.factories.series import series_set, waves
from tests.support.single import decode_one, encode_one

NAN = np.nan
HORIZON = 7


def still(state: Json, values: np.ndarray) -> float:
    history = values[None]
    (value,) = still_values(state, history, np.sort(history, axis=1), np.isfinite(history).sum(axis=1))
    return float(value)


def plan_of(*series: Any) -> Plan:
    return TASK.plan(series_set(list(series)).arrays(), ForecastingOptions(horizon=HORIZON), 0)


def predict(state: Json, values: list[float | str | None], **fields: Any) -> Json:
    instance = ForecastingInstance(values=values, **fields)
    outputs = np.random.default_rng(0).normal(size=HORIZON * len(state["quantiles"])).astype(np.float32)
    example = encode_one(TASK, state, instance, ForecastingParameters())
    prediction: Json = decode_one(TASK, state, example, outputs, ForecastingParameters())
    return prediction


DEAD = np.zeros(200)
ALIVE = 10.5 + 0.3 * np.random.default_rng(1).normal(size=200)


@pytest.mark.parametrize("value", [0.0, 7.0, 0.1, -3.3, 1e-300, 1.7e300, 123456789.123])
@pytest.mark.parametrize("series", [(DEAD, ALIVE), (ALIVE,), (DEAD,), (-ALIVE, DEAD), tuple(waves(3))])
def test_a_series_that_never_moved_forecasts_its_value_exactly(value: float, series: Any) -> None:
    state = plan_of(*series).state
    gaps: list[float | str | None] = [None, *[value] * 5, "NaN", *[value] * 24]
    for values in (gaps[1:6] * 6, gaps, gaps[-14:]):
        prediction = predict(state, values)
        assert prediction["mean"] == prediction["median"] == [value] * HORIZON
        assert all(quantile == [value] * HORIZON for quantile in prediction["quantiles"].values())


def test_a_series_that_moved_once_is_forecast_by_the_network() -> None:
    state = plan_of(DEAD, ALIVE).state
    assert len(set(predict(state, [*[5.0] * 29, 5.5])["median"])) > 1


def test_the_metrics_of_dead_series_are_those_of_the_baseline() -> None:
    plan = plan_of(DEAD, DEAD + 4.2)
    outputs = list(
        np.random.default_rng(2).normal(size=(len(plan.test.lengths), plan.outputs)).astype(np.float32)
    )
    metrics, baseline = TASK.score(plan.state, plan.test, outputs)
    assert metrics["smape"] == baseline["smape"] == 0.0


def test_how_many_equal_values_show_it_is_measured() -> None:
    rng = np.random.default_rng(3)
    parts = [(rng.random(200) < 0.3) * rng.integers(1, 4, 200).astype(float) for _ in range(12)]
    longest = max(len(run) for part in parts for run in "".join("x "[int(v > 0)] for v in part).split())
    assert fit_still([ALIVE], HORIZON) == MIN_STILL
    assert fit_still([DEAD, ALIVE], HORIZON) == MIN_STILL
    assert 8 < fit_still(parts, HORIZON) <= longest + 1
    assert fit_still([*parts, *[DEAD] * 12], HORIZON) > MIN_STILL  # runs of parts still break
    assert fit_still([np.array([1.0, NAN])], HORIZON) == MIN_STILL
    assert fit_still([np.array([NAN, NAN])], HORIZON) == MIN_STILL


def _plain_still(train: list[np.ndarray], horizon: int) -> int:
    """The same, a point at a time."""
    pairs = []
    for values in train:
        observed = values[np.isfinite(values)].tolist()
        for point in range(len(observed) - 1):
            run = next((n for n in range(point + 1) if observed[point - n] != observed[point]), point + 1)
            following = observed[point + 1 : point + 1 + horizon]
            pairs.append((run, all(value == observed[point] for value in following)))
    for needed in range(MIN_STILL, max((run for run, _ in pairs), default=0) + 1):
        stays = [stay for run, stay in pairs if run >= needed]
        if sum(stays) >= 0.95 * len(stays):
            return needed
    return max(max((run for run, _ in pairs), default=0), MIN_STILL) + 1


@pytest.mark.parametrize("seed", range(8))
def test_runs_of_many_series_are_counted_as_one_after_the_other(seed: int) -> None:
    rng = np.random.default_rng(seed)
    train = [
        np.where(rng.random(size) < 0.1, NAN, np.repeat(rng.integers(0, 2 + seed, size), 1 + seed)[:size])
        for size in rng.integers(1, 60, 25)
    ]
    for horizon in (1, 5):
        assert fit_still(train, horizon) == _plain_still(train, horizon)


def test_a_season_of_zeros_is_no_dead_series() -> None:
    summers = np.where(np.arange(3 * 365) % 365 < 150, 0.0, 5.0 + np.arange(3 * 365) % 2)
    assert fit_still([summers], 1) == MIN_STILL
    assert fit_still([summers], 14) > 100


def test_a_few_zeros_of_a_part_in_stock_are_no_dead_series() -> None:
    rng = np.random.default_rng(3)
    state = plan_of(
        *[(rng.random(200) < 0.3) * rng.integers(1, 4, 200).astype(float) for _ in range(12)]
    ).state
    assert np.isnan(still(state, np.zeros(4)))
    assert still(state, np.zeros(40)) == 0.0
    assert np.isnan(still(state, np.array([NAN, *np.zeros(40), 1.0])))


def test_a_version_of_before_the_measure_needs_two_weeks() -> None:
    assert still({}, np.full(14, 3.0)) == 3.0
    assert np.isnan(still({}, np.full(13, 3.0)))
