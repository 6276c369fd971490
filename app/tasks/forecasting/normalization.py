"""Histories before a forecast origin, normalized so that one network reads all of them, as flat arrays."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.tasks.arrays import Array
from app.tasks.forecasting.frequency import Frequency
from app.tasks.forecasting.seasonality import detect_season, previous_season
from app.typedefs import Json

LOG, SIGNED, NONE = "log", "signed", "none"
ASINH_STEEPNESS = 10.0  # asinh turns from linear to logarithmic at a tenth of the mean magnitude
MAX_LOG, MIN_LOG_INPUT = 700.0, 1e-300  # exp stays finite in float64
MIN_SCALE = 1e-290  # dividing values of this size by it stays finite
MIN_RELATIVE_SCALE = 0.01  # of the median scale, for a series that does not move
MAX_STANDARDIZED = 10.0  # of a standardized covariate


@dataclass(frozen=True)
class Transform:
    """z = log(y), asinh(y / unit) or y / unit; the unit makes the last two independent of the measure."""

    kind: str
    unit: float = 1.0

    def forward(self, values: Array) -> Array:
        """Measured values to z; NaN stays NaN."""
        if self.kind == LOG:
            return np.asarray(np.log(np.maximum(values, MIN_LOG_INPUT)))
        scaled: Array = values / self.unit
        curved: Array = np.arcsinh(scaled) if self.kind == SIGNED else scaled
        return curved

    def inverse(self, z: Array) -> Array:
        """Map any z to finite measured values; NaN becomes 0."""
        limited = np.clip(z, -MAX_LOG, MAX_LOG)
        with np.errstate(over="ignore"):
            if self.kind == LOG:
                values: Array = np.exp(limited)
            else:
                values = (np.sinh(limited) if self.kind == SIGNED else z) * self.unit
        return np.nan_to_num(values, nan=0.0)


def choose_transform(values: Array, kind: str) -> Transform:
    """The transform of one series: that of the model, but asinh instead of log if a value is not positive."""
    observed = values[np.isfinite(values)]
    if kind == LOG and (observed > 0).all():
        return Transform(LOG)
    magnitude = float((np.abs(observed) / max(len(observed), 1)).sum())  # a mean that cannot overflow
    unit = max(magnitude, MIN_SCALE) if magnitude > 0 else 1.0
    return Transform(NONE, unit) if kind == NONE else Transform(SIGNED, unit / ASINH_STEEPNESS)


def choose_transform_kind(series: list[Array]) -> str:
    """The transform of a model: logs for positive series, asinh for non-negative ones, otherwise none.

    The majority of the series decides, so that one unusual series does not change how all others are read.
    """
    lows = np.array([np.nanmin(values) for values in series if np.isfinite(values).any()])
    if np.mean(lows > 0) > 0.5:
        return LOG
    return SIGNED if np.mean(lows >= 0) > 0.5 else NONE


def latest_observations(observed: Array) -> Array:
    """Index of the last observation up to each position, (time,); of the first one where none precedes."""
    index = np.maximum.accumulate(np.where(observed, np.arange(len(observed)), -1))  # (time,)
    return np.where(index < 0, int(observed.argmax()), index)


def causal_scale(moves: Array, observed: Array, memory: int, default: float) -> Array:
    """Mean absolute move known at each position, (time,); `default` before the first move.

    `moves` (observed - 1,) are absolute changes, each known from the second, third, … observation on. Half
    the weight is on the last `memory` moves and half on all of them, so that after a quiet spell the next
    move does not look huge.
    """
    totals = np.concatenate([[0.0], np.cumsum(moves)])  # (observed,)
    count = np.arange(len(totals))
    recent = np.minimum(count, memory)
    mean = 0.5 * (totals - totals[count - recent]) / np.maximum(recent, 1) + 0.5 * totals / np.maximum(
        count, 1
    )
    mean[:1] = default
    observations = np.cumsum(observed)  # (time,)
    return np.asarray(np.maximum(mean[np.maximum(observations - 1, 0)], MIN_RELATIVE_SCALE * default))


@dataclass(frozen=True)
class History:
    """One series up to a forecast origin, with its targets and covariates beyond it."""

    values: Array  # (time,) float64, NaN = missing; ends at the origin
    targets: Array  # (horizon,) float64 after the origin, NaN = unknown; never an input
    start: int | None = None  # ordinal of the first point; None = undated
    static: Array | None = None  # (static,) codes, -1 = unknown
    past: Array | None = None  # (time, past) raw covariates, NaN = missing
    future: Array | None = None  # (time + horizon, future) raw covariates, NaN = unknown
    series_index: int = 0  # in its data set


@dataclass(frozen=True)
class NormalizedHistory:
    """A history on the network's scale: z = effects + level, forecast = effects + base + output * scale."""

    transform: Transform
    season: int  # points in a season; 0 = none
    effects: Array  # (time + horizon,) seasonal component of z
    observed: Array  # (time,) bool
    level: Array  # (time,) z without its season; the last observed one where missing
    base: Array  # (time,) level that forecasts made here are relative to
    scale: Array  # (time,) causal mean absolute move
    target: Array  # (time + horizon,) z without its season, NaN = missing or unknown
    seasonal_change: Array  # (time + horizon,) usual season minus the last one
    trainable: Array  # (time,) bool, enough is observed to train on forecasts made here


def normalize(state: Json, history: History) -> NormalizedHistory:
    """Transform a history, remove its season, and find the level and scale at every position.

    Level and scale at a position depend on no later value.
    """
    observed = np.isfinite(history.values)
    transform = choose_transform(history.values, state["transform"])
    z = transform.forward(np.concatenate([history.values, history.targets]))  # (time + horizon,)
    if not observed.any():
        zeros = np.zeros(len(observed))
        flat = np.zeros(len(z))
        scale = zeros + state["usual"]
        return NormalizedHistory(transform, 0, flat, observed, zeros, zeros, scale, z, flat, observed)
    for season in state["bases"]:
        if len(observed) >= season:
            return _normalize_by_last_season(state, transform, z, observed, season)
    return _normalize_by_level(state, transform, z, observed)


def _normalize_by_level(state: Json, transform: Transform, z: Array, observed: Array) -> NormalizedHistory:
    """Remove the seasonal indices if the test finds a season; forecasts are relative to the last level."""
    time = len(observed)
    past = z[:time]
    filled = past if observed.all() else np.interp(np.arange(time), np.flatnonzero(observed), past[observed])
    season, indices = detect_season(filled, observed, tuple(state["seasons"]))
    effects = np.resize(indices, len(z))
    target = z - effects
    level = target[:time][latest_observations(observed)]
    scale = causal_scale(np.abs(np.diff(level[observed])), observed, state["memory"], state["usual"])
    return NormalizedHistory(
        transform=transform,
        season=season,
        effects=effects,
        observed=observed,
        level=level,
        base=level,
        scale=scale,
        target=target,
        seasonal_change=np.zeros(len(z)),
        trainable=np.cumsum(observed) >= 2,
    )


def _normalize_by_last_season(
    state: Json, transform: Transform, z: Array, observed: Array, season: int
) -> NormalizedHistory:
    """Subtract the season before; forecasts are relative to the seasonal naive forecast."""
    time = len(observed)
    before, seasonal_change = previous_season(z[:time], season, len(z) - time)
    target = z - before  # NaN without a value one season before
    known = observed & np.isfinite(before[:time])
    level = np.zeros(time)
    if known.any():
        level[:] = target[:time][latest_observations(known)]
        level[: int(known.argmax())] = 0.0
    scale = causal_scale(np.abs(target[:time][known])[1:], known, state["memory"], state["usual"])
    return NormalizedHistory(
        transform=transform,
        season=season,
        effects=np.where(np.isfinite(before), before, z[:time][observed].mean()),
        observed=known,
        level=level,
        base=np.zeros(time),
        scale=scale,
        target=target,
        seasonal_change=np.nan_to_num(seasonal_change, nan=0.0),
        trainable=np.ones(time, bool),
    )


@dataclass(frozen=True)
class Panel:
    """Normalized histories end to end; each occupies its own points and `horizon` more."""

    offsets: Array  # (histories + 1,) into the flat arrays below
    lengths: Array  # (histories,) points up to the origin
    level: Array  # (points,) float32; 0 beyond the origin
    base: Array  # (points,) float32; 0 beyond the origin
    seasonal_change: Array  # (points,) float32
    scale: Array  # (points,) float32; 1 beyond the origin
    observed: Array  # (points,) float32 0 or 1
    trainable: Array  # (points,) bool, False beyond the origin
    target: Array  # (points,) float32, NaN = missing or unknown
    calendar: Array  # (points, cycles) float32
    dated: Array  # (histories,) bool
    seasonal: Array  # (histories,) float32, 1 = a season was removed
    static: Array  # (histories, static) float32 one-hot
    past: Array  # (points, past) float32 standardized, 0 beyond the origin
    future: Array  # (points, future) float32 standardized
    available: Array  # (points, 2) float32: 1 if any past, any future covariate is known here


def expand_covariates(covariates: Array, specs: Sequence[Json]) -> Array:
    """Raw covariates (points, columns) as standardized numbers and one-hot levels (points, width).

    A missing entry is zero.
    """
    parts = [np.zeros((len(covariates), 0), np.float32)]
    for column, spec in zip(covariates.T, specs, strict=True):
        if spec["levels"]:
            parts.append((column[:, None] == np.arange(len(spec["levels"]))).astype(np.float32))
        else:
            scaled = np.nan_to_num((column - spec["mean"]) / spec["std"], nan=0.0)
            limited = np.clip(scaled, -MAX_STANDARDIZED, MAX_STANDARDIZED)
            parts.append(limited.astype(np.float32)[:, None])
    return np.concatenate(parts, axis=1)  # (points, width)


def expanded_width(specs: Sequence[Json]) -> int:
    """Number of inputs that `expand_covariates` makes of these columns."""
    return sum(len(spec["levels"]) or 1 for spec in specs)


def one_hot_static(codes: Array | None, specs: Sequence[Json]) -> Array:
    """Codes of the static columns as one-hot (levels of all columns,); an unknown level is all zero."""
    parts = [np.zeros(0, np.float32)]
    for index, spec in enumerate(specs):
        hot = np.zeros(len(spec["levels"]), np.float32)
        if codes is not None and codes[index] >= 0:
            hot[codes[index]] = 1
        parts.append(hot)
    return np.concatenate(parts)


def build_panel(
    state: Json, frequency: Frequency, histories: Sequence[History], max_points: int | None = None
) -> tuple[Panel, list[NormalizedHistory]]:
    """Normalize histories and lay them end to end; with `max_points` only the last points of each."""
    normalized = [normalize(state, history) for history in histories]
    columns = [
        _point_arrays(state, frequency, *pair, max_points) for pair in zip(histories, normalized, strict=True)
    ]
    flat = {name: np.concatenate([column[name] for column in columns]) for name in columns[0]}
    lengths = np.array([len(column["level"]) for column in columns], np.int64) - state["horizon"]
    panel = Panel(
        offsets=np.concatenate([[0], np.cumsum(lengths + state["horizon"])]),
        lengths=lengths,
        dated=np.array([history.start is not None for history in histories]),
        seasonal=np.array([entry.season > 0 for entry in normalized], np.float32),
        static=np.stack([one_hot_static(history.static, state["static"]) for history in histories]),
        **flat,
    )
    return panel, normalized


def _point_arrays(
    state: Json, frequency: Frequency, history: History, entry: NormalizedHistory, max_points: int | None
) -> dict[str, Array]:
    """The arrays of a panel that have one row a point, for one history."""
    time, horizon = len(history.values), state["horizon"]
    first = max(0, time - max_points) if max_points else 0
    size = time - first + horizon
    pad = np.zeros(horizon, np.float32)
    flat = {
        "level": np.concatenate([entry.level[first:].astype(np.float32), pad]),
        "base": np.concatenate([entry.base[first:].astype(np.float32), pad]),
        "seasonal_change": entry.seasonal_change[first:].astype(np.float32),
        "scale": np.concatenate([entry.scale[first:].astype(np.float32), pad + 1]),
        "observed": np.concatenate([entry.observed[first:].astype(np.float32), pad]),
        "trainable": np.concatenate([entry.trainable[first:], pad > 0]),
        "target": entry.target[first:].astype(np.float32),
        "calendar": np.zeros((size, state["cycles"]), np.float32),
        "past": np.zeros((size, expanded_width(state["past"])), np.float32),
        "future": np.zeros((size, expanded_width(state["future"])), np.float32),
        "available": np.zeros((size, 2), np.float32),
    }
    if history.start is not None and state["cycles"]:
        ordinals = np.arange(size, dtype=np.int64) + (history.start + first)
        flat["calendar"][:] = frequency.calendar_features(ordinals)
    if history.past is not None:
        flat["past"][: time - first] = expand_covariates(history.past[first:], state["past"])
        flat["available"][: time - first, 0] = np.isfinite(history.past[first:]).any(axis=1)
    if history.future is not None:
        flat["future"][:] = expand_covariates(history.future[first:], state["future"])
        flat["available"][:, 1] = np.isfinite(history.future[first:]).any(axis=1)
    return flat
