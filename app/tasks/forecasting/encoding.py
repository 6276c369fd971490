"""Inputs of the network at each step (levels relative to the current one, calendar, covariates) and targets.

The same functions serve training (many histories) and a request (a panel of one). Input windows on a local
scale follow Smyl (2020), "A hybrid method of exponential smoothing and recurrent neural networks".
"""

from dataclasses import dataclass

import numpy as np

from app.tasks.arrays import Array
from app.tasks.forecasting.normalization import Panel, expanded_width
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


def input_width(state: Json) -> int:
    """Number of inputs at each step."""
    steps = len(lead_steps(state["horizon"]))
    inputs = (state["window"] - 1) + LEVEL_FEATURES
    inputs += steps if state["bases"] else (steps + 1) if state["lag"] else 0
    inputs += state["cycles"] + sum(len(spec["levels"]) for spec in state["static"])
    inputs += expanded_width(state["past"]) + (1 if state["past"] else 0)
    inputs += (steps + 1) * expanded_width(state["future"]) + 1 if state["future"] else 0
    return int(inputs)


def gather_inputs(
    state: Json, panel: Panel, rows: Array, first: Array, time: int, dropout: InputDropout | None = None
) -> Array:
    """Inputs (batch, time, width) of `time` steps from point `first` of each history; reads no target."""
    start = panel.offsets[rows]  # (batch,)
    last = (start + panel.lengths[rows] - 1)[:, None]
    point = np.minimum((start + first)[:, None] + np.arange(time), last)  # (batch, time)
    level, scale = panel.level[point], panel.scale[point]
    lags = point[:, :, None] - np.arange(1, state["window"])  # (batch, time, window - 1)
    inside = lags >= start[:, None, None]
    recent = panel.level[np.maximum(lags, start[:, None, None])] - level[:, :, None]
    parts = [np.where(inside, recent / scale[:, :, None], 0.0)]
    has_calendar = np.ones(len(rows), bool) if dropout is None else ~dropout.calendar
    features = np.empty((*point.shape, LEVEL_FEATURES), np.float32)  # (batch, time, 6)
    features[..., 0] = panel.observed[point]
    features[..., 1] = (np.log(scale) - state["scale_mean"]) / state["scale_std"]
    features[..., 2] = inside.mean(axis=2) if inside.shape[2] else 1.0
    features[..., 3] = panel.seasonal[rows][:, None]
    features[..., 4] = (panel.dated[rows] & has_calendar)[:, None]
    features[..., 5] = (level - panel.base[point]) / scale
    parts.append(features)
    if state["bases"]:
        lead = point[:, :, None] + lead_steps(state["horizon"])  # (batch, time, steps), within a season
        parts.append(panel.seasonal_change[lead] / scale[:, :, None])
    elif state["lag"]:
        parts.extend(_lagged_levels(state, panel, point, start))
    if state["cycles"]:
        parts.append(panel.calendar[point] * has_calendar[:, None, None])
    parts.extend(_covariate_inputs(state, panel, rows, point, dropout))
    joined = np.concatenate(parts, axis=2, dtype=np.float32)  # (batch, time, width)
    return np.clip(joined, -MAX_INPUT, MAX_INPUT, out=joined)


def _lagged_levels(state: Json, panel: Panel, point: Array, start: Array) -> list[Array]:
    """Levels one season before each lead time, and whether the history is long enough to have them.

    A lead time beyond the season looks as many seasons back as it needs.
    """
    lead = lead_steps(state["horizon"])
    back = lead - state["lag"] * -(-lead // state["lag"])  # (steps,) <= 0
    source = point[:, :, None] + back  # (batch, time, steps)
    inside = source >= start[:, None, None]
    change = panel.level[np.maximum(source, start[:, None, None])] - panel.level[point][:, :, None]
    relative = np.where(inside, change / panel.scale[point][:, :, None], 0.0)
    return [relative, inside[:, :, :1].astype(np.float32)]


def _covariate_inputs(
    state: Json, panel: Panel, rows: Array, point: Array, dropout: InputDropout | None
) -> list[Array]:
    """Static, past and future inputs, each with a flag for the covariates; zeros where hidden."""
    batch, time = point.shape
    parts = []
    if state["static"]:
        visible = 1.0 if dropout is None else ~dropout.static[:, None]
        static = panel.static[rows] * visible
        parts.append(np.broadcast_to(static[:, None], (batch, time, panel.static.shape[1])))
    if state["past"]:
        visible = panel.available[point, 0] * (1.0 if dropout is None else ~dropout.past[:, None])
        parts.append(panel.past[point] * visible[:, :, None])
        parts.append(visible[:, :, None])
    if state["future"]:
        visible = panel.available[point + 1, 1] * (1.0 if dropout is None else ~dropout.future[:, None])
        lead = np.concatenate([[0], lead_steps(state["horizon"])])
        future = panel.future[point[:, :, None] + lead]  # (batch, time, steps + 1, future)
        parts.append(future.reshape(batch, time, -1) * visible[:, :, None])
        parts.append(visible[:, :, None])
    return parts


def gather_targets(
    state: Json, panel: Panel, rows: Array, first: Array, lengths: Array, power: float
) -> tuple[Array, Array]:
    """Targets (batch, time, horizon) in units of each position's scale, and their weights.

    A weight is 0 where the target is missing, unknown or padding, or too little is observed before it.
    Elsewhere it is the scale to `power`: 1 counts errors in z, 0 in units of each series' own scale.
    """
    time = int(lengths.max())
    step = np.arange(time)
    start = panel.offsets[rows]
    point = np.minimum((start + first)[:, None] + step, (start + panel.lengths[rows] - 1)[:, None])
    lead = point[:, :, None] + np.arange(1, state["horizon"] + 1)  # (batch, time, horizon)
    scale = panel.scale[point]
    targets = (panel.target[lead] - panel.base[point][:, :, None]) / scale[:, :, None]
    trained = (step < lengths[:, None]) & panel.trainable[point]  # (batch, time)
    weights = np.isfinite(targets) * (trained * (scale / state["usual"]) ** power)[:, :, None]
    limited = np.clip(np.nan_to_num(targets, nan=0.0), -MAX_TARGET, MAX_TARGET)
    return limited.astype(np.float32), weights.astype(np.float32)
