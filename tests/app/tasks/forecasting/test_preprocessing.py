import json
from typing import Any

import numpy as np
import pytest

from app.arrays import Array
from app.errors import Invalid
from app.tasks.forecasting.frequency import Frequency
from app.tasks.forecasting.options import ForecastingOptions
from app.tasks.forecasting.preprocessing import (
    choose_base_seasons,
    fit_covariates,
    fit_preprocessing,
    usable_seasons,
)
from app.tasks.forecasting.series import SeriesSet
from app.tasks.forecasting.task import TASK
from tests.support.factories.series import series_set, waves


def fitted(series: SeriesSet, ends: list[int] | None = None, **options: Any) -> dict[str, Any]:
    lengths = np.diff(series.offsets).tolist()
    state = fit_preprocessing(series, ends or lengths, ForecastingOptions(**{"horizon": 4, **options}))
    json.dumps(state, allow_nan=False)
    return state


@pytest.mark.parametrize(
    ("alias", "season_length", "longest", "seasons"),
    [
        ("D", None, 14, [7]),
        ("D", None, 13, []),
        ("h", None, 47, []),
        ("h", None, 48, [24]),
        ("h", None, 336, [24, 168]),
        ("MS", 6, 100, [6]),
        ("MS", 1, 100, []),
        ("YS", None, 100, []),
        ("1", None, 100, []),
        ("1", 5, 10, [5]),
    ],
)
def test_a_season_is_usable_only_if_the_series_has_two(
    alias: str, season_length: int | None, longest: int, seasons: list[int]
) -> None:
    assert usable_seasons(Frequency.parse(alias), season_length, longest) == seasons


def test_no_value_after_the_end_of_training_is_read() -> None:
    values = waves(5, 90)
    other = [np.concatenate([one[:60], -1e6 * np.ones(30)]) for one in values]
    assert fitted(series_set(values), [60] * 5) == fitted(series_set(other), [60] * 5)
    assert fitted(series_set(values)) != fitted(series_set(other))


def test_the_median_is_always_trained_but_answered_only_if_requested() -> None:
    state = fitted(series_set(waves(2)), quantiles=[0.9, 0.05])
    assert (state["quantiles"], state["answered"]) == ([0.05, 0.5, 0.9], [0.05, 0.9])


def test_series_without_an_observed_value_before_the_end_do_not_matter() -> None:
    empty = np.concatenate([np.full(60, np.nan), np.ones(30)])
    assert fitted(series_set([*waves(3), empty]), [60] * 4) == fitted(series_set(waves(3)), [60] * 3)


def test_nothing_observed_at_all_is_refused() -> None:
    with pytest.raises(Invalid, match="two observed values"):
        fitted(series_set([np.full(20, np.nan), np.array([np.nan] * 10 + [1.0] * 10)]), [20, 10])


@pytest.mark.parametrize("lowest", [0.0, 0.5, -0.5])
def test_one_negative_value_allows_negative_forecasts(lowest: float) -> None:
    values = waves(3)
    values[1][4] = lowest
    assert fitted(series_set(values))["non_negative"] == (lowest >= 0)


@pytest.mark.parametrize(
    ("context", "horizon", "shortest", "longest"), [(17, 4, 17, 17), (None, 4, 7, 200), (None, 60, 100, 200)]
)
def test_a_context_is_requested_or_chosen_within_bounds(
    context: int | None, horizon: int, shortest: int, longest: int
) -> None:
    state = fitted(series_set(waves(3, 300)), horizon=horizon, context_length=context)
    assert shortest <= state["context"] <= longest
    assert state["history"] >= state["context"] + horizon


def noisy(seasonal: float, drift: float, count: int = 12) -> list[Array]:
    rng = np.random.default_rng(5)
    time = np.arange(60)
    return [
        100 + seasonal * np.sin(2 * np.pi * time / 12) + np.cumsum(drift * rng.normal(size=60))
        for _ in range(count)
    ]


def test_forecasts_are_based_on_the_last_season_only_if_that_beats_the_last_level() -> None:
    assert choose_base_seasons(noisy(10, 0.1), "none", [12], 6) == [12]
    assert choose_base_seasons(noisy(0, 5), "none", [12], 6) == []
    assert choose_base_seasons(noisy(10, 0.1), "none", [12], 13) == []  # longer than the season
    assert choose_base_seasons(noisy(10, 0.1), "none", [], 6) == []
    assert choose_base_seasons([one[:20] for one in noisy(10, 0.1)], "none", [12], 6) == []  # not two seasons


def test_a_minority_does_not_decide_the_base() -> None:
    assert choose_base_seasons(noisy(10, 0.1, 3) + noisy(0, 5, 9), "none", [12], 6) == []


COLUMNS = {"price": np.arange(180.0), "promo": np.tile([0.0, 1.0], 90)}


def covaried(**fields: Any) -> SeriesSet:
    return series_set(waves(2, 90), static=["x", "y"], covariates=COLUMNS, **fields)


def names(specs: dict[str, Any]) -> dict[str, list[str]]:
    return {kind: [spec["name"] for spec in specs[kind]] for kind in ("past", "future", "static")}


@pytest.mark.parametrize(
    ("options", "past", "future", "static"),
    [
        ({}, ["price"], ["promo"], ["kind"]),
        ({"past_covariates": []}, [], ["promo"], ["kind"]),
        ({"past_covariates": ["promo"]}, ["promo"], [], ["kind"]),
        ({"future_covariates": []}, ["price", "promo"], [], ["kind"]),
        ({"future_covariates": ["price"], "static_covariates": []}, ["promo"], ["price"], []),
    ],
)
def test_covariates_known_ahead_are_future_unless_options_say_otherwise(
    options: dict[str, Any], past: list[str], future: list[str], static: list[str]
) -> None:
    specs = fit_covariates(
        covaried(known_ahead=["promo"]), [90, 90], ForecastingOptions(horizon=4, **options)
    )
    assert names(specs) == {"past": past, "future": future, "static": static}


def test_covariates_are_measured_before_the_end_only() -> None:
    [price] = fit_covariates(covaried(), [10, 20], ForecastingOptions(horizon=4, past_covariates=["price"]))[
        "past"
    ]
    inside = np.concatenate([np.arange(10.0), np.arange(90.0, 110)])
    assert price["mean"] == pytest.approx(inside.mean())
    assert price["std"] == pytest.approx(inside.std())


def test_a_covariate_that_never_moves_or_is_missing_divides_by_one() -> None:
    columns = {"constant": np.full(180, 7.0), "missing": np.full(180, np.nan)}
    series = series_set(waves(2, 90), covariates=columns)
    constant, missing = fit_covariates(series, [90, 90], ForecastingOptions(horizon=4))["past"]
    assert (constant["mean"], constant["std"]) == (7.0, 1.0)
    assert (missing["mean"], missing["std"]) == (0.0, 1.0)


def test_the_fitted_scale_is_the_median_of_those_that_move() -> None:
    plan = TASK.plan(series_set(waves(6)).arrays(), ForecastingOptions(horizon=4), 0)
    state = plan.state
    assert state["usual"] > 0
    assert state["scale_std"] >= 0.1
    flat = TASK.plan(series_set([np.full(50, 3.0)] * 3).arrays(), ForecastingOptions(horizon=4), 0).state
    assert (flat["usual"], flat["scale_mean"], flat["scale_std"]) == (1.0, 0.0, 1.0)
