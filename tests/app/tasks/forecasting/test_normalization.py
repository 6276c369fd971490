from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.tasks.contract import Array
from app.tasks.forecasting.frequency import Frequency
from app.tasks.forecasting.normalization import (
    History,
    Panel,
    build_panel,
    expand,
    expanded_width,
    normalise,
    one_hot,
)
from app.tasks.forecasting.options import Options
from app.tasks.forecasting.task import TASK
from tests.series import series_set, waves

HORIZON = 4
NUMERIC = {"name": "price", "levels": [], "mean": 10.0, "std": 2.0}
COLOUR = {"name": "colour", "levels": ["red", "green"], "mean": 0.0, "std": 1.0}


def state_of(freq: str = "D", length: int = 90, **options: Any) -> dict[str, Any]:
    series = series_set(waves(6, length), freq)
    return TASK.plan(series.arrays(), Options(horizon=HORIZON, **options), 0).state


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
    return History(values=np.array(values, np.float64), after=np.full(HORIZON, np.nan), **fields)


def panel_of(state: dict[str, Any], *histories: History, keep: int | None = None) -> Panel:
    return build_panel(state, Frequency.parse(state["freq"]), histories, keep)[0]


def arrays(panel: Panel) -> dict[str, Array]:
    return {name: value for name, value in vars(panel).items() if name != "target"}


@given(st.sampled_from(sorted(STATES)), VALUES)
def test_whatever_the_values_all_inputs_are_finite_and_scales_positive(
    name: str, values: list[float | None]
) -> None:
    found = panel_of(STATES[name], history(np.array(values, np.float64), start=0))
    for field, array in arrays(found).items():
        assert np.isfinite(array).all(), field
    assert (found.scale > 0).all()
    assert found.lengths.tolist() == [len(values)]
    assert found.offsets.tolist() == [0, len(values) + HORIZON]


@given(st.sampled_from(sorted(STATES)), st.lists(st.floats(-1e9, 1e9), min_size=HORIZON, max_size=HORIZON))
def test_nothing_but_the_targets_knows_what_comes_after(name: str, after: list[float]) -> None:
    known = history(waves(1, 60)[0], start=3)
    told = replace(known, after=np.array(after))
    blind, seeing = panel_of(STATES[name], known), panel_of(STATES[name], told)
    for field, array in arrays(blind).items():
        assert np.array_equal(array, getattr(seeing, field)), field
    assert not np.array_equal(blind.target, seeing.target, equal_nan=True)


@pytest.mark.parametrize("name", sorted(STATES))
def test_level_season_and_target_add_up_to_the_values(name: str) -> None:
    values = waves(1, 60)[0]
    values[[5, 30]] = np.nan
    after = np.array([20.0, np.nan, 30.0, 40.0])
    entry = normalise(STATES[name], replace(history(values), after=after))
    back = entry.transform.inverse(entry.target + entry.effects)
    whole = np.concatenate([values, after])
    seen = np.isfinite(entry.target)
    np.testing.assert_allclose(back[seen], whole[seen], rtol=1e-6)
    assert not np.isfinite(entry.target[[5, 30, 61]]).any()
    assert not entry.observed[[5, 30]].any()


@pytest.mark.parametrize("name", sorted(STATES))
def test_a_missing_point_keeps_the_level_of_the_point_before(name: str) -> None:
    values = waves(1, 60)[0]
    values[40:44] = np.nan
    found = panel_of(STATES[name], history(values))
    assert (found.level[40:44] == found.level[39]).all()
    assert (found.observed[40:44] == 0).all()
    assert found.observed[44:60].all()


@pytest.mark.parametrize("name", sorted(STATES))
def test_a_history_of_nothing_is_finite_and_never_learnt_from(name: str) -> None:
    found = panel_of(STATES[name], history(np.full(9, np.nan)), history(waves(1, 9)[0]))
    assert all(np.isfinite(array).all() for array in arrays(found).values())
    assert not found.observed[:9].any()
    assert not found.ready[:9].any()


def test_histories_in_one_panel_do_not_touch_each_other() -> None:
    state = STATES["season"]
    some = [history(values, start=at) for at, values in enumerate(waves(3, 50))]
    together = panel_of(state, *some)
    for at, one in enumerate(some):
        alone = panel_of(state, one)
        span = slice(together.offsets[at], together.offsets[at + 1])
        for field in ("level", "base", "scale", "observed", "ready", "cycles"):
            assert np.array_equal(getattr(together, field)[span], getattr(alone, field)), field


@pytest.mark.parametrize("name", sorted(STATES))
@pytest.mark.parametrize("keep", [1, 7, 1_000])
def test_keeping_only_the_end_changes_nothing_there(name: str, keep: int) -> None:
    some = history(waves(1, 50)[0], start=5, past=np.zeros((50, 0)), future=np.zeros((50 + HORIZON, 0)))
    whole, end = panel_of(STATES[name], some), panel_of(STATES[name], some, keep=keep)
    size = min(keep, 50) + HORIZON
    assert end.offsets.tolist() == [0, size]
    for field, array in arrays(end).items():
        if field not in ("offsets", "lengths", "dated", "seasonal", "static"):
            assert np.array_equal(array, getattr(whole, field)[-size:]), field


def test_only_a_dated_history_has_a_calendar() -> None:
    found = panel_of(STATES["hours"], history(waves(1, 30)[0], start=7), history(waves(1, 30)[0]))
    assert found.dated.tolist() == [True, False]
    expected = Frequency.parse("h").cycles(np.arange(7, 37 + HORIZON))
    assert np.array_equal(found.cycles[: 30 + HORIZON], expected)
    assert not found.cycles[30 + HORIZON :].any()


def test_covariates_are_standardised_clipped_and_one_hot() -> None:
    raw = np.array([[12.0, 0], [np.nan, 1], [1e9, np.nan], [10.0, 7]])
    found = expand(raw, [NUMERIC, COLOUR])
    assert found.tolist() == [[1, 1, 0], [0, 0, 1], [10, 0, 0], [0, 0, 0]]
    assert found.shape[1] == expanded_width([NUMERIC, COLOUR]) == 3


def test_a_static_level_nobody_knows_is_all_zero() -> None:
    specs = [{"name": "shop", "levels": ["a", "b", "c"]}, {"name": "kind", "levels": ["x"]}]
    assert one_hot(np.array([2, 0]), specs).tolist() == [0, 0, 1, 1]
    assert one_hot(np.array([-1, 0]), specs).tolist() == [0, 0, 0, 1]
    assert one_hot(None, specs).tolist() == [0, 0, 0, 0]
    assert one_hot(None, []).shape == (0,)


def test_past_covariates_end_at_the_origin_and_future_ones_go_on() -> None:
    state = STATES["season"] | {"past": [NUMERIC], "future": [COLOUR]}
    past = np.full((6, 1), 12.0)
    past[2] = np.nan
    future = np.zeros((6 + HORIZON, 1))
    future[8:] = np.nan
    found = panel_of(state, history(np.arange(1.0, 7), past=past, future=future))
    assert found.past[:, 0].tolist() == [1, 1, 0, 1, 1, 1, *[0] * HORIZON]
    assert found.known[:, 0].tolist() == [1, 1, 0, 1, 1, 1, *[0] * HORIZON]
    assert found.future[:, 0].tolist() == [1] * 8 + [0] * 2
    assert found.known[:, 1].tolist() == [1] * 8 + [0] * 2
