import json
from typing import Any

import numpy as np
import pytest

from app.errors import Invalid
from app.tasks.contract import Array
from app.tasks.forecasting.frequency import Frequency
from app.tasks.forecasting.options import Options
from app.tasks.forecasting.preprocessing import choose_bases, covariate_specs, draft, seasons_for
from app.tasks.forecasting.series import SeriesSet
from app.tasks.forecasting.task import TASK
from tests.series import series_set, waves


def drafted(series: SeriesSet, ends: list[int] | None = None, **options: Any) -> dict[str, Any]:
    lengths = np.diff(series.offsets).tolist()
    found = draft(series, ends or lengths, Options(**{"horizon": 4, **options}))
    json.dumps(found, allow_nan=False)
    return found


@pytest.mark.parametrize(
    ("alias", "given", "longest", "seasons"),
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
def test_a_season_counts_only_if_two_of_them_can_be_seen(
    alias: str, given: int | None, longest: int, seasons: list[int]
) -> None:
    assert seasons_for(Frequency.parse(alias), given, longest) == seasons


def test_nothing_after_the_end_of_training_is_looked_at() -> None:
    values = waves(5, 90)
    other = [np.concatenate([one[:60], -1e6 * np.ones(30)]) for one in values]
    assert drafted(series_set(values), [60] * 5) == drafted(series_set(other), [60] * 5)
    assert drafted(series_set(values)) != drafted(series_set(other))


def test_the_median_is_always_among_the_quantiles_but_answered_only_if_asked_for() -> None:
    found = drafted(series_set(waves(2)), quantiles=[0.9, 0.05])
    assert (found["quantiles"], found["answered"]) == ([0.05, 0.5, 0.9], [0.05, 0.9])


def test_series_without_an_observed_value_before_the_end_do_not_matter() -> None:
    empty = np.concatenate([np.full(60, np.nan), np.ones(30)])
    assert drafted(series_set([*waves(3), empty]), [60] * 4) == drafted(series_set(waves(3)), [60] * 3)


def test_nothing_observed_at_all_is_refused() -> None:
    with pytest.raises(Invalid, match="two observed values"):
        drafted(series_set([np.full(20, np.nan), np.array([np.nan] * 10 + [1.0] * 10)]), [20, 10])


@pytest.mark.parametrize("lowest", [0.0, 0.5, -0.5])
def test_one_negative_value_says_that_forecasts_may_be_negative(lowest: float) -> None:
    values = waves(3)
    values[1][4] = lowest
    assert drafted(series_set(values))["non_negative"] == (lowest >= 0)


@pytest.mark.parametrize(
    ("context", "horizon", "least", "most"), [(17, 4, 17, 17), (None, 4, 7, 200), (None, 60, 100, 200)]
)
def test_a_context_is_taken_as_given_or_chosen_within_bounds(
    context: int | None, horizon: int, least: int, most: int
) -> None:
    found = drafted(series_set(waves(3, 300)), horizon=horizon, context_length=context)
    assert least <= found["context"] <= most
    assert found["history"] >= found["context"] + horizon


def noisy(seasonal: float, drift: float, count: int = 12) -> list[Array]:
    rng = np.random.default_rng(5)
    time = np.arange(60)
    return [
        100 + seasonal * np.sin(2 * np.pi * time / 12) + np.cumsum(drift * rng.normal(size=60))
        for _ in range(count)
    ]


def test_forecasts_start_from_the_last_season_only_where_that_beats_the_last_level() -> None:
    assert choose_bases(noisy(10, 0.1), "none", [12], 6) == [12]
    assert choose_bases(noisy(0, 5), "none", [12], 6) == []
    assert choose_bases(noisy(10, 0.1), "none", [12], 13) == []  # longer than the season
    assert choose_bases(noisy(10, 0.1), "none", [], 6) == []
    assert choose_bases([one[:20] for one in noisy(10, 0.1)], "none", [12], 6) == []  # not two seasons


def test_a_minority_does_not_decide_where_all_start_from() -> None:
    assert choose_bases(noisy(10, 0.1, 3) + noisy(0, 5, 9), "none", [12], 6) == []


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
def test_what_is_known_ahead_unless_options_say_otherwise(
    options: dict[str, Any], past: list[str], future: list[str], static: list[str]
) -> None:
    specs = covariate_specs(covaried(known_ahead=["promo"]), [90, 90], Options(horizon=4, **options))
    assert names(specs) == {"past": past, "future": future, "static": static}


def test_covariates_are_measured_before_the_end_only() -> None:
    [price] = covariate_specs(covaried(), [10, 20], Options(horizon=4, past_covariates=["price"]))["past"]
    inside = np.concatenate([np.arange(10.0), np.arange(90.0, 110)])
    assert price["mean"] == pytest.approx(inside.mean())
    assert price["std"] == pytest.approx(inside.std())


def test_a_covariate_that_never_moves_or_is_missing_divides_by_one() -> None:
    columns = {"constant": np.full(180, 7.0), "missing": np.full(180, np.nan)}
    series = series_set(waves(2, 90), covariates=columns)
    constant, missing = covariate_specs(series, [90, 90], Options(horizon=4))["past"]
    assert (constant["mean"], constant["std"]) == (7.0, 1.0)
    assert (missing["mean"], missing["std"]) == (0.0, 1.0)


def test_the_usual_scale_is_the_median_of_those_that_move() -> None:
    plan = TASK.plan(series_set(waves(6)).arrays(), Options(horizon=4), 0)
    state = plan.state
    assert state["usual"] > 0
    assert state["scale_std"] >= 0.1
    flat = TASK.plan(series_set([np.full(50, 3.0)] * 3).arrays(), Options(horizon=4), 0).state
    assert (flat["usual"], flat["scale_mean"], flat["scale_std"]) == (1.0, 0.0, 1.0)
