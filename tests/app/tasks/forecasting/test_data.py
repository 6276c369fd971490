"""Forecasting on awkward data: with gaps, of extreme scales, of every frequency."""

import json
import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.arrays import Array
from app.errors import DatasetInvalid, Invalid
from app.tasks.contract import Plan
from app.tasks.forecasting.frequency import Frequency
from app.tasks.forecasting.inference import ForecastingInstance, ForecastingParameters
from app.tasks.forecasting.options import ForecastingOptions
from app.tasks.forecasting.preprocessing import NOTHING_OBSERVED
from app.tasks.forecasting.series import SeriesSet
from app.tasks.forecasting.task import TASK
from app.tasks.source import Faults
from app.typedefs import Json
from tests.support.factories.series import series_set, waves
from tests.support.fakes.sources import MemorySource
from tests.support.single import decode_one, encode_one

HORIZON = 5
FREQUENCIES = [
    ("s", "2024-02-28T23:59:58", ["2024-02-29T00:00:00Z", "2024-02-29T00:00:01Z"]),
    ("15min", "2024-02-29T23:30", ["2024-03-01T00:00:00Z", "2024-03-01T00:15:00Z"]),
    ("h", "2023-12-31T22:00", ["2024-01-01T00:00:00Z", "2024-01-01T01:00:00Z"]),
    ("D", "2024-02-27", ["2024-02-29", "2024-03-01"]),
    ("B", "2024-02-29", ["2024-03-04", "2024-03-05"]),
    ("W-SUN", "2024-02-18", ["2024-03-03", "2024-03-10"]),
    ("MS", "2023-12-01", ["2024-02-01", "2024-03-01"]),
    ("ME", "2023-12-31", ["2024-02-29", "2024-03-31"]),
    ("QS-JAN", "2023-07-01", ["2024-01-01", "2024-04-01"]),
    ("QE-DEC", "2023-09-30", ["2024-03-31", "2024-06-30"]),
    ("YS-JAN", "2022-01-01", ["2024-01-01", "2025-01-01"]),
    ("YE-DEC", "2022-12-31", ["2024-12-31", "2025-12-31"]),
    ("1", "-2", [0, 1]),
    ("10", "80", [100, 110]),
]


def plan_of(series: SeriesSet, horizon: int = HORIZON, **options: Any) -> Plan:
    return TASK.plan(series.arrays(), ForecastingOptions(horizon=horizon, **options), 0)


def noise(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def gappy(values: Array, share: float) -> Array:
    present = np.random.default_rng(1).random(len(values)) >= share
    present[:2] = present[-1] = True
    return np.where(present, values, np.nan)


AWKWARD: dict[str, list[Array]] = {
    "zeros": [np.zeros(60)] * 3,
    "constant": [np.full(60, 5.0), np.full(60, -3.0)],
    "negative": [-np.abs(one) for one in waves(3)],
    "around zero": list(noise(4, 60)),
    "counts with zeros": [np.maximum(one.round(), 0) for one in noise(4, 80)],
    "huge": [1e299 * (2 + one) for one in noise(3, 60).clip(-1, 1)],
    "tiny": [1e-290 * (2 + one) for one in noise(3, 60).clip(-1, 1)],
    "huge beside tiny": [1e200 * one for one in waves(2)] + [1e-200 * one for one in waves(2)],
    "a jump": [np.concatenate([np.ones(40), np.full(40, 1e12)])],
    "one long, many short": [waves(1, 1500)[0], *waves(30, 9)],
    "all missing beside good ones": [*waves(3), np.full(40, np.nan)],
    "mostly missing": [gappy(one, 0.95) for one in waves(5, 300)],
    "half missing": [gappy(one, 0.5) for one in waves(3)],
    "begins late": [np.concatenate([np.full(50, np.nan), one]) for one in waves(2)],
    "ends early": [np.concatenate([one, np.full(50, np.nan)]) for one in waves(2)],
    "single points": [np.array([1.0])] * 3 + waves(2),
    "explosive": [np.exp(np.arange(60.0) * 3)],
}


def predict(
    plan: Plan, instance: ForecastingInstance, outputs: Array | None = None, **parameters: Any
) -> Json:
    """Through encode and decode, and through JSON, which knows no NaN."""
    requested = ForecastingParameters(**parameters)
    example = encode_one(TASK, plan.state, instance, requested)
    assert example.inputs.shape[1] == plan.features
    assert example.inputs.dtype == np.float32
    assert np.isfinite(example.inputs).all()
    if outputs is None:
        outputs = np.zeros(plan.outputs, np.float32)
    prediction: Json = json.loads(
        json.dumps(decode_one(TASK, plan.state, example, outputs, requested), allow_nan=False)
    )
    return prediction


def values_of(series: Array) -> list[float | None]:
    return [None if math.isnan(value) else float(value) for value in series]


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_data_is_planned_batched_scored_and_answered(name: str) -> None:
    plan = plan_of(series_set(AWKWARD[name]))
    json.dumps(plan.state, allow_nan=False)
    for split in (plan.train, plan.valid, plan.test, plan.refit):
        if split is None or not len(split.lengths):
            continue
        rows = np.arange(min(40, len(split.lengths)))
        batch = split.batch(rows, np.random.default_rng(0))
        for array in (batch.inputs, batch.targets, batch.weights):
            assert np.isfinite(array).all()
    guesses = noise(len(plan.test.lengths), plan.outputs).astype(np.float32)
    for metrics in TASK.score(plan.state, plan.test, list(guesses)):
        json.dumps(metrics, allow_nan=False)
        assert metrics["smape"] >= 0
    for series in AWKWARD[name]:
        if np.isfinite(series).any():
            wild = 30 * noise(plan.outputs).astype(np.float32)
            prediction = predict(plan, ForecastingInstance(values=values_of(series)), wild)
            quantiles = np.array([prediction["quantiles"][level] for level in ("0.1", "0.5", "0.9")])
            assert quantiles.shape == (3, HORIZON)
            assert (np.diff(quantiles, axis=0) >= 0).all()


@pytest.mark.parametrize("name", ["zeros", "constant", "huge", "tiny"])
def test_an_untrained_network_stays_at_the_level_of_the_series(name: str) -> None:
    plan = plan_of(series_set(AWKWARD[name]))
    for series in AWKWARD[name]:
        mean = predict(plan, ForecastingInstance(values=values_of(series)))["mean"]
        assert np.min(mean) >= series.min() * (1 - 1e-6) - abs(series.min()) * 1e-6
        assert np.max(mean) <= series.max() + abs(series.max()) * 1e-6


@pytest.mark.parametrize("name", ["zeros", "counts with zeros", "tiny"])
def test_series_without_negative_values_have_no_negative_forecast(name: str) -> None:
    plan = plan_of(series_set(AWKWARD[name]))
    outputs = np.full(plan.outputs, -40, np.float32)
    prediction = predict(plan, ForecastingInstance(values=values_of(AWKWARD[name][0])), outputs)
    assert min(min(values) for values in prediction["quantiles"].values()) >= 0


@pytest.mark.parametrize("shift", [1e-6, 1e-3, 1e3, 1e6])
def test_the_unit_of_measurement_does_not_matter(shift: float) -> None:
    one, other = plan_of(series_set(waves(4))), plan_of(series_set([shift * v for v in waves(4)]))
    values = waves(1, 40, seed=9)[0]
    outputs = noise(one.outputs).astype(np.float32)
    prediction = predict(one, ForecastingInstance(values=values_of(values)), outputs)
    scaled = predict(other, ForecastingInstance(values=values_of(shift * values)), outputs)
    assert np.array(scaled["mean"]) / shift == pytest.approx(prediction["mean"], rel=1e-4)


@pytest.mark.parametrize(("alias", "start", "expected"), FREQUENCIES, ids=[f[0] for f in FREQUENCIES])
def test_time_stamps_of_every_frequency(alias: str, start: str, expected: list[Any]) -> None:
    series = replace(series_set(waves(2, 60), alias), starts=np.array([5, 900]))
    plan = plan_of(series)
    prediction = predict(plan, ForecastingInstance(values=[1.0, 2.0], start=start, freq=alias), horizon=2)
    assert prediction["timestamps"] == expected
    assert len(prediction["mean"]) == 2
    full = predict(plan, ForecastingInstance(values=[1.0, 2.0], start=start))
    assert full["timestamps"][:2] == expected
    assert len(full["timestamps"]) == HORIZON


@given(
    st.sampled_from([f[0] for f in FREQUENCIES]),
    st.integers(-100, 7000),
    st.integers(1, 30),
    st.integers(1, HORIZON),
)
def test_time_stamps_continue_after_the_values(alias: str, start: int, count: int, horizon: int) -> None:
    frequency = Frequency.parse(alias)
    whole = frequency.stamps(start, count + horizon)
    instance = ForecastingInstance(values=[1.0] * count, start=whole[0])
    assert predict(PLANS[alias], instance, horizon=horizon)["timestamps"] == whole[count:]


PLANS = {f[0]: plan_of(series_set(waves(2, 60), f[0])) for f in FREQUENCIES}


@pytest.mark.parametrize(
    ("start", "stamps"),
    [
        ("2024-01-01T16:00:00", ["2024-01-04T16:00:00Z", "2024-01-05T16:00:00Z"]),
        ("2024-01-01T16:00:00+02:00", ["2024-01-04T14:00:00Z", "2024-01-05T14:00:00Z"]),
    ],
)
def test_time_stamps_have_the_time_of_day_in_utc(start: str, stamps: list[str]) -> None:
    assert (
        predict(PLANS["D"], ForecastingInstance(values=[1.0, 2, 3], start=start), horizon=2)["timestamps"]
        == stamps
    )


VARYING = [["sun", "rain", "snow"][int(k)] for k in np.random.default_rng(2).integers(0, 3, 240)]


def covaried() -> SeriesSet:
    """Three series with a static column, numbers and categories of the past and of the future."""
    columns = {
        "price": np.where(np.arange(240) % 11 == 0, np.nan, np.cos(np.arange(240.0))),
        "sky": np.array([["sun", "rain", "snow"].index(sky) for sky in VARYING], np.float64),
        "promo": np.sin(np.arange(240.0)),
        "day": np.arange(240.0) % 2,
    }
    made = series_set(waves(3, 80), static=["x", "y", "x"], covariates=columns, known_ahead=["promo", "day"])
    return replace(made, covariate_levels=[[], ["sun", "rain", "snow"], [], ["odd", "even"]])


RICH = plan_of(covaried())
TWENTY: list[float | None] = values_of(waves(1, 20)[0])
FULL: dict[str, Any] = {
    "static": {"kind": "x"},
    "past": {
        "price": [0.5] * 20, "sky": VARYING[:20], "promo": [0.1] * 20, "day": ["odd", "even"] * 10,
    },
    "future": {"promo": [0.9] * HORIZON, "day": ["odd"] * HORIZON},
}  # fmt: skip


def inputs(**fields: Any) -> Array:
    encoded: Array = encode_one(
        TASK, RICH.state, ForecastingInstance(values=TWENTY, **fields), ForecastingParameters()
    ).inputs
    return encoded


@pytest.mark.parametrize("field", ["static", "past", "future"])
def test_every_kind_of_covariate_is_read_and_optional(field: str) -> None:
    without = {name: value for name, value in FULL.items() if name != field}
    assert not np.array_equal(inputs(**FULL), inputs(**without))
    assert np.isfinite(inputs(**without)).all()
    assert np.isfinite(inputs()).all()


@pytest.mark.parametrize("name", ["price", "sky", "promo", "day"])
def test_each_column_matters_and_may_have_holes(name: str) -> None:
    column: list[Any] = FULL["past"][name]
    changed = {**FULL["past"], name: [None] * len(column)}
    other = inputs(**{**FULL, "past": changed})
    assert np.isfinite(other).all()
    assert not np.array_equal(inputs(**FULL), other)


@pytest.mark.parametrize(
    ("field", "name", "unknown"),
    [
        ("static", "kind", "never"),
        ("past", "sky", ["hail"] * 20),
        ("future", "day", ["leap"] * HORIZON),
    ],
)
def test_an_unknown_category_is_encoded_as_missing(field: str, name: str, unknown: Any) -> None:
    missing: Any = None if field == "static" else [None] * len(unknown)
    one = inputs(**{**FULL, field: {**FULL[field], name: unknown}})
    other = inputs(**{**FULL, field: {**FULL[field], name: missing}})
    assert np.array_equal(one, other)


def test_a_covariate_beyond_all_measure_stays_bounded() -> None:
    for huge in (1e308, -1e308):
        encoded = inputs(**{**FULL, "past": {**FULL["past"], "price": [huge] * 20}})
        assert np.abs(encoded).max() <= 10


def test_future_covariates_must_cover_the_horizon_that_is_asked_for() -> None:
    short = {"promo": [0.9] * 2, "day": ["odd"] * 2}
    padded = {"promo": [0.9, 0.9, None, None, None], "day": ["odd", "odd", None, None, None]}
    with pytest.raises(Invalid, match="2 entries for a horizon of 5"):
        inputs(**{**FULL, "future": short})
    for horizon in (1, 2):
        example = encode_one(
            TASK,
            RICH.state,
            ForecastingInstance(values=TWENTY, **{**FULL, "future": short}),
            ForecastingParameters(horizon=horizon),
        )
        assert np.array_equal(example.inputs, inputs(**{**FULL, "future": padded}))


@given(
    st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=60).filter(
        lambda values: any(value is not None for value in values)
    ),
    st.sampled_from(["zeros", "around zero", "huge", "one long, many short"]),
    st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=15, max_size=15),
)
def test_any_values_and_any_outputs_give_finite_sorted_quantiles(
    values: list[float | None], name: str, outputs: list[float]
) -> None:
    prediction = predict(ANY[name], ForecastingInstance(values=values), np.array(outputs, np.float32))
    quantiles = np.array([prediction["quantiles"][level] for level in ("0.1", "0.5", "0.9")])
    assert np.isfinite(quantiles).all()
    assert (quantiles[1:] >= quantiles[:-1]).all()


ANY = {
    name: plan_of(series_set(AWKWARD[name]))
    for name in ("zeros", "around zero", "huge", "one long, many short")
}


@given(st.lists(st.floats(0.1, 0.9), max_size=6), st.integers(1, HORIZON))
def test_any_quantiles_between_the_trained_ones_at_any_horizon(levels: list[float], horizon: int) -> None:
    outputs = noise(PLANS["D"].outputs).astype(np.float32)
    instance = ForecastingInstance(values=TWENTY)
    prediction = predict(PLANS["D"], instance, outputs, quantiles=levels, horizon=horizon)
    rows = [prediction["quantiles"][str(level)] for level in sorted(levels)]
    assert set(prediction["quantiles"]) == {str(level) for level in levels}
    assert all(len(row) == horizon for row in [prediction["mean"], *rows])
    for lower, upper in pairwise(rows):
        assert all(a <= b * (1 + 1e-9) + 1e-9 for a, b in zip(lower, upper, strict=True))


@pytest.mark.parametrize("levels", [[0.5], [0.01, 0.99], [k / 20 for k in range(1, 20)]])
def test_a_model_answers_the_quantiles_it_was_trained_for(levels: list[float]) -> None:
    plan = plan_of(series_set(waves(2)), quantiles=levels)
    prediction = predict(plan, ForecastingInstance(values=TWENTY), noise(plan.outputs).astype(np.float32))
    assert list(prediction["quantiles"]) == [str(level) for level in levels]
    assert plan.outputs == HORIZON * len({0.5, *levels})


@pytest.mark.parametrize("horizon", [1, 60, 300])
def test_horizons_from_one_step_to_longer_than_any_season(horizon: int) -> None:
    plan = plan_of(series_set(waves(2, 900)), horizon)
    prediction = predict(plan, ForecastingInstance(values=values_of(waves(1, 200)[0]), start="2024-01-01"))
    assert len(prediction["mean"]) == len(prediction["timestamps"]) == horizon
    batch = plan.test.batch(np.arange(len(plan.test.lengths)), None)
    assert batch.targets.shape[2] == horizon


def test_data_without_two_observed_values_is_refused() -> None:
    with pytest.raises(Invalid, match="two observed values"):
        plan_of(series_set([np.full(50, np.nan), np.concatenate([[1.0], np.full(49, np.nan)])]))


def test_an_instance_reads_nulls_and_refuses_what_is_no_number() -> None:
    decode = msgspec.json.Decoder(ForecastingInstance).decode
    assert decode(b'{"values": [1, null, 2.5]}').values == [1.0, None, 2.5]
    for body in (b'{"values": [[1]]}', b'{"values": [true]}', b'{"values": [NaN]}', b'{"values": {}}'):
        with pytest.raises(msgspec.DecodeError):
            decode(body)


OPTIONS = st.fixed_dictionaries(
    {"horizon": st.integers(1, 20)},
    optional={
        "context_length": st.integers(1, 200),
        "season_length": st.integers(1, 40),
        "transform": st.sampled_from(["auto", "log", "signed", "none"]),
        "quantiles": st.lists(st.floats(0.01, 0.99), min_size=1, max_size=4, unique=True),
        "past_covariates": st.sampled_from([[], ["feat_0"]]),
        "future_covariates": st.sampled_from([[], ["feat_0"]]),
        "static_covariates": st.sampled_from([[], ["cat_0"]]),
        "refit": st.booleans(),
    },
)
TARGET = st.lists(
    st.none() | st.integers(-(10**9), 10**9).map(lambda n: n / 8) | st.integers(0, 5), max_size=60
)


@given(
    st.lists(st.tuples(TARGET, st.sampled_from([None, "train", "valid", "test"])), min_size=1, max_size=5),
    st.sampled_from(["D", "h", "MS", "1"]),
    OPTIONS,
)
def test_data_and_options_that_pass_the_checks_can_be_trained_on(
    made: list[tuple[list[Any], str | None]], freq: str, fields: dict[str, Any]
) -> None:
    items: list[Json] = [
        {
            "item_id": str(index), "start": 1 if freq == "1" else "2024-01-01", "freq": freq,
            "target": target, "cat": ["xy"[index % 2]],
            "dynamic_feat": [[float(step) for step in range(len(target) + 3)]],
        } | ({"split": split} if split else {})
        for index, (target, split) in enumerate(made)
    ]  # fmt: skip
    try:
        reading = TASK.read(MemorySource("jsonl", objects=items), Faults())
    except DatasetInvalid:
        return
    options = ForecastingOptions(**fields)
    if TASK.check(reading.summary, options):
        return
    try:
        plan = TASK.plan(reading.arrays, options, 0)
    except Invalid as error:
        if error.message == NOTHING_OBSERVED:  # the summary does not show this
            return
        raise
    rows = np.arange(min(8, len(plan.train.lengths)))
    assert np.isfinite(plan.train.batch(rows, np.random.default_rng(0)).inputs).all()
    outputs = np.zeros((len(plan.test.lengths), plan.outputs), np.float32)
    json.dumps(TASK.score(plan.state, plan.test, list(outputs)), allow_nan=False)
