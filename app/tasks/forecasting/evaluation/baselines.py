"""Forecasts without a network, with quantiles, in the form of a version's predictions."""

from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np

from app.arrays import Array, Ints
from app.tasks.forecasting.evaluation.smoothing import Smoothed, exponential_smoothing, theta
from app.tasks.forecasting.metrics import naive_spread, seasonal_naive
from app.tasks.forecasting.panels.rows import end_aligned, fill_gaps
from app.typedefs import Json

MAX_FITTED_POINTS = 1_000  # of a series, the last ones, that smoothing is fitted to

# From histories (rows, time), NaN = missing, season, horizon and levels: points (rows, horizon) and quantiles
# (rows, horizon, levels).
Forecast = Callable[[Array, int, int, Sequence[float]], tuple[Array, Array]]
Smooth = Callable[[Array, Ints, int, int], Smoothed]


def repeat_season(values: Array, season: int, horizon: int, levels: Sequence[float]) -> tuple[Array, Array]:
    """The last observed season; quantiles by the errors that this has made before."""
    points = seasonal_naive(values, season, horizon)  # (rows, horizon)
    return points, points[..., None] + naive_spread(values, season, levels)[:, None]


def smoothed_by(smooth: Smooth) -> Forecast:
    """Forecasts of a method of smoothing, whose errors are taken as normal."""

    def forecast(values: Array, season: int, horizon: int, levels: Sequence[float]) -> tuple[Array, Array]:
        values = values[:, -MAX_FITTED_POINTS:]
        known = np.isfinite(values)
        first = known.argmax(axis=1)  # (rows,) first observed point
        lengths = np.where(known.any(axis=1), values.shape[1] - first, 1)
        filled = fill_gaps(np.where(known, values, 0.0), known)
        steps = np.minimum(first[:, None] + np.arange(values.shape[1]), values.shape[1] - 1)
        smoothed = smooth(np.take_along_axis(filled, steps, axis=1), lengths, season, horizon)
        normal = np.array([NormalDist().inv_cdf(level) for level in levels])
        return smoothed.means, smoothed.means[..., None] + smoothed.deviations[..., None] * normal

    return forecast


SEASONAL_NAIVE = "seasonal_naive"
FORECASTS: dict[str, Forecast] = {
    SEASONAL_NAIVE: repeat_season,
    "theta": smoothed_by(theta),
    "ets": smoothed_by(exponential_smoothing),
}


def forecast_all(
    name: str, pasts: Sequence[Array], season: int, horizon: int, levels: Sequence[float]
) -> list[Json]:
    """A prediction for each history (time,)."""
    predictions: list[Json] = [{} for _ in pasts]
    names = [str(level) for level in levels]
    for rows, values in end_aligned(pasts):
        points, quantiles = FORECASTS[name](values, season, horizon, levels)
        for row, point, by_step in zip(rows.tolist(), points.tolist(), quantiles, strict=True):
            by_level = dict(zip(names, by_step.T.tolist(), strict=True))
            predictions[row] = {"median": point, "quantiles": by_level}
    return predictions
