"""Histories on the network's scale: transformed, without their season, with a level and a scale."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.arrays import Array
from app.tasks.forecasting.panels.rows import fill_gaps, latest_or_first, row_sums
from app.tasks.forecasting.panels.seasonality import detect_seasons, previous_season
from app.tasks.forecasting.panels.transforms import Transforms, choose_transforms
from app.typedefs import Json

MIN_RELATIVE_SCALE = 0.01  # of the median scale, for a series that does not move


@dataclass(frozen=True)
class NormalizedHistories:
    """Padded histories: z = effects + level, forecast = effects + base + output * scale.

    What is behind the end of a history means nothing, but for effects and target over its horizon.
    """

    transforms: Transforms
    history: Array  # (rows, time) measured values, NaN = missing
    season: Array  # (rows,) points in a season; 0 = none
    effects: Array  # (rows, time + horizon) seasonal component of z
    observed: Array  # (rows, time) bool
    level: Array  # (rows, time) z without its season; the last observed one where missing
    base: Array  # (rows, time) level that forecasts made here are relative to
    scale: Array  # (rows, time) causal mean absolute move
    target: Array  # (rows, time + horizon) z without its season, NaN = missing or unknown
    seasonal_change: Array  # (rows, time + horizon) usual season minus the last one
    trainable: Array  # (rows, time) bool, enough is observed to train on forecasts made here


def base_seasons(state: Json, lengths: Array, observed: Array) -> Array:
    """The season whose naive forecast each history (n,) is relative to; 0 where it is the last level.

    `observed` counts the observed values of each.
    """
    seasons = np.zeros(len(lengths), np.int64)
    for season in reversed(state["bases"]):
        seasons[(lengths >= season) & (observed > 0)] = season
    return seasons


def normalize(state: Json, values: Array, lengths: Array, base_season: int) -> NormalizedHistories:
    """Transform histories, remove their season, and find the level and scale at every position.

    The histories (rows, time + horizon) have the same `base_seasons`; each ends at its length (rows,), and
    its targets follow. Level and scale at a position depend on no later value.
    """
    time = values.shape[1] - state["horizon"]
    history = np.where(np.arange(time) < lengths[:, None], values[:, :time], np.nan)
    transforms = choose_transforms(history, state["transform"])
    z = transforms.forward(values)
    if base_season:
        return _normalize_by_last_season(state, transforms, history, z, lengths, base_season)
    return _normalize_by_level(state, transforms, history, z, lengths)


def _normalize_by_level(
    state: Json, transforms: Transforms, history: Array, z: Array, lengths: Array
) -> NormalizedHistories:
    """Remove the seasonal indices if the test finds a season; forecasts are relative to the last level."""
    time, observed = history.shape[1], np.isfinite(history)
    has_gaps = bool((observed.sum(axis=1) != lengths).any())
    past = np.where(observed, z[:, :time], 0.0)
    season, effects = _seasonal_effects(
        past, observed, lengths, state["seasons"], z.shape[1], has_gaps=has_gaps
    )
    target = z - effects if season.any() else z
    level = np.where(observed, target[:, :time], 0.0)
    if has_gaps:
        level = np.take_along_axis(level, latest_or_first(observed), axis=1)
    moves = np.zeros(level.shape)
    moves[:, 1:] = np.abs(level[:, 1:] - level[:, :-1])
    if not has_gaps:  # what is behind the end of a row did not move
        moves[~observed] = 0.0
    scale, count = causal_scales(moves, observed, state["memory"], state["usual"], has_gaps=has_gaps)
    return NormalizedHistories(
        transforms=transforms,
        history=history,
        season=season,
        effects=effects,
        observed=observed,
        level=level,
        base=level,
        scale=scale,
        target=target,
        seasonal_change=np.zeros(z.shape),
        trainable=np.broadcast_to(count >= 1, observed.shape),
    )


def _seasonal_effects(
    past: Array, observed: Array, lengths: Array, seasons: Sequence[int], width: int, *, has_gaps: bool
) -> tuple[Array, Array]:
    """The season (rows,) of histories z (rows, time), and its effects (rows, width); 0 for none."""
    season, effects = np.zeros(len(past), np.int64), np.zeros((len(past), width))
    if has_gaps and seasons:
        past = np.where(np.arange(past.shape[1]) < lengths[:, None], fill_gaps(past, observed), 0.0)
    for points, (rows, indices) in detect_seasons(past, observed, lengths, seasons).items():
        season[rows] = points
        effects[rows] = indices[:, np.arange(width) % points]
    return season, effects


def _normalize_by_last_season(
    state: Json, transforms: Transforms, history: Array, z: Array, lengths: Array, season: int
) -> NormalizedHistories:
    """Subtract the season before; forecasts are relative to the seasonal naive forecast."""
    time, observed = history.shape[1], np.isfinite(history)
    past = np.where(observed, z[:, :time], np.nan)
    before, seasonal_change = previous_season(past, season, z.shape[1])
    target = z - before  # NaN without a value one season before
    known = observed & np.isfinite(before[:, :time])
    level = np.take_along_axis(np.where(known, target[:, :time], 0.0), latest_or_first(known), axis=1)
    seen = np.cumsum(known, axis=1)
    level = np.where(seen > 0, level, 0.0)
    moves = np.where(known & (seen > 1), np.abs(target[:, :time]), 0.0)
    scale, _ = causal_scales(moves, known, state["memory"], state["usual"], has_gaps=True)
    mean = row_sums(np.where(observed, past, 0.0)) / np.maximum(observed.sum(axis=1), 1)
    return NormalizedHistories(
        transforms=transforms,
        history=history,
        season=np.full(len(z), season),
        effects=np.where(np.isfinite(before), before, mean[:, None]),
        observed=known,
        level=level,
        base=np.zeros(level.shape),
        scale=scale,
        target=target,
        seasonal_change=np.nan_to_num(seasonal_change, nan=0.0),
        trainable=np.arange(time) < lengths[:, None],
    )


def causal_scales(
    moves: Array, observed: Array, memory: int, default: float, *, has_gaps: bool
) -> tuple[Array, Array]:
    """Mean absolute move known at each position, (rows, time), and how many moves were before it.

    It is `default` before the first move. `moves` (rows, time) are absolute changes, 0 at the first
    observation and where nothing is observed. Half the weight is on the last `memory` moves and half on all
    of them, so that after a quiet spell the next move does not look huge. Without gaps rows are observed up
    to their end.
    """
    totals = np.cumsum(moves, axis=1)
    if has_gaps:
        count = np.maximum(np.cumsum(observed, axis=1) - 1, 0)
        recent = np.minimum(count, memory)
        of_count = np.zeros(moves.shape)  # the total after so many moves
        rows, columns = np.nonzero(observed)
        of_count[rows, count[rows, columns]] = totals[rows, columns]
        earlier = np.take_along_axis(of_count, count - recent, axis=1)
    else:
        count = np.arange(moves.shape[1])[None]
        recent = np.minimum(count, memory)
        earlier = np.zeros(moves.shape)
        earlier[:, memory:] = totals[:, : max(moves.shape[1] - memory, 0)]
    mean = 0.5 * (totals - earlier) / np.maximum(recent, 1) + 0.5 * totals / np.maximum(count, 1)
    mean = np.where(count > 0, mean, default)
    return np.maximum(mean, MIN_RELATIVE_SCALE * default), count
