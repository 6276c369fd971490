"""Inputs of the network at each step (levels relative to the current one, calendar, covariates) and targets.

The same functions serve training and requests. Input windows on a local scale follow Smyl (2020), "A hybrid
method of exponential smoothing and recurrent neural networks".
"""

from dataclasses import dataclass

import numpy as np

from app.arrays import Array
from app.tasks.forecasting.panels.histories import expanded_width, one_hot_static
from app.tasks.forecasting.panels.panel import Panel
from app.tasks.forecasting.panels.rows import windows
from app.typedefs import Json

MAX_INPUT = 10.0  # absolute value of a normalized input
MAX_TARGET = 50.0  # of a normalized target: float32 stays exact and no outlier dominates a batch
MAX_LEAD_STEPS = 48  # lead times for which a long horizon has lagged and future inputs
LEVEL_FEATURES = 6  # inputs that every network has beside its window


@dataclass(frozen=True)
class InputDropout:
    """Inputs that a training example lacks, as a request may; True = hidden."""

    static: Array  # (batch,)
    past: Array  # (batch,)
    future: Array  # (batch,)
    calendar: Array  # (batch,)


def lead_steps(horizon: int) -> Array:
    """The lead times 1..horizon that have lagged and future inputs; of a long horizon evenly spread ones."""
    if horizon <= MAX_LEAD_STEPS:
        return np.arange(1, horizon + 1)
    return np.unique(np.linspace(1, horizon, MAX_LEAD_STEPS).round().astype(np.int64))


def receptive_field(state: Json) -> int:
    """Points before the origin that the inputs of a whole context depend on."""
    return int(state["context"] + max(state["window"], state["lag"]))


def input_width(state: Json) -> int:
    """Number of inputs at each step."""
    steps = len(lead_steps(state["horizon"]))
    inputs = (state["window"] - 1) + LEVEL_FEATURES
    inputs += steps if state["bases"] else (steps + 1) if state["lag"] else 0
    inputs += state["cycles"] + sum(len(spec["levels"]) for spec in state["static"])
    inputs += expanded_width(state["past"]) + (1 if state["past"] else 0)
    inputs += (steps + 1) * expanded_width(state["future"]) + 1 if state["future"] else 0
    return int(inputs)


class InputGatherer:
    """Gathers the inputs of `time` steps from point `first` of some histories; reads no target.

    Differences of levels are in units of the scale at each step, with the `sign` (batch,) of each example.
    """

    def __init__(
        self, state: Json, panel: Panel, rows: Array, first: Array, time: int, sign: Array | None = None
    ) -> None:
        self._state, self._panel, self._rows = state, panel, rows
        self._start = panel.offsets[rows]  # (batch,)
        self._last = panel.lengths[rows] - 1
        self._first = first
        self._position = np.minimum(first[:, None] + np.arange(time), self._last[:, None])  # (batch, time)
        self._point = self._start[:, None] + self._position
        self._level, self._scale = panel.level[self._point], panel.scale[self._point]
        self._unit = self._scale if sign is None else self._scale * sign[:, None]  # (batch, time)
        self._joined = np.empty((*self._point.shape, input_width(state)), np.float32)
        self._filled = 0

    def gather(self, dropout: InputDropout | None) -> Array:
        """The inputs (batch, time, width), without those that are hidden."""
        state, panel, position = self._state, self._panel, self._position
        dated = panel.histories.dated[self._rows]
        dated = dated if dropout is None else dated & ~dropout.calendar
        self._fill_window()
        features = self._next(LEVEL_FEATURES)  # (batch, time, 6)
        features[..., 0] = panel.observed[self._point]
        features[..., 1] = (np.log(self._scale) - state["scale_mean"]) / state["scale_std"]
        before = state["window"] - 1
        features[..., 2] = np.minimum(position, before) / before if before else 1.0
        features[..., 3] = panel.seasonal[self._rows][:, None]
        features[..., 4] = dated[:, None]
        features[..., 5] = (self._level - panel.base[self._point]) / self._unit
        if state["bases"]:
            lead = lead_steps(state["horizon"])
            change = self._windows(panel.seasonal_change, 0, state["horizon"])[..., lead]
            np.divide(change, self._unit[:, :, None], out=self._next(len(lead)))
        elif state["lag"]:
            self._fill_lagged_levels()
        if state["cycles"]:
            ordinals = panel.histories.start[self._rows][:, None] + position
            self._next(state["cycles"])[...] = panel.calendar.features(ordinals, dated)
        self._fill_covariates(dropout)
        return np.clip(self._joined, -MAX_INPUT, MAX_INPUT, out=self._joined)

    def _next(self, width: int) -> Array:
        """The inputs (batch, time, width) to be filled next."""
        self._filled += width
        return self._joined[..., self._filled - width : self._filled]

    def _windows(self, values: Array, before: int, after: int) -> Array:
        """What is `before` points before each step up to `after` points after it, (batch, time, points).

        Before a history there is its first point, and beyond its horizon its last one.
        """
        steps = np.arange(-before, self._point.shape[1] + after)
        position = np.clip(self._first[:, None] + steps, 0, self._last[:, None] + self._state["horizon"])
        return windows(values[self._start[:, None] + position], before + after + 1)

    def _fill_window(self) -> None:
        """Levels before each step, the latest first, relative to its own; 0 before the history."""
        before = self._state["window"] - 1
        levels = self._windows(self._panel.level, before, 0)[..., :before][..., ::-1]
        window = self._next(before)  # (batch, time, before)
        np.subtract(levels, self._level[:, :, None], out=window)
        window /= self._unit[:, :, None]
        if self._first.min() < before:
            window[np.arange(1, before + 1) > self._position[:, :, None]] = 0.0

    def _fill_lagged_levels(self) -> None:
        """Levels one season before each lead time, and whether the history is long enough to have them.

        A lead time beyond the season looks as many seasons back as it needs.
        """
        lag, lead = self._state["lag"], lead_steps(self._state["horizon"])
        back = lag * -(-lead // lag) - lead  # (steps,) >= 0 and below the lag
        levels = self._windows(self._panel.level, lag - 1, 0)[..., lag - 1 - back]
        relative = self._next(len(lead))  # (batch, time, steps)
        np.subtract(levels, self._level[:, :, None], out=relative)
        relative /= self._unit[:, :, None]
        inside = self._position[:, :, None] >= back
        relative[~inside] = 0.0
        self._next(1)[...] = inside[:, :, :1]

    def _fill_covariates(self, dropout: InputDropout | None) -> None:
        """Static, past and future inputs, the last two with a flag; zeros where hidden."""
        state, histories, rows = self._state, self._panel.histories, self._rows
        points, shown = histories.points, np.ones((len(rows), 1))
        first, known_end = (column[rows][:, None] for column in (histories.first, histories.known_end))
        index = first + self._position
        if state["static"]:
            visible = shown if dropout is None else ~dropout.static[:, None]
            static = one_hot_static(histories.static[rows], state["static"]) * visible
            self._next(static.shape[1])[...] = static[:, None]
        if state["past"]:
            visible = points.available[index, 0] * (shown if dropout is None else ~dropout.past[:, None])
            self._next(points.past.shape[1])[...] = points.past[index] * visible[:, :, None]
            self._next(1)[...] = visible[:, :, None]
        if state["future"]:
            steps = np.concatenate([[0], lead_steps(state["horizon"])])
            ahead = index[:, :, None] + steps  # (batch, time, steps + 1)
            known = ahead < known_end[:, :, None]
            ahead = np.minimum(ahead, known_end[:, :, None] - 1)
            available = points.available[ahead[:, :, 1], 1] & known[:, :, 1]
            visible = available * (shown if dropout is None else ~dropout.future[:, None])
            future = points.future[ahead] * (known * visible[:, :, None])[..., None]
            width = len(steps) * points.future.shape[1]
            self._next(width)[...] = future.reshape(*index.shape, width)
            self._next(1)[...] = visible[:, :, None]


def gather_inputs(
    state: Json,
    panel: Panel,
    rows: Array,
    first: Array,
    time: int,
    dropout: InputDropout | None = None,
    sign: Array | None = None,
) -> Array:
    """Inputs (batch, time, width) of `time` steps from point `first` of each history; reads no target.

    Where the `sign` (batch,) is -1, the series are turned upside down.
    """
    return InputGatherer(state, panel, rows, first, time, sign).gather(dropout)


def gather_targets(
    state: Json,
    panel: Panel,
    rows: Array,
    first: Array,
    lengths: Array,
    power: float,
    sign: Array | None = None,
) -> tuple[Array, Array]:
    """Targets (batch, time, horizon) in units of each position's scale, and their weights.

    A weight is 0 where the target is missing, unknown or padding, or too little is observed before it.
    Elsewhere it is the scale to `power`: 1 counts errors in z, 0 in units of each series' own scale. Where
    the `sign` (batch,) is -1, the series are turned upside down.
    """
    time = int(lengths.max())
    step = np.arange(time)
    start = panel.offsets[rows]
    point = np.minimum((start + first)[:, None] + step, (start + panel.lengths[rows] - 1)[:, None])
    lead = point[:, :, None] + np.arange(1, state["horizon"] + 1)  # (batch, time, horizon)
    scale = panel.scale[point]
    unit = scale if sign is None else scale * sign[:, None]
    targets = (panel.target[lead] - panel.base[point][:, :, None]) / unit[:, :, None]
    trained = (step < lengths[:, None]) & panel.trainable[point]  # (batch, time)
    weights = np.isfinite(targets) * (trained * (scale / state["usual"]) ** power)[:, :, None]
    limited = np.clip(np.nan_to_num(targets, nan=0.0), -MAX_TARGET, MAX_TARGET)
    return limited.astype(np.float32), weights.astype(np.float32)
