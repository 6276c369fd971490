from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from app.tasks.forecasting.encoding import (
    InputDropout,
    gather_inputs,
    gather_targets,
    input_width,
    lead_steps,
)
from app.tasks.forecasting.frequency import Frequency
from app.tasks.forecasting.panels.panel import Panel, build_panel
from tests.support.factories.histories import History, histories_of, normalized

HORIZON, TIME = 3, 40
FULL: dict[str, Any] = {
    "freq": "D",
    "horizon": HORIZON,
    "transform": "log",
    "seasons": [7],
    "bases": [],
    "window": 5,
    "memory": 6,
    "lag": 7,
    "cycles": 6,
    "usual": 0.1,
    "scale_mean": -2.0,
    "scale_std": 1.0,
    "static": [{"name": "kind", "levels": ["a", "b"]}],
    "past": [{"name": "p", "levels": [], "mean": 1.0, "std": 2.0}],
    "future": [{"name": "f", "levels": ["x", "y"], "mean": 0.0, "std": 1.0}],
}
STATES = {
    "level": FULL,
    "season": FULL | {"bases": [7]},
    "plain": FULL | {"lag": 0, "cycles": 0, "static": [], "past": [], "future": []},
}


def history(seed: int = 0, time: int = TIME) -> History:
    rng = np.random.default_rng(seed)
    values = np.exp(rng.normal(size=time) * 0.2 + np.sin(np.arange(time) * 2 * np.pi / 7))
    values[rng.random(time) < 0.1] = np.nan
    return History(
        values=values,
        targets=np.exp(rng.normal(size=HORIZON)),
        start=100,
        static=np.array([seed % 2]),
        past=rng.normal(size=(time, 1)),
        future=rng.integers(0, 2, size=(time + HORIZON, 1)).astype(float),
    )


def readable(state: dict[str, Any], entry: History) -> History:
    """Only the covariates the model reads."""
    return entry if state["past"] else replace(entry, static=None, past=None, future=None)


def panel_of(state: dict[str, Any], *entries: History, max_points: int | None = None) -> Panel:
    return build_panel(state, Frequency.parse("D"), histories_of(state, entries), max_points)


def inputs_of(
    state: dict[str, Any], entry: History, max_points: int | None = None, last: int = 10
) -> np.ndarray:
    panel = panel_of(state, readable(state, entry), max_points=max_points)
    inputs: np.ndarray = gather_inputs(state, panel, np.zeros(1, np.int64), panel.lengths - last, last)[0]
    return inputs


@pytest.mark.parametrize("name", STATES)
def test_input_width_is_the_number_of_inputs(name: str) -> None:
    inputs = inputs_of(STATES[name], history())
    assert inputs.shape == (10, input_width(STATES[name]))
    assert inputs.dtype == np.float32
    assert np.isfinite(inputs).all()


@pytest.mark.parametrize("name", STATES)
def test_targets_never_enter_the_inputs(name: str) -> None:
    changed = replace(history(), targets=np.full(HORIZON, 1e6))
    np.testing.assert_array_equal(inputs_of(STATES[name], history()), inputs_of(STATES[name], changed))


def test_against_the_last_season_no_input_reads_a_later_value() -> None:
    changed = history().values.copy()
    changed[-5:] *= 3
    before = inputs_of(STATES["season"], history())
    after = inputs_of(STATES["season"], replace(history(), values=changed))
    np.testing.assert_array_equal(before[:5], after[:5])
    assert not np.array_equal(before[5:], after[5:])


@pytest.mark.parametrize("name", STATES)
def test_a_trimmed_history_gives_the_same_inputs(name: str) -> None:
    state = STATES[name]
    np.testing.assert_array_equal(inputs_of(state, history()), inputs_of(state, history(), max_points=10 + 7))


def test_a_panel_of_many_histories_has_the_inputs_of_each_alone() -> None:
    entries = [history(0), history(1, 25), history(2, 12)]
    panel = panel_of(FULL, *entries)
    inputs = gather_inputs(FULL, panel, np.arange(3), panel.lengths - 10, 10)
    for row, entry in enumerate(entries):
        np.testing.assert_array_equal(inputs[row], inputs_of(FULL, entry))


def test_hidden_inputs_equal_those_of_a_request_without_them() -> None:
    nothing = replace(history(), start=None, static=np.array([-1]), past=None, future=None)
    panel = panel_of(FULL, history())
    dropout = InputDropout(*np.ones((4, 1), bool))
    rows = np.zeros(1, np.int64)
    hidden = gather_inputs(FULL, panel, rows, panel.lengths - 10, 10, dropout)[0]
    np.testing.assert_array_equal(hidden, inputs_of(FULL, nothing))


@pytest.mark.parametrize("name", STATES)
def test_decoding_inverts_the_targets(name: str) -> None:
    state = STATES[name]
    entry = readable(state, history())
    panel, known = panel_of(state, entry), normalized(state, entry)
    rows, lengths = np.zeros(1, np.int64), np.array([TIME])
    targets, weights = gather_targets(state, panel, rows, np.zeros(1, np.int64), lengths, 0.0)
    z = known.base[:, -1:] + targets[0, -1] * known.scale[:, -1:] + known.effects[:, -HORIZON:]
    np.testing.assert_allclose(known.transforms.inverse(z)[0], entry.targets, rtol=1e-3)
    assert (weights[0, -1] == 1).all()


def test_missing_targets_and_padding_have_no_weight() -> None:
    entry = replace(history(), targets=np.array([1.0, np.nan, 2.0]))
    panel = panel_of(FULL, entry, history(1, 20))
    lengths = np.array([TIME, 20])
    targets, weights = gather_targets(FULL, panel, np.arange(2), np.zeros(2, np.int64), lengths, 1.0)
    assert np.isfinite(targets).all()
    assert weights[0, -1].astype(bool).tolist() == [True, False, True]
    assert not weights[1, 20:].any()
    missing = np.isnan(entry.values[1:])
    assert not weights[0, :-1, 0][missing].any()


def test_a_detected_season_is_removed_from_the_level() -> None:
    time = np.arange(70)
    values = np.exp(np.tile([0.0, 0, 0, 0, 0, 1, 1], 10) + 0.01 * np.sin(time))
    entry = normalized(STATES["plain"], History(values, np.full(HORIZON, np.nan)))
    assert entry.season.tolist() == [7]
    assert np.ptp(entry.level) < 0.1


def test_a_long_horizon_has_few_lead_steps() -> None:
    assert lead_steps(5).tolist() == [1, 2, 3, 4, 5]
    assert len(lead_steps(1000)) <= 48
    assert lead_steps(1000)[[0, -1]].tolist() == [1, 1000]
