"""Theta and exponential smoothing of many series at once, their parameters by grid search.

Rows (rows, time) are gap-free and end at `lengths` (rows,). Seasonality is taken out before, where Naive2's
test sees it, and put back afterwards: as factors of positive series, else as terms. Variances are those of
models with additive errors (Hyndman, Koehler, Ord & Snyder 2008, "Forecasting with exponential smoothing").
"""

from dataclasses import dataclass

import numpy as np

from app.arrays import Array, Ints
from app.tasks.forecasting.panels.seasonality import are_seasonal, seasonal_indices

ALPHAS = np.linspace(0.02, 0.98, 25)  # of the level
TREND_ALPHAS, BETAS = np.linspace(0.05, 0.95, 10), np.array([0.02, 0.05, 0.1, 0.2, 0.4])
DAMPINGS = np.array([0.8, 0.9, 0.95, 0.98])
FIRST_POINTS = 10  # from which a level and a trend begin
LEVEL, TREND, DAMPED = 3, 5, 6  # parameters of each model: smoothing, initial state, variance
MIN_ERROR = 1e-12  # of a mean squared one, relative to the values' own, in its logarithm


@dataclass(frozen=True)
class Smoothed:
    """Forecasts and their standard deviations, both (rows, horizon)."""

    means: Array
    deviations: Array


@dataclass(frozen=True)
class SmoothingGrid:
    """Candidate models: smoothing of level and trend, damping, and how many parameters, each (models,)."""

    alpha: Array
    beta: Array
    damping: Array
    parameters: Ints

    @classmethod
    def of_levels(cls) -> "SmoothingGrid":
        """Simple exponential smoothing."""
        ones = np.ones(len(ALPHAS))
        return cls(ALPHAS, 0 * ones, ones, np.full(len(ALPHAS), LEVEL))

    @classmethod
    def of_all(cls) -> "SmoothingGrid":
        """A level alone, with a trend, and with a damped trend."""
        alpha, beta, damping = (
            axis.ravel() for axis in np.meshgrid(TREND_ALPHAS, BETAS, [1.0, *DAMPINGS], indexing="ij")
        )
        levels = cls.of_levels()
        return cls(
            np.concatenate([levels.alpha, alpha]),
            np.concatenate([levels.beta, beta]),
            np.concatenate([levels.damping, damping]),
            np.concatenate([levels.parameters, np.where(damping == 1, TREND, DAMPED)]),
        )


@dataclass(frozen=True)
class Seasons:
    """What is taken out of each row: factors or terms by step of the season, (rows, season)."""

    indices: Array
    is_factor: Array  # (rows,)

    def removed(self, values: Array) -> Array:
        """Rows (rows, time) without their seasons."""
        at = self.indices[:, np.arange(values.shape[1]) % self.indices.shape[1]]
        return np.where(self.is_factor[:, None], values / np.where(at == 0, 1.0, at), values - at)

    def added(self, forecasts: Smoothed, lengths: Ints) -> Smoothed:
        """Forecasts behind rows of these lengths, with their seasons."""
        steps = (lengths[:, None] + np.arange(forecasts.means.shape[1])) % self.indices.shape[1]
        at = np.take_along_axis(self.indices, steps, axis=1)
        factor = np.where(self.is_factor[:, None], at, 1.0)
        return Smoothed(
            forecasts.means * factor + np.where(self.is_factor[:, None], 0.0, at),
            forecasts.deviations * factor,
        )


def find_seasons(values: Array, lengths: Ints, season: int) -> Seasons:
    """The seasons of rows that pass Naive2's test; terms of zero for the others."""
    inside = np.arange(values.shape[1]) < lengths[:, None]
    is_factor = np.where(inside, values, 1.0).min(axis=1) > 0
    indices = np.zeros((len(values), max(season, 1)))
    rows = np.flatnonzero(are_seasonal(values, lengths, season))
    if len(rows):
        scaled = np.where(
            is_factor[rows, None], np.log(np.where(values > 0, values, 1.0))[rows], values[rows]
        )
        indices[rows] = seasonal_indices(scaled, inside[rows], lengths[rows], season)
    return Seasons(np.where(is_factor[:, None], np.exp(indices), indices), is_factor)


def theta(values: Array, lengths: Ints, season: int, horizon: int) -> Smoothed:
    """The classical Theta method (Assimakopoulos & Nikolopoulos 2000), with the lines 0 and 2."""
    seasons = find_seasons(values, lengths, season)
    adjusted = seasons.removed(values)
    intercept, slope = _trend(adjusted, lengths)
    line = intercept[:, None] + slope[:, None] * np.arange(values.shape[1])  # (rows, time)
    grid = SmoothingGrid.of_levels()
    curved = 2 * adjusted - line
    fit = _smooth(curved, lengths, grid, curved[:, 0], np.zeros(len(values)))
    best = fit.errors.argmin(axis=1)[:, None]
    ahead = lengths[:, None] + np.arange(horizon)
    level = np.take_along_axis(fit.level, best, axis=1)  # (rows, 1)
    means = 0.5 * (intercept[:, None] + slope[:, None] * ahead) + 0.5 * level
    variance = np.take_along_axis(fit.errors, best, axis=1) / 4  # half of the error is the line's
    growth = 1 + np.arange(horizon) * grid.alpha[best] ** 2
    return seasons.added(Smoothed(means, np.sqrt(variance * growth)), lengths)


def exponential_smoothing(values: Array, lengths: Ints, season: int, horizon: int) -> Smoothed:
    """The model of the lowest corrected Akaike criterion: a level, with a trend, or with a damped trend."""
    seasons, grid = find_seasons(values, lengths, season), SmoothingGrid.of_all()
    adjusted = seasons.removed(values)
    first = np.minimum(lengths, FIRST_POINTS)
    intercept, slope = _trend(adjusted, first)
    fit = _smooth(adjusted, lengths, grid, intercept - slope, slope)
    inside = np.arange(values.shape[1]) < lengths[:, None]
    size = np.where(inside, adjusted**2, 0.0).sum(axis=1) / lengths
    floor = np.maximum(MIN_ERROR * size, np.finfo(float).tiny)[:, None]
    spare = lengths[:, None] - grid.parameters - 1  # (rows, models)
    penalty = 2 * grid.parameters * (1 + (grid.parameters + 1) / np.maximum(spare, 1))
    criterion = lengths[:, None] * np.log(np.maximum(fit.errors, floor)) + penalty
    usable = (spare > 0) | (grid.parameters == LEVEL)
    best = np.where(usable, criterion, np.inf).argmin(axis=1)[:, None]
    alpha, beta, damping = grid.alpha[best], grid.beta[best], grid.damping[best]  # (rows, 1)
    sums = np.cumsum(damping ** np.arange(1, horizon + 1), axis=1)  # (rows, horizon)
    level, slopes = (np.take_along_axis(part, best, axis=1) for part in (fit.level, fit.trend))
    effect = alpha * (1 + beta * sums)  # of an error on the forecast so many steps later
    growth = 1 + np.concatenate([np.zeros((len(values), 1)), np.cumsum(effect**2, axis=1)[:, :-1]], axis=1)
    variance = np.take_along_axis(fit.errors, best, axis=1) * growth
    return seasons.added(Smoothed(level + sums * slopes, np.sqrt(variance)), lengths)


@dataclass(frozen=True)
class _Fit:
    errors: Array  # (rows, models) mean squared error one step ahead
    level: Array  # (rows, models) at the end
    trend: Array  # (rows, models)


def _smooth(values: Array, lengths: Ints, grid: SmoothingGrid, level: Array, trend: Array) -> _Fit:
    """Run every model over every row, from an initial level and trend (rows,)."""
    shape = (len(values), len(grid.alpha))
    levels = np.broadcast_to(level[:, None], shape).copy()
    trends = np.where(grid.parameters == LEVEL, 0.0, trend[:, None])
    levels = np.where(grid.parameters == LEVEL, values[:, :1], levels)
    errors = np.zeros(shape)
    for step in range(values.shape[1]):
        inside = (step < lengths)[:, None]
        ahead = levels + grid.damping * trends  # (rows, models)
        error = np.where(inside, values[:, step : step + 1] - ahead, 0.0)
        errors += error**2
        levels = np.where(inside, ahead + grid.alpha * error, levels)
        trends = np.where(inside, grid.damping * trends + grid.alpha * grid.beta * error, trends)
    return _Fit(errors / lengths[:, None], levels, trends)


def _trend(values: Array, lengths: Ints) -> tuple[Array, Array]:
    """The least squares line through the first `lengths` points of each row: value at 0, and slope."""
    steps = np.arange(values.shape[1])
    inside = steps < lengths[:, None]
    middle = (lengths - 1) / 2
    mean = np.where(inside, values, 0.0).sum(axis=1) / lengths
    centred = np.where(inside, steps - middle[:, None], 0.0)
    slope = (centred * np.where(inside, values, 0.0)).sum(axis=1) / np.maximum((centred**2).sum(axis=1), 1e-9)
    return mean - slope * middle, slope
