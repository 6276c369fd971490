"""What the network reads at each step: recent levels relative to the present, calendar, covariates.

The same function serves training (many histories) and one request (a panel of one). Input windows on a
local scale as in Smyl (2020), "A hybrid method of exponential smoothing and recurrent neural networks".
"""

from dataclasses import dataclass

import numpy as np

from app.tasks.contract import Array
from app.tasks.forecasting.normalization import Panel, expanded_width
from app.typedefs import Json

LIMIT = 10.0  # of a normalised input
TARGET_LIMIT = 50.0  # of a normalised target: float32 stays exact and one outlier does not own a batch
AHEAD = 48  # at most so many of a long horizon's points are looked up a season ago or in known covariates


@dataclass(frozen=True)
class Hidden:
    """What a training view conceals, per row, so that a request may lack it; True = concealed."""

    static: Array  # (batch,)
    past: Array  # (batch,)
    future: Array  # (batch,)
    calendar: Array  # (batch,)


def ahead(horizon: int) -> Array:
    """Which of the steps 1..horizon are looked at: all, or about `AHEAD` evenly spread ones."""
    if horizon <= AHEAD:
        return np.arange(1, horizon + 1)
    return np.unique(np.linspace(1, horizon, AHEAD).round().astype(np.int64))


def width(state: Json) -> int:
    """Number of inputs at each step."""
    steps = len(ahead(state["horizon"]))
    inputs = (state["window"] - 1) + 6
    inputs += steps if state["bases"] else (steps + 1) if state["lag"] else 0
    inputs += state["cycles"] + sum(len(spec["levels"]) for spec in state["static"])
    inputs += expanded_width(state["past"]) + (1 if state["past"] else 0)
    inputs += (steps + 1) * expanded_width(state["future"]) + 1 if state["future"] else 0
    return int(inputs)


def gather_inputs(
    state: Json, panel: Panel, rows: Array, first: Array, time: int, hidden: Hidden | None = None
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
    shown = np.ones(len(rows), bool) if hidden is None else ~hidden.calendar
    flags = np.empty((*point.shape, 6), np.float32)  # (batch, time, 6)
    flags[..., 0] = panel.observed[point]
    flags[..., 1] = (np.log(scale) - state["scale_mean"]) / state["scale_std"]
    flags[..., 2] = inside.mean(axis=2) if inside.shape[2] else 1.0
    flags[..., 3] = panel.seasonal[rows][:, None]
    flags[..., 4] = (panel.dated[rows] & shown)[:, None]
    flags[..., 5] = (level - panel.base[point]) / scale
    parts.append(flags)
    if state["bases"]:
        coming = point[:, :, None] + ahead(state["horizon"])  # (batch, time, steps), all within a season
        parts.append(panel.outlook[coming] / scale[:, :, None])
    elif state["lag"]:
        parts.extend(_season_ago(state, panel, point, start))
    if state["cycles"]:
        parts.append(panel.cycles[point] * shown[:, None, None])
    parts.extend(_given(state, panel, rows, point, hidden))
    joined = np.concatenate(parts, axis=2, dtype=np.float32)  # (batch, time, width)
    return np.clip(joined, -LIMIT, LIMIT, out=joined)


def _season_ago(state: Json, panel: Panel, point: Array, start: Array) -> list[Array]:
    """Levels one season (or as few as the lead time allows) before the coming points, and if known."""
    lead = ahead(state["horizon"])
    back = lead - state["lag"] * -(-lead // state["lag"])  # (steps,) <= 0
    source = point[:, :, None] + back  # (batch, time, steps)
    inside = source >= start[:, None, None]
    then = panel.level[np.maximum(source, start[:, None, None])] - panel.level[point][:, :, None]
    relative = np.where(inside, then / panel.scale[point][:, :, None], 0.0)
    return [relative, inside[:, :, :1].astype(np.float32)]


def _given(state: Json, panel: Panel, rows: Array, point: Array, hidden: Hidden | None) -> list[Array]:
    """Static attributes and covariates, or zeros where hidden."""
    batch, time = point.shape
    parts = []
    if state["static"]:
        shown = 1.0 if hidden is None else ~hidden.static[:, None]
        parts.append(
            np.broadcast_to((panel.static[rows] * shown)[:, None], (batch, time, panel.static.shape[1]))
        )
    if state["past"]:
        shown = panel.known[point, 0] * (1.0 if hidden is None else ~hidden.past[:, None])  # (batch, time)
        parts.append(panel.past[point] * shown[:, :, None])
        parts.append(shown[:, :, None])
    if state["future"]:
        shown = panel.known[point + 1, 1] * (1.0 if hidden is None else ~hidden.future[:, None])
        lead = np.concatenate([[0], ahead(state["horizon"])])
        coming = panel.future[point[:, :, None] + lead]  # (batch, time, steps + 1, future)
        parts.append(coming.reshape(batch, time, -1) * shown[:, :, None])
        parts.append(shown[:, :, None])
    return parts


def gather_targets(
    state: Json, panel: Panel, rows: Array, first: Array, lengths: Array, power: float
) -> tuple[Array, Array]:
    """Targets (batch, time, horizon) in units of each position's scale, and their weights.

    A weight is 0 where the target is missing, unknown or padding or too little has been observed; elsewhere
    it is the scale to a power: 1 counts errors in z, 0 in units of each series' own scale.
    """
    time = int(lengths.max())
    step = np.arange(time)
    origin = panel.offsets[rows]
    point = np.minimum((origin + first)[:, None] + step, (origin + panel.lengths[rows] - 1)[:, None])
    coming = point[:, :, None] + np.arange(1, state["horizon"] + 1)  # (batch, time, horizon)
    scale = panel.scale[point]
    targets = (panel.target[coming] - panel.base[point][:, :, None]) / scale[:, :, None]
    real = (step < lengths[:, None]) & panel.ready[point]  # (batch, time)
    weights = np.isfinite(targets) * (real * (scale / state["usual"]) ** power)[:, :, None]
    limited = np.clip(np.nan_to_num(targets, nan=0.0), -TARGET_LIMIT, TARGET_LIMIT)
    return limited.astype(np.float32), weights.astype(np.float32)
