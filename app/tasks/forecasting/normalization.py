"""Histories up to an origin, normalised so that one network reads them all, as arrays with offsets."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.tasks.contract import Array
from app.tasks.forecasting.frequency import Frequency
from app.tasks.forecasting.seasonality import season_before, season_of
from app.typedefs import Json

LOG, SIGNED, NONE = "log", "signed", "none"
FINENESS = 10.0  # asinh turns from linear to logarithmic at a tenth of the mean magnitude
LOG_LIMIT, TINY = 700.0, 1e-300  # exp stays finite in float64
SMALLEST = 1e-290  # unit: dividing by it stays finite for values of its own size
FLOOR = 0.01  # of the usual scale: what a series that does not move is said to move


@dataclass(frozen=True)
class Transform:
    """z = log(y), asinh(y / unit) or y / unit; the unit makes the last two free of the measuring unit."""

    kind: str
    unit: float = 1.0

    def forward(self, values: Array) -> Array:
        """Measured values to z; NaN stays NaN."""
        if self.kind == LOG:
            return np.asarray(np.log(np.maximum(values, TINY)))
        scaled: Array = values / self.unit
        curved: Array = np.arcsinh(scaled) if self.kind == SIGNED else scaled
        return curved

    def inverse(self, z: Array) -> Array:
        """Map z to finite measured values."""
        limited = np.clip(z, -LOG_LIMIT, LOG_LIMIT)
        with np.errstate(over="ignore"):
            if self.kind == LOG:
                values: Array = np.exp(limited)
            else:
                values = (np.sinh(limited) if self.kind == SIGNED else z) * self.unit
        return np.nan_to_num(values, nan=0.0)


def transform_of(values: Array, kind: str) -> Transform:
    """The transform of one series; asinh for zeros or negatives where the model takes logs."""
    observed = values[np.isfinite(values)]
    if kind == LOG and (observed > 0).all():
        return Transform(LOG)
    magnitude = float((np.abs(observed) / max(len(observed), 1)).sum())  # a mean that cannot overflow
    unit = max(magnitude, SMALLEST) if magnitude > 0 else 1.0
    return Transform(NONE, unit) if kind == NONE else Transform(SIGNED, unit / FINENESS)


def choose_kind(series: list[Array]) -> str:
    """Logs for positive series, asinh for non-negative ones, nothing where values go below zero.

    A majority of the series decides, so one odd series does not change how all the others are read.
    """
    lows = np.array([np.nanmin(values) for values in series if np.isfinite(values).any()])
    if np.mean(lows > 0) > 0.5:
        return LOG
    return SIGNED if np.mean(lows >= 0) > 0.5 else NONE


def last_observed(observed: Array) -> Array:
    """For each position the index of the last observation up to there, or of the first one before any."""
    index = np.maximum.accumulate(np.where(observed, np.arange(len(observed)), -1))  # (time,)
    return np.where(index < 0, int(observed.argmax()), index)


def causal_scale(moves: Array, observed: Array, memory: int, usual: float) -> Array:
    """Mean of the last `memory` moves known at each position; `usual` before any.

    `moves` (observed - 1,) are absolute changes, each known from the second, third, … observation on. Half
    the weight is the mean of all moves so far: a quiet spell does not make the next move look huge.
    """
    totals = np.concatenate([[0.0], np.cumsum(moves)])  # (observed,)
    count = np.arange(len(totals))
    recent = np.minimum(count, memory)
    mean = 0.5 * (totals - totals[count - recent]) / np.maximum(recent, 1) + 0.5 * totals / np.maximum(
        count, 1
    )
    mean[:1] = usual
    seen = np.cumsum(observed)  # (time,)
    return np.asarray(np.maximum(mean[np.maximum(seen - 1, 0)], FLOOR * usual))


@dataclass(frozen=True)
class History:
    """One series up to a forecast origin, and what is known beyond it."""

    values: Array  # (time,) float64, NaN = missing; ends at the origin
    after: Array  # (horizon,) float64, the targets beyond the origin, NaN = unknown; never an input
    start: int | None = None  # ordinal of the first point; None = undated
    static: Array | None = None  # (static,) codes, -1 = unknown
    past: Array | None = None  # (time, past) raw covariates, NaN = missing
    future: Array | None = None  # (time + horizon, future) raw covariates, NaN = unknown
    item: int = 0  # which series of the data set this is a part of


@dataclass(frozen=True)
class Normalised:
    """A history on the network's scale: z = effects + level, forecast = effects + base + output * scale."""

    transform: Transform
    season: int  # 0 = none found
    effects: Array  # (time + horizon,) seasonal part of z
    observed: Array  # (time,) bool
    level: Array  # (time,) z without its season, the last observed one where missing
    base: Array  # (time,) what the coming levels are relative to
    scale: Array  # (time,) causal mean absolute move
    target: Array  # (time + horizon,) z without its season, NaN = missing or unknown
    outlook: Array  # (time + horizon,) how a usual season differs from the last one
    ready: Array  # (time,) bool, whether enough was observed to learn from forecasts made here


def normalise(state: Json, history: History) -> Normalised:
    """Transform, take out the season, and find level and scale of every position from what came before it."""
    observed = np.isfinite(history.values)
    transform = transform_of(history.values, state["transform"])
    z = transform.forward(np.concatenate([history.values, history.after]))  # (time + horizon,)
    if not observed.any():
        none = np.zeros(len(observed))
        flat = np.zeros(len(z))
        scale = none + state["usual"]
        return Normalised(transform, 0, flat, observed, none, none, scale, z, flat, observed)
    for season in state["bases"]:
        if len(observed) >= season:
            return _against_last_season(state, transform, z, observed, season)
    return _deseasonalised(state, transform, z, observed)


def _deseasonalised(state: Json, transform: Transform, z: Array, observed: Array) -> Normalised:
    """Seasonal indices taken out where the test finds any; forecasts are relative to the last level."""
    time = len(observed)
    past = z[:time]
    filled = past if observed.all() else np.interp(np.arange(time), np.flatnonzero(observed), past[observed])
    season, indices = season_of(filled, observed, tuple(state["seasons"]))
    effects = np.resize(indices, len(z))
    target = z - effects
    level = target[:time][last_observed(observed)]
    scale = causal_scale(np.abs(np.diff(level[observed])), observed, state["memory"], state["usual"])
    return Normalised(
        transform=transform,
        season=season,
        effects=effects,
        observed=observed,
        level=level,
        base=level,
        scale=scale,
        target=target,
        outlook=np.zeros(len(z)),
        ready=np.cumsum(observed) >= 2,
    )


def _against_last_season(
    state: Json, transform: Transform, z: Array, observed: Array, season: int
) -> Normalised:
    """Differences to the season before; forecasts are relative to the seasonal naive forecast."""
    time = len(observed)
    before, outlook = season_before(z[:time], season, len(z) - time)
    target = z - before  # NaN where nothing stood a season before
    known = observed & np.isfinite(before[:time])
    level = np.zeros(time)
    if known.any():
        level[:] = target[:time][last_observed(known)]
        level[: int(known.argmax())] = 0.0
    scale = causal_scale(np.abs(target[:time][known])[1:], known, state["memory"], state["usual"])
    return Normalised(
        transform=transform,
        season=season,
        effects=np.where(np.isfinite(before), before, z[:time][observed].mean()),
        observed=known,
        level=level,
        base=np.zeros(time),
        scale=scale,
        target=target,
        outlook=np.nan_to_num(outlook, nan=0.0),
        ready=np.ones(time, bool),
    )


@dataclass(frozen=True)
class Panel:
    """Normalised histories end to end; each takes its own points and `horizon` more."""

    offsets: Array  # (histories + 1,) into the flat arrays below
    lengths: Array  # (histories,) points up to the origin
    level: Array  # (points,) float32; 0 beyond the origin
    base: Array  # (points,) float32; 0 beyond the origin
    outlook: Array  # (points,) float32
    scale: Array  # (points,) float32; 1 beyond the origin
    observed: Array  # (points,) float32 0 or 1
    ready: Array  # (points,) bool, False beyond the origin
    target: Array  # (points,) float32, NaN = missing or unknown
    cycles: Array  # (points, cycles) float32
    dated: Array  # (histories,) bool
    seasonal: Array  # (histories,) float32 1 = a season was taken out
    static: Array  # (histories, static) float32 one-hot
    past: Array  # (points, past) float32 standardised, 0 beyond the origin
    future: Array  # (points, future) float32 standardised
    known: Array  # (points, 2) float32: any past, any future covariate is given here


def expand(covariates: Array, specs: Sequence[Json]) -> Array:
    """Raw covariates (points, columns) to standardised numbers and one-hot levels; missing is zero."""
    parts = [np.zeros((len(covariates), 0), np.float32)]
    for column, spec in zip(covariates.T, specs, strict=True):
        if spec["levels"]:
            parts.append((column[:, None] == np.arange(len(spec["levels"]))).astype(np.float32))
        else:
            scaled = np.nan_to_num((column - spec["mean"]) / spec["std"], nan=0.0)
            parts.append(np.clip(scaled, -10, 10).astype(np.float32)[:, None])
    return np.concatenate(parts, axis=1)  # (points, width)


def expanded_width(specs: Sequence[Json]) -> int:
    """How many inputs covariates take after `expand`."""
    return sum(len(spec["levels"]) or 1 for spec in specs)


def one_hot(codes: Array | None, specs: Sequence[Json]) -> Array:
    """Codes of the static columns to one-hot; an unknown level is all zero."""
    parts = [np.zeros(0, np.float32)]
    for place, spec in enumerate(specs):
        hot = np.zeros(len(spec["levels"]), np.float32)
        if codes is not None and codes[place] >= 0:
            hot[codes[place]] = 1
        parts.append(hot)
    return np.concatenate(parts)


def build_panel(
    state: Json, frequency: Frequency, histories: Sequence[History], keep: int | None = None
) -> tuple[Panel, list[Normalised]]:
    """Normalise histories and lay them end to end, only their last `keep` points if given."""
    normalised = [normalise(state, history) for history in histories]
    columns = [_columns(state, frequency, *pair, keep) for pair in zip(histories, normalised, strict=True)]
    flat = {name: np.concatenate([column[name] for column in columns]) for name in columns[0]}
    lengths = np.array([len(column["level"]) for column in columns], np.int64) - state["horizon"]
    panel = Panel(
        offsets=np.concatenate([[0], np.cumsum(lengths + state["horizon"])]),
        lengths=lengths,
        dated=np.array([history.start is not None for history in histories]),
        seasonal=np.array([entry.season > 0 for entry in normalised], np.float32),
        static=np.stack([one_hot(history.static, state["static"]) for history in histories]),
        **flat,
    )
    return panel, normalised


def _columns(
    state: Json, frequency: Frequency, history: History, entry: Normalised, keep: int | None
) -> dict[str, Array]:
    """The per-point arrays of one history."""
    time, horizon = len(history.values), state["horizon"]
    first = max(0, time - keep) if keep else 0
    size = time - first + horizon
    pad = np.zeros(horizon, np.float32)
    flat = {
        "level": np.concatenate([entry.level[first:].astype(np.float32), pad]),
        "base": np.concatenate([entry.base[first:].astype(np.float32), pad]),
        "outlook": entry.outlook[first:].astype(np.float32),
        "scale": np.concatenate([entry.scale[first:].astype(np.float32), pad + 1]),
        "observed": np.concatenate([entry.observed[first:].astype(np.float32), pad]),
        "ready": np.concatenate([entry.ready[first:], pad > 0]),
        "target": entry.target[first:].astype(np.float32),
        "cycles": np.zeros((size, state["cycles"]), np.float32),
        "past": np.zeros((size, expanded_width(state["past"])), np.float32),
        "future": np.zeros((size, expanded_width(state["future"])), np.float32),
        "known": np.zeros((size, 2), np.float32),
    }
    if history.start is not None and state["cycles"]:
        flat["cycles"][:] = frequency.cycles(np.arange(size, dtype=np.int64) + (history.start + first))
    if history.past is not None:
        flat["past"][: time - first] = expand(history.past[first:], state["past"])
        flat["known"][: time - first, 0] = np.isfinite(history.past[first:]).any(axis=1)
    if history.future is not None:
        flat["future"][:] = expand(history.future[first:], state["future"])
        flat["known"][:, 1] = np.isfinite(history.future[first:]).any(axis=1)
    return flat
