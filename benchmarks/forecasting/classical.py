"""Forecasts of a group without a network, by the product's own code for baselines."""

from collections.abc import Callable, Mapping

import numpy as np

from app.arrays import Array
from app.tasks.forecasting.evaluation.baselines import FORECASTS
from app.tasks.forecasting.evaluation.smoothing import Smoothed, find_seasons
from benchmarks.forecasting.competition import PERCENTS, Forecasts, Group

SIDES = [side for percent in PERCENTS for side in ((1 - percent / 100) / 2, (1 + percent / 100) / 2)]
Method = Callable[[Array, int, int], tuple[Array, Array]]


def naive2(values: Array, season: int, horizon: int) -> tuple[Array, Array]:
    """The last value without its season, where the test finds one; without intervals."""
    lengths = np.full(len(values), values.shape[1])
    seasons = find_seasons(values, lengths, season)
    last = np.repeat(seasons.removed(values)[:, -1:], horizon, axis=1)
    medians = seasons.added(Smoothed(last, np.zeros(last.shape)), lengths).means
    return medians, np.full((*medians.shape, len(SIDES)), np.nan)


def baseline(name: str) -> Method:
    """A baseline of evaluations, with its intervals."""

    def forecast(values: Array, season: int, horizon: int) -> tuple[Array, Array]:
        return FORECASTS[name](values, season, horizon, SIDES)

    return forecast


METHODS: Mapping[str, Method] = {
    "seasonal naive": baseline("seasonal_naive"),
    "Naive2": naive2,
    "Theta": baseline("theta"),
    "ETS": baseline("ets"),
}


def forecast(group: Group, method: Method) -> Forecasts:
    """A group's forecasts; series of the same length go together."""
    medians = np.zeros((len(group.pasts), group.horizon))
    sides = np.zeros((*medians.shape, len(SIDES)))
    for length in sorted({len(past) for past in group.pasts}):
        rows = [row for row, past in enumerate(group.pasts) if len(past) == length]
        values = np.stack([group.pasts[row] for row in rows])
        medians[rows], sides[rows] = method(values, group.season, group.horizon)
    bounds = {
        percent: (sides[..., 2 * place], sides[..., 2 * place + 1]) for place, percent in enumerate(PERCENTS)
    }
    return Forecasts(medians, bounds)
