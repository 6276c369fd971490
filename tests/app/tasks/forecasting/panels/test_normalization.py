from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.arrays import Array
from app.tasks.forecasting.frequency import Frequency
from app.tasks.forecasting.options import ForecastingOptions
from app.tasks.forecasting.panels.histories import expand_covariates, expanded_width, one_hot_static
from app.tasks.forecasting.panels.normalization import causal_scales
from app.tasks.forecasting.panels.panel import Panel, build_panel
from app.tasks.forecasting.panels.rows import latest_or_first
from app.tasks.forecasting.panels.transforms import (
    LOG,
    NONE,
    SIGNED,
    Transforms,
    choose_transform_kind,
    choose_transforms,
)
from app.tasks.forecasting.task import TASK
from tests.support.factories.histories import History, histories_of, normalized
from tests.support.factories.series import series_set, waves

HORIZON = 4
NUMERIC = {"name": "price", "levels": [], "mean": 10.0, "std": 2.0}
COLOUR = {"name": "colour", "levels": ["red", "green"], "mean": 0.0, "std": 1.0}


def state_of(freq: str = "D", length: int = 90, **options: Any) -> dict[str, Any]:
    series = series_set(waves(6, length), freq)
    return TASK.plan(series.arrays(), ForecastingOptions(horizon=HORIZON, **options), 0).state


STATES = {
    "season": state_of(),
    "hours": state_of("h", 600),
    "undated": state_of("1"),
    "plain": state_of(transform="none"),
    "signed": state_of(transform="signed"),
}
VALUES = st.lists(
    st.none() | st.floats(-1e6, 1e6) | st.sampled_from([0.0, 1e-12, 1e300, -1e300, 3.0]),
    min_size=1,
    max_size=80,
).filter(lambda values: any(value is not None for value in values))


def history(values: Array, **fields: Any) -> History:
    return History(values=np.array(values, np.float64), targets=np.full(HORIZON, np.nan), **fields)


def panel_of(state: dict[str, Any], *histories: History, max_points: int | None = None) -> Panel:
    return build_panel(state, Frequency.parse(state["freq"]), histories_of(state, histories), max_points)


def arrays(panel: Panel) -> dict[str, Array]:
    """All but the targets; with the calendar and covariates of each point, where it has some."""
    names = ("offsets", "lengths", "level", "base", "seasonal_change", "scale", "observed", "trainable")
    return {name: getattr(panel, name) for name in (*names, "seasonal")}


@given(st.sampled_from(sorted(STATES)), VALUES)
def test_whatever_the_values_all_inputs_are_finite_and_scales_positive(
    name: str, values: list[float | None]
) -> None:
    panel = panel_of(STATES[name], history(np.array(values, np.float64), start=0))
    for field, array in arrays(panel).items():
        assert np.isfinite(array).all(), field
    assert (panel.scale > 0).all()
    assert panel.lengths.tolist() == [len(values)]
    assert panel.offsets.tolist() == [0]


@given(st.sampled_from(sorted(STATES)), st.lists(st.floats(-1e9, 1e9), min_size=HORIZON, max_size=HORIZON))
def test_nothing_but_the_targets_depends_on_later_values(name: str, targets: list[float]) -> None:
    known = history(waves(1, 60)[0], start=3)
    with_targets = replace(known, targets=np.array(targets))
    blind, informed = panel_of(STATES[name], known), panel_of(STATES[name], with_targets)
    for field, array in arrays(blind).items():
        assert np.array_equal(array, getattr(informed, field)), field
    assert not np.array_equal(blind.target, informed.target, equal_nan=True)


@pytest.mark.parametrize("name", sorted(STATES))
def test_level_season_and_target_add_up_to_the_values(name: str) -> None:
    values = waves(1, 60)[0]
    values[[5, 30]] = np.nan
    targets = np.array([20.0, np.nan, 30.0, 40.0])
    entry = normalized(STATES[name], replace(history(values), targets=targets))
    (back,) = entry.transforms.inverse(entry.target + entry.effects)
    whole = np.concatenate([values, targets])
    known = np.isfinite(entry.target[0])
    np.testing.assert_allclose(back[known], whole[known], rtol=1e-6)
    assert not known[[5, 30, 61]].any()
    assert not entry.observed[0, [5, 30]].any()


@pytest.mark.parametrize("name", sorted(STATES))
def test_a_missing_point_has_the_level_of_the_point_before(name: str) -> None:
    values = waves(1, 60)[0]
    values[40:44] = np.nan
    panel = panel_of(STATES[name], history(values))
    assert (panel.level[40:44] == panel.level[39]).all()
    assert (panel.observed[40:44] == 0).all()
    assert panel.observed[44:60].all()


@pytest.mark.parametrize("name", sorted(STATES))
def test_a_history_without_values_is_finite_and_never_trained_on(name: str) -> None:
    panel = panel_of(STATES[name], history(np.full(9, np.nan)), history(waves(1, 9)[0]))
    assert all(np.isfinite(array).all() for array in arrays(panel).values())
    empty = panel.offsets[0] + np.arange(9)
    assert not panel.observed[empty].any()
    assert not panel.trainable[empty].any()


def test_histories_in_one_panel_do_not_touch_each_other() -> None:
    state = STATES["season"]
    some = [history(values, start=at) for at, values in enumerate(waves(3, 50))]
    joint = panel_of(state, *some)
    for at, one in enumerate(some):
        alone = panel_of(state, one)
        span = slice(joint.offsets[at], joint.offsets[at] + 50 + HORIZON)
        for field in ("level", "base", "scale", "observed", "trainable"):
            assert np.array_equal(getattr(joint, field)[span], getattr(alone, field)), field


@pytest.mark.parametrize("name", sorted(STATES))
@pytest.mark.parametrize("max_points", [1, 7, 1_000])
def test_a_panel_of_the_last_points_equals_the_end_of_the_whole(name: str, max_points: int) -> None:
    some = history(waves(1, 50)[0], start=5)
    whole, end = panel_of(STATES[name], some), panel_of(STATES[name], some, max_points=max_points)
    size = min(max_points, 50) + HORIZON
    assert end.lengths.tolist() == [size - HORIZON]
    assert end.histories.start.tolist() == [5 + 50 + HORIZON - size]
    for field, array in arrays(end).items():
        if field not in ("offsets", "lengths", "seasonal"):
            assert np.array_equal(array, getattr(whole, field)[-size:]), field


def test_only_a_dated_history_has_a_calendar() -> None:
    for last in (8, 10**7):  # with a table of all ordinals, and without one
        some = [history(waves(1, 30)[0], start=start) for start in (7, None, last)]
        panel = panel_of(STATES["hours"], *some)
        dated, ordinals = panel.histories.dated, panel.histories.start[:, None] + np.arange(30)
        assert dated.tolist() == [True, False, True]
        features = panel.calendar.features(ordinals, dated)
        expected = Frequency.parse("h").calendar_features(np.arange(7, 37))
        assert np.array_equal(features[0], expected)
        assert not features[1].any()
        expected = Frequency.parse("h").calendar_features(np.arange(last, last + 30))
        assert np.array_equal(features[2], expected)


def test_covariates_are_standardized_clipped_and_one_hot() -> None:
    raw = np.array([[12.0, 0], [np.nan, 1], [1e9, np.nan], [10.0, 7]])
    expanded = expand_covariates(raw, [NUMERIC, COLOUR])
    assert expanded.tolist() == [[1, 1, 0], [0, 0, 1], [10, 0, 0], [0, 0, 0]]
    assert expanded.shape[1] == expanded_width([NUMERIC, COLOUR]) == 3


def test_an_unknown_static_level_is_all_zero() -> None:
    specs = [{"name": "shop", "levels": ["a", "b", "c"]}, {"name": "kind", "levels": ["x"]}]
    assert one_hot_static(np.array([[2, 0], [-1, 0]]), specs).tolist() == [[0, 0, 1, 1], [0, 0, 0, 1]]
    assert one_hot_static(np.zeros((3, 0), np.int64), []).shape == (3, 0)


def test_covariates_are_those_of_the_points_and_a_missing_one_is_zero() -> None:
    state = STATES["season"] | {"past": [NUMERIC], "future": [COLOUR]}
    past = np.full((6, 1), 12.0)
    past[2] = np.nan
    future = np.zeros((6 + HORIZON, 1))
    future[8:] = np.nan
    points = histories_of(state, [history(np.arange(1.0, 7), past=past, future=future)]).points
    assert points.past[:, 0].tolist() == [1, 1, 0, 1, 1, 1, *[0] * HORIZON]
    assert points.available[:, 0].tolist() == [1, 1, 0, 1, 1, 1, *[0] * HORIZON]
    assert points.future[:, 0].tolist() == [1] * 8 + [0] * 2
    assert points.available[:, 1].tolist() == [1] * 8 + [0] * 2


POSITIVE = np.array([[1.0, 2.0, np.nan, 4.0]])


@pytest.mark.parametrize("kind", [LOG, SIGNED, NONE])
def test_inverse_undoes_forward(kind: str) -> None:
    transforms = choose_transforms(POSITIVE, kind)
    np.testing.assert_allclose(transforms.inverse(transforms.forward(POSITIVE))[0, [0, 1, 3]], [1, 2, 4])


@pytest.mark.parametrize("kind", [LOG, SIGNED, NONE])
def test_inverse_is_finite_for_any_network_output(kind: str) -> None:
    z = np.array([[-1e30, 1e30, np.inf, np.nan]] * 2)
    for logs in ([True, True], [False, False], [True, False]):
        transforms = Transforms(kind, np.array(logs) & (kind == LOG), np.full(2, 1e12))
        assert np.isfinite(transforms.inverse(z)).all()


def test_zeros_take_asinh_where_the_model_takes_logs() -> None:
    values = np.array([[0.0, 5.0], [0.0, 0.0], [1.0, 5.0]])
    transforms = choose_transforms(values, LOG)
    assert transforms.is_log.tolist() == [False, False, True]
    assert (transforms.units > 0).all()
    z = transforms.forward(values)
    assert np.array_equal(z[:1], choose_transforms(values[:1], SIGNED).forward(values[:1]))
    assert np.array_equal(z[2], np.log(values[2]))
    np.testing.assert_allclose(transforms.inverse(z), values)


def test_most_series_decide_the_transform() -> None:
    positive, counts, degrees = np.array([1.0, 2.0]), np.array([0.0, 3.0]), np.array([-4.0, 3.0])
    assert choose_transform_kind([positive, positive, degrees]) == LOG
    assert choose_transform_kind([positive, counts, counts]) == SIGNED
    assert choose_transform_kind([degrees, degrees, positive]) == NONE


def test_last_observed_before_each_position() -> None:
    observed = np.array([[False, True, False, True], [False] * 4])
    assert latest_or_first(observed).tolist() == [[1, 1, 1, 3], [0] * 4]


@pytest.mark.parametrize("has_gaps", [False, True])
def test_scale_reads_only_what_came_before(has_gaps: bool) -> None:
    observed = np.ones((1, 6), bool)
    moves = np.array([[0.0, 1.0, 3.0, 2.0, 2.0, 2.0]])
    changed = np.array([[0.0, 1.0, 3.0, 2.0, 90.0, 90.0]])
    (scale,), (count,) = causal_scales(moves, observed, 2, 7.0, has_gaps=has_gaps)
    np.testing.assert_allclose(scale[:3], [7.0, 1.0, 2.0])
    np.testing.assert_allclose(scale[3], 0.5 * 2.5 + 0.5 * 2.0)
    assert count.tolist() == [0, 1, 2, 3, 4, 5]
    (again,), _ = causal_scales(changed, observed, 2, 7.0, has_gaps=has_gaps)
    assert np.array_equal(again[:4], scale[:4])


def test_a_gap_is_no_move() -> None:
    observed = np.array([[True, False, False, True, True, False]])
    moves = np.array([[0.0, 0.0, 0.0, 4.0, 2.0, 0.0]])
    (scale,), (count,) = causal_scales(moves, observed, 1, 7.0, has_gaps=True)
    assert count.tolist() == [0, 0, 0, 1, 2, 2]
    np.testing.assert_allclose(scale, [7.0, 7.0, 7.0, 4.0, 2.5, 2.5])


def test_scale_of_a_series_that_does_not_move_is_positive() -> None:
    scale, _ = causal_scales(np.zeros((1, 5)), np.ones((1, 5), bool), 2, 1.0, has_gaps=False)
    assert (scale > 0).all()
