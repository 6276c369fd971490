"""Panels: calendar features that requests share, windows of rows, and what a request does not need."""

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from app.tasks.forecasting.encoding import gather_inputs
from app.tasks.forecasting.frequency import Frequency
from app.tasks.forecasting.inference import read_histories
from app.tasks.forecasting.panels.histories import Histories
from app.tasks.forecasting.panels.panel import BLOCK_STEPS, Calendar, PanelBuilder, normalized_chunks
from app.tasks.forecasting.panels.rows import windows
from tests.app.tasks.forecasting.test_together import STATES, instance_of

FREQUENCY = Frequency.parse("D")


def histories_at(start: int, length: int) -> Histories:
    """One dated series of zeros."""
    state = STATES["days"] | {"history": length}
    histories, _ = read_histories(state, [instance_of("days", np.random.default_rng(0), length)])
    columns = {name: getattr(histories, name) for name in ("first", "origin", "target_end", "known_end")}
    start_of, dated = np.array([start]), np.ones(1, bool)
    return Histories(histories.points, **columns, start=start_of, dated=dated, static=histories.static)


@pytest.mark.parametrize("start", [0, 19_000, BLOCK_STEPS - 10, -BLOCK_STEPS, -5])
@pytest.mark.parametrize("length", [1, 20, BLOCK_STEPS, 5 * BLOCK_STEPS])
def test_calendar_features_are_those_of_the_frequency(start: int, length: int) -> None:
    calendar = Calendar(STATES["days"], FREQUENCY, histories_at(start, length))
    ordinals = np.arange(start, start + length)
    for _ in range(2):  # whatever a request does with them, the next one has the same
        features = calendar.features(ordinals[None], np.ones(1, bool))
        assert features.tobytes() == FREQUENCY.calendar_features(ordinals).tobytes()
        features[...] = 7.0


def test_windows_are_views_of_all_neighbours() -> None:
    rows = np.arange(12.0, dtype=np.float32).reshape(2, 6)
    for width in (1, 3, 6):
        made = windows(rows, width)
        assert np.shares_memory(made, rows)
        assert np.array_equal(made, sliding_window_view(rows, width, axis=1))


@pytest.mark.parametrize("name", sorted(STATES))
def test_inputs_do_not_depend_on_targets(name: str) -> None:
    rng, state = np.random.default_rng(3), STATES[name]
    histories, _ = read_histories(state, [instance_of(name, rng, length) for length in (40, 55, 300)])
    for _, part, normalized in normalized_chunks(state, histories):
        rows, gathered = np.arange(len(part)), []
        for targets in (True, False):
            builder = PanelBuilder(state, part, targets=targets)
            builder.add(rows, normalized)
            panel = builder.build(Frequency.parse(state["freq"]))
            assert len(panel.target) == len(panel.trainable) == (len(panel.level) if targets else 0)
            gathered.append(gather_inputs(state, panel, rows, np.maximum(part.lengths - 9, 0), 9))
        assert gathered[0].tobytes() == gathered[1].tobytes()
