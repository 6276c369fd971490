"""Evaluation of forecasts: windows and figures by hand, and forecasts by smoothing."""

from typing import Any

import numpy as np
import pytest

from app.arrays import Array
from app.tasks.evaluation.contract import EvaluationSettings, TrainedVersion
from app.tasks.forecasting.evaluation.baselines import FORECASTS, forecast_all
from app.tasks.forecasting.evaluation.figures import ForecastErrors, ForecastTally, intervals_of
from app.tasks.forecasting.evaluation.origins import ForecastingEvaluation, ForecastingSet
from app.tasks.forecasting.evaluation.smoothing import exponential_smoothing, theta
from app.tasks.forecasting.inference import ForecastingParameters
from app.tasks.forecasting.series import SeriesSet
from app.typedefs import Json
from tests.support.factories.series import series_set

NAN = float("nan")
STATE: Json = {
    "season": 1, "horizon": 2, "quantiles": [0.1, 0.5, 0.9], "answered": [0.1, 0.5, 0.9], "history": 100,
    "past": [], "future": [], "static": [], "freq": "D",
}  # fmt: skip


def evaluated(values: list[list[float]], known: bool = False, **settings: Any) -> ForecastingSet:
    data = series_set([np.array(one) for one in values], "D")
    versions = [TrainedVersion(STATE, 0, known)]
    parameters = ForecastingEvaluation().parameters([STATE], ForecastingParameters())
    return ForecastingSet(data.arrays(), versions, parameters, EvaluationSettings((), **settings))


def test_windows_end_with_the_series() -> None:
    rising = [float(step) for step in range(10)]
    made = evaluated([rising, rising[:4], [1.0, 2.0]], windows=3, step=1)
    assert made.windows == [range(1), range(1, 3), range(3, 5)]  # the short ones lack early windows
    assert [made.identity(one)["example"] for one in range(5)] == [0, 0, 1, 0, 1]
    assert (made.unit, made.units(range(5)).tolist()) == ("forecast", [0, 1, 2, 3, 4])
    many = evaluated([rising] * 10, windows=2)
    assert (many.unit, many.units(range(8, 12)).tolist()) == ("series", [8, 9, 0, 1])
    assert [made.actual(one) for one in range(5)] == [[6, 7], [7, 8], [1, 2], [8, 9], [2, 3]]
    instance = made.instances(STATE)[1]
    assert (list(instance.values), instance.item_id) == (rising[:7], made.identity(1)["item_id"])
    assert len(made.instances(STATE)) == 5
    assert made.warnings == []
    assert len(evaluated([rising], known=True).warnings) == 1


def test_what_was_not_observed_is_no_answer() -> None:
    made = evaluated([[1.0, 2.0, NAN, 4.0], [NAN, NAN, 3.0, 4.0], [1.0, 2.0, NAN, NAN]], windows=1)
    assert [made.identity(one)["example"] for one in range(made.windows[0].stop)] == [0]
    assert made.actual(0) == [None, 4.0]


def test_a_training_before_a_window_sees_nothing_behind_it() -> None:
    rising = [float(step) for step in range(10)]
    made = evaluated([rising, rising[:5], [1.0, 2.0]], windows=2, refit=True)
    known = SeriesSet.from_arrays(made.training_arrays(0))
    assert (known.offsets.tolist(), known.values.tolist()) == ([0, 6, 7], [*rising[:6], 0.0])
    assert SeriesSet.from_arrays(made.training_arrays(1)).values.tolist() == [*rising[:8], *rising[:3]]


def test_short_series_are_refused() -> None:
    evaluation, settings = ForecastingEvaluation(), EvaluationSettings((), windows=2, step=3)
    parameters = ForecastingParameters()
    assert evaluation.check({"longest": 6}, [STATE], parameters, settings) == []
    (problem,) = evaluation.check({"longest": 5}, [STATE], parameters, settings)
    assert (problem.pointer, "need 6" in problem.detail) == ("/windows", True)
    refits = EvaluationSettings((), windows=2, step=3, refit=True)
    assert evaluation.check({"longest": 12}, [STATE], parameters, refits) == []
    assert evaluation.check({"longest": 11}, [STATE], parameters, refits)


def test_versions_forecast_what_all_of_them_can() -> None:
    other = {**STATE, "horizon": 5, "answered": [0.5, 0.9]}
    made = ForecastingEvaluation().parameters([STATE, other], ForecastingParameters())
    assert made == ForecastingParameters(2, [0.5, 0.9])
    asked = ForecastingParameters(1, [0.9, 0.2])
    assert ForecastingEvaluation().parameters([STATE, other], asked) == ForecastingParameters(1, [0.2, 0.9])


def test_intervals_are_between_opposite_quantiles() -> None:
    assert intervals_of([0.05, 0.1, 0.5, 0.9, 0.95]) == {"0.9": (0, 4), "0.8": (1, 3)}
    assert intervals_of([0.1, 0.5]) == {}


def line(example: int, actual: list[float | None], point: list[float], scale: float | None) -> Json:
    quantiles = {"0.1": [one - 1 for one in point], "0.5": point, "0.9": [one + 1 for one in point]}
    prediction = {"median": point, "quantiles": quantiles}
    return {
        "example": example, "window": example % 2, "actual": actual, "prediction": prediction,
        "errors": {"scale": scale},
    }  # fmt: skip


def test_figures_by_hand() -> None:
    tally = ForecastTally(2, ForecastErrors([0.1, 0.5, 0.9], 2), 2, ["a", "b"])
    lines = [line(0, [10.0, None], [12.0, 9.0], 4.0), line(1, [20.0, 30.0], [20.5, 33.0], None)]
    tally.add(lines, np.array([[1.0, 1.0], [2.0, 0.0]]))
    values = {name: value.tolist() for name, value in tally.values().items()}
    smape = [200 * 2 / 22, 200 * 0.5 / 40.5, 200 * 3 / 63]
    assert values["smape"] == [pytest.approx(np.mean(smape)), pytest.approx(smape[0])]
    assert values["mase"] == values["bias"] == [0.5, 0.5]  # the second series has no scale
    assert values["pinball"] == [pytest.approx((0.9 * 1 + 0.5 * 2 + 0.1 * 3) / 3 / 4)] * 2
    assert values["coverage_0.8"] == [pytest.approx(1 / 3), 0.0]
    report = tally.report()
    assert report["by_lead"]["mase"] == [0.5, None]
    assert report["by_lead"]["coverage"] == {"0.8": [0.5, 0.0]}
    assert report["by_window"][0]["smape"] == pytest.approx(smape[0], rel=1e-5)
    assert [one["item_id"] for one in report["worst_series"]] == ["a", "b"]


def histories(count: int = 4, time: int = 72) -> Array:
    rng = np.random.default_rng(0)
    season = np.tile(np.arange(12.0), time // 12)
    made: Array = 100 + np.arange(time) * 0.1 + 6 * season + rng.normal(0, 0.5, (count, time))
    return made


@pytest.mark.parametrize("method", [theta, exponential_smoothing])
def test_smoothing_continues_season_and_trend(method: Any) -> None:
    values = histories()
    forecast = method(values, np.full(4, 72), 12, 12)
    truth = 100 + np.arange(72, 84) * 0.1 + 6 * np.arange(12.0)
    assert np.abs(forecast.means / truth - 1).max() < 0.03
    assert (np.diff(forecast.deviations.mean(axis=0)) > -0.4).all()
    negative = method(values - 300, np.full(4, 72), 12, 12)
    assert np.abs(negative.means + 300 - truth).max() < 6


def test_smoothing_knows_the_plain_cases() -> None:
    constant = np.full((1, 30), 7.0)
    for method in (theta, exponential_smoothing):
        made = method(constant, np.array([30]), 1, 3)
        assert made.means == pytest.approx(7.0)
        assert made.deviations == pytest.approx(0.0, abs=1e-9)
    line_up = np.arange(40.0)[None] * 2
    made = exponential_smoothing(line_up, np.array([40]), 1, 3)
    assert made.means[0] == pytest.approx([80.0, 82.0, 84.0], rel=0.01)
    halfway = theta(line_up, np.array([40]), 1, 1).means[0, 0]  # half the trend, half the last level
    assert 77 < halfway < 81


def test_simple_smoothing_by_hand() -> None:
    values = np.array([[1.0, 2.0]])  # the level begins at 1; its error is 1, whatever alpha is
    made = exponential_smoothing(values, np.array([2]), 1, 2)
    assert made.means[0, 0] == made.means[0, 1]
    assert made.deviations[0, 0] == pytest.approx(np.sqrt(1 / 2))


@pytest.mark.parametrize("name", sorted(FORECASTS))
def test_a_baseline_is_the_same_alone_and_among_others(name: str) -> None:
    pasts = [*histories(), np.array([3.0]), np.array([NAN, NAN]), np.array([1.0, NAN, 2.0, 4.0])]
    levels = [0.1, 0.5, 0.9]
    together = forecast_all(name, pasts, 12, 4, levels)
    for past, prediction in zip(pasts, together, strict=True):
        (alone,) = forecast_all(name, [past], 12, 4, levels)
        assert alone["median"] == pytest.approx(prediction["median"], rel=1e-9)
        rows = [prediction["quantiles"][str(level)] for level in levels]
        assert np.isfinite(rows).all()
        assert (np.diff(rows, axis=0) >= 0).all()
