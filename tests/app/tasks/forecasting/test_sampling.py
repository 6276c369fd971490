import gc
from typing import Any
from weakref import ref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.arrays import Array
from app.tasks.contract import Plan
from app.tasks.forecasting.backtest import HistorySlicer, find_split_points
from app.tasks.forecasting.options import ForecastingOptions
from app.tasks.forecasting.preprocessing import TURNED_SHARE
from app.tasks.forecasting.sampling import (
    MIN_SHORT_POINTS,
    ForecastOrigins,
    LatestPanel,
    TrainingWindows,
    short_histories,
)
from app.tasks.forecasting.series import SeriesSet
from app.tasks.forecasting.task import TASK, ForecastingSplit
from tests.support.factories.series import series_set, waves

HORIZON = 4


def planned(series: SeriesSet, **options: Any) -> Plan:
    return TASK.plan(series.arrays(), ForecastingOptions(horizon=HORIZON, **options), 0)


def gappy(count: int = 5, length: int = 70) -> list[Array]:
    values = waves(count, length)
    rng = np.random.default_rng(3)
    for one in values:
        one[rng.random(length) < 0.2] = np.nan
    return values


def rich(values: list[Array]) -> SeriesSet:
    points = sum(map(len, values))
    columns = {"promo": np.sin(np.arange(points)), "price": np.cos(np.arange(points))}
    columns["price"][::7] = np.nan
    kinds = ["a", "b", "c", "a", "b"][: len(values)]
    return series_set(values, static=kinds, covariates=columns, known_ahead=["promo"])


PLANS = {
    "plain": planned(series_set(waves(5, 70))),
    "gaps": planned(series_set(gappy())),
    "covariates": planned(rich(gappy())),
    "hours": planned(series_set(waves(3, 700, season=24), "h")),
    "short": planned(series_set([*waves(3, 12), waves(1, 200)[0]])),
    "one": planned(series_set(waves(1, 400))),
}


def rows_of(split: Any, seed: int, count: int = 40) -> Array:
    return np.random.default_rng(seed).integers(0, len(split.lengths), count)


@given(st.sampled_from(sorted(PLANS)), st.sampled_from(["train", "valid", "test"]), st.integers(0, 10**6))
def test_every_batch_has_finite_inputs_of_the_planned_shape(name: str, part: str, seed: int) -> None:
    plan = PLANS[name]
    split = getattr(plan, part)
    if not len(split.lengths):
        return
    rows = rows_of(split, seed)
    batch = split.batch(rows, np.random.default_rng(seed))
    time = int(batch.lengths.max())
    assert batch.inputs.shape == (len(rows), time, plan.features)
    assert batch.targets.shape == batch.weights.shape == (len(rows), time, HORIZON)
    assert {array.dtype for array in (batch.inputs, batch.targets, batch.weights)} == {np.dtype(np.float32)}
    for array in (batch.inputs, batch.targets, batch.weights):
        assert np.isfinite(array).all()
    assert (batch.weights >= 0).all()
    assert (batch.lengths >= 1).all()
    assert (batch.lengths <= split.lengths[rows]).all()
    padding = np.arange(time) >= batch.lengths[:, None]
    assert not batch.weights[padding].any()


@pytest.mark.parametrize("name", sorted(PLANS))
def test_a_seed_draws_the_same_views_and_another_draws_others(name: str) -> None:
    split = PLANS[name].train
    rows = rows_of(split, 0)
    one, same, other = (split.batch(rows, np.random.default_rng(seed)) for seed in (5, 5, 6))
    for field in ("inputs", "lengths", "targets", "weights"):
        assert np.array_equal(getattr(one, field), getattr(same, field))
    assert one.inputs.shape != other.inputs.shape or not np.array_equal(one.inputs, other.inputs)


@pytest.mark.parametrize("name", sorted(PLANS))
def test_without_a_random_source_nothing_is_random_or_hidden(name: str) -> None:
    for split in (PLANS[name].train, PLANS[name].test):
        rows = rows_of(split, 1)
        one, same = split.batch(rows, None), split.batch(rows, None)
        assert np.array_equal(one.inputs, same.inputs)
        assert np.array_equal(one.targets, same.targets)


@pytest.mark.parametrize("name", sorted(PLANS))
def test_scoring_does_not_depend_on_the_batch(name: str) -> None:
    split = PLANS[name].test
    rows = np.arange(len(split.lengths))
    batch = split.batch(rows, None)
    for row in rows:
        alone, length = split.batch(np.array([row]), None), int(batch.lengths[row])
        assert alone.lengths[0] == length
        np.testing.assert_array_equal(alone.inputs[0, :length], batch.inputs[row, :length])
        np.testing.assert_array_equal(alone.targets[0, length - 1], batch.targets[row, length - 1])


def test_each_series_is_sampled_equally_whatever_its_length() -> None:
    values = [
        np.full(length, 10.0 ** (k + 1)) + waves(1, length)[0] for k, length in enumerate((30, 300, 900))
    ]
    split = planned(series_set(values, covariates={"which": np.repeat([0.0, 1, 2], [30, 300, 900])})).train
    assert isinstance(split, ForecastingSplit)
    assert isinstance(split.source, TrainingWindows)
    series = split.source._series
    assert np.unique(series, return_counts=True)[1].tolist() == [len(series) // 3] * 3
    assert len(series) >= 1_000


@pytest.mark.parametrize("name", ["plain", "gaps", "covariates", "hours"])
def test_training_reads_no_held_out_value(name: str) -> None:
    values = {
        "plain": waves(5, 70), "gaps": gappy(), "covariates": gappy(), "hours": waves(3, 700, season=24),
    }[name]  # fmt: skip
    make = rich if name == "covariates" else series_set
    freq = {"hours": "h"}.get(name, "D")
    one = make(values) if name == "covariates" else series_set(values, freq)
    points = find_split_points(one, HORIZON, 1)
    changed = [np.array(v) for v in values]
    for point, v in zip(points, changed, strict=True):
        v[point.train_end :][np.isfinite(v[point.train_end :])] = 1e7
    other = make(changed) if name == "covariates" else series_set(changed, freq)
    before, after = planned(one), planned(other)
    assert before.state == after.state
    rows = rows_of(before.train, 2)
    for rng in (None, 3):
        first, second = (
            p.train.batch(rows, np.random.default_rng(rng) if rng else None) for p in (before, after)
        )
        assert np.array_equal(first.inputs, second.inputs)
        assert np.array_equal(first.targets, second.targets)
        assert np.array_equal(first.weights, second.weights)


def test_a_split_that_is_read_no_more_leaves_the_memory() -> None:
    plan = planned(series_set(waves(6, 80)))
    rows, rng = np.arange(4), np.random.default_rng(0)
    pairs: list[tuple[Any, Any]] = [(plan.train, plan.refit), (plan.valid, plan.test)]
    for split, following in pairs:
        before = split.batch(rows, None)
        panel = ref(split.source._latest._panel)
        assert panel() is not None
        following.batch(rows, rng)
        gc.collect()
        assert panel() is None
        np.testing.assert_array_equal(split.batch(rows, None).inputs, before.inputs)


@pytest.mark.parametrize("part", ["valid", "test"])
def test_a_forecast_reads_nothing_from_its_origin_on(part: str) -> None:
    plan = PLANS["gaps"]
    split = getattr(plan, part)
    assert isinstance(split.source, ForecastOrigins)
    slicer, origins, state = split.source._slicer, split.source._origins, plan.state
    rows = np.arange(len(origins))
    batch = split.batch(rows, None)
    values = np.array(slicer._series.values)
    for index, origin, _ in origins.tolist():
        start = int(slicer._series.offsets[index])
        values[start + origin : slicer._series.offsets[index + 1]] = -777.0
    series = SeriesSet.from_arrays(slicer._series.arrays() | {"values": values})
    if len(set(origins[:, 0])) < len(origins):  # an earlier origin's future is a later one's past
        rows = np.array(
            [k for k, p in enumerate(origins) if all(p[0] != q[0] or p[1] <= q[1] for q in origins)]
        )
    changed = ForecastingSplit(
        ForecastOrigins(state, HistorySlicer(series, state), origins, LatestPanel())
    ).batch(np.arange(len(origins)), None)
    time = min(batch.inputs.shape[1], changed.inputs.shape[1])
    assert np.array_equal(batch.inputs[rows, :time], changed.inputs[rows, :time])
    last = batch.lengths[rows] - 1
    assert not np.array_equal(batch.targets[rows, last], changed.targets[rows, last])


@pytest.mark.parametrize("name", sorted(PLANS))
def test_the_loss_at_an_origin_counts_that_origin_only(name: str) -> None:
    split = PLANS[name].test
    batch = split.batch(np.arange(len(split.lengths)), None)
    counted = np.asarray(batch.weights.any(axis=2))  # (batch, time)
    for row, length in enumerate(batch.lengths):
        assert not np.delete(counted[row], length - 1).any()
    assert counted.any()


def test_missing_targets_have_no_weight() -> None:
    plan = PLANS["gaps"]
    assert isinstance(plan.test, ForecastingSplit)
    assert isinstance(plan.test.source, ForecastOrigins)
    batch = plan.test.batch(np.arange(len(plan.test.lengths)), None)
    for row, length in enumerate(batch.lengths):
        (targets,) = plan.test.source.histories(np.array([row])).targets(HORIZON)
        weights = batch.weights[row, length - 1]
        assert (weights[~np.isfinite(targets)] == 0).all()


def test_short_histories_are_ends_of_real_ones_and_too_short_for_a_season() -> None:
    plan = PLANS["hours"]
    assert isinstance(plan.train, ForecastingSplit)
    assert isinstance(plan.train.source, TrainingWindows)
    source = plan.train.source
    histories = source._slicer.histories(source._origins)
    short = short_histories(plan.state, histories, source._firsts, source._counts)
    assert len(short) >= 256
    sizes = short.lengths
    assert 1 <= sizes.min() <= MIN_SHORT_POINTS
    assert sizes.max() < 2 * max(plan.state["seasons"])
    assert set(short.origin.tolist()) <= set(histories.origin.tolist())
    assert np.isin(short.start + sizes, histories.start + histories.lengths).all()
    none = short_histories(plan.state | {"seasons": []}, histories, source._firsts, source._counts)
    assert len(none) == 0


def test_turned_windows_are_those_of_the_series_upside_down() -> None:
    """In logarithms the reciprocal of a series is that series upside down."""
    values = [np.exp(np.cumsum(np.random.default_rng(k).normal(0.02, 0.1, 60))) for k in range(50)]
    plan = planned(series_set(values, "MS"))
    assert plan.state["turned"] == TURNED_SHARE
    rows = np.arange(50)
    upright, turned = (
        ForecastingSplit(TrainingWindows(plan.state | {"turned": share}, *windows_of(plan))).batch(
            rows, np.random.default_rng(1)
        )
        for share in (1e-9, 1.0)
    )
    np.testing.assert_array_equal(turned.targets, -upright.targets)
    np.testing.assert_array_equal(turned.weights, upright.weights)
    reciprocal = planned(series_set([1 / one for one in values], "MS"))
    reciprocal_state = reciprocal.state | {"turned": 1e-9}
    same = ForecastingSplit(TrainingWindows(reciprocal_state, *windows_of(reciprocal))).batch(
        rows, np.random.default_rng(1)
    )
    np.testing.assert_allclose(turned.inputs, same.inputs, atol=1e-4)
    np.testing.assert_allclose(turned.targets, same.targets, atol=1e-4)


def windows_of(plan: Plan) -> tuple[HistorySlicer, Array, LatestPanel]:
    split = plan.train
    assert isinstance(split, ForecastingSplit)
    assert isinstance(split.source, TrainingWindows)
    return split.source._slicer, split.source._origins, LatestPanel()


@pytest.mark.parametrize("name", list(PLANS))
def test_nothing_is_turned_of_few_series_days_or_series_with_covariates(name: str) -> None:
    assert PLANS[name].state["turned"] == 0.0
