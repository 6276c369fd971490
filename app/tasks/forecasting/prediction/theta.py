"""The Theta method for many histories at once: a smoothed level that goes on with half the linear trend.

Assimakopoulos & Nikolopoulos (2000), "The theta model: a decomposition approach to forecasting", in the form
of Hyndman & Billah (2003), "Unmasking the Theta method": simple exponential smoothing with half the trend.
"""

import numpy as np

from app.arrays import Array
from app.tasks.forecasting.panels.rows import row_sums

SMOOTHINGS = (0.2, 0.4, 0.7, 1.0)  # of which each history has the one with the least errors one step ahead
DRIFT_SHARE = 0.5  # of the linear trend

EQUAL_SHARE = 0.5  # of the method in a mixture with a network that is as good
FEW_FORECASTS = 20.0  # with so many the share is half of what it is with many
STEEPNESS = 1.0  # by how much the share is less where the method's errors are twice the network's


def theta_paths(level: Array, lengths: Array, horizon: int) -> Array:
    """Forecasts (rows, horizon) of gap-free levels (rows, time) without a season, that end at `lengths`.

    What is behind the end of a row must be finite, and changes nothing. A history shorter than the horizon
    has the less of a trend the shorter it is.
    """
    index, last = np.arange(len(level)), lengths - 1
    first = level[:, :1]
    moved = level - first  # a constant stays what it is, exactly
    levels = smoothed(moved)  # (smoothings, rows, time)
    errors = np.zeros(levels.shape)
    np.subtract(moved[:, 1:], levels[..., :-1], out=errors[..., 1:])
    errors *= errors
    best = np.cumsum(errors, axis=2)[:, index, last].argmin(axis=0)  # (rows,)
    smoothing = np.array(SMOOTHINGS)[best]
    behind = (1 - (1 - smoothing) ** lengths) / smoothing - 1  # steps that the level is behind a trend
    drift = DRIFT_SHARE * trends(moved, lengths) * np.minimum(1.0, last / horizon)
    ahead = behind[:, None] + np.arange(1, horizon + 1)
    return np.asarray(first + levels[best, index, last][:, None] + drift[:, None] * ahead)


def smoothed(values: Array) -> Array:
    """Exponential smoothing of rows (rows, time) that begin with 0, (smoothings, rows, time).

    By doubling: each pass adds what is twice as far back, so that no sum depends on how long other rows are.
    """
    smoothing = np.array(SMOOTHINGS)[:, None, None]
    levels, factor, step = smoothing * values, 1 - smoothing, 1
    while step < values.shape[1]:
        further = np.empty(levels.shape)
        further[..., :step] = levels[..., :step]
        np.multiply(levels[..., :-step], factor, out=further[..., step:])
        further[..., step:] += levels[..., step:]
        levels, factor, step = further, factor * factor, 2 * step
    return levels


def trends(values: Array, lengths: Array) -> Array:
    """The slope of the least squares line through each row (rows, time) up to its end, (rows,)."""
    time = np.arange(values.shape[1])
    inside = np.where(time < lengths[:, None], values, 0.0)
    middle = (lengths - 1) / 2
    products = row_sums(inside * (time - middle[:, None]))
    return np.asarray(products / np.where(lengths > 1, lengths * (lengths**2 - 1.0) / 12, 1.0))


class ThetaShare:
    """Settles the share of the Theta method in a mixture, by forecasts whose values are known."""

    def __init__(self) -> None:
        self._network = self._theta = self._forecasts = 0.0

    def add(self, actual: Array, median: Array, path: Array, scale: Array, weight: Array) -> None:
        """Add forecasts: actual, median and path (rows, horizon), NaN = unknown.

        Errors count in units of `scale` (rows,), and each row by its `weight` (rows,), 0 to 1.
        """
        factor = np.where(np.isfinite(actual), (weight / scale)[:, None], 0.0)
        actual = np.where(np.isfinite(actual), actual, 0.0)
        self._network += float((np.abs(actual - median) * factor).sum())
        self._theta += float((np.abs(actual - path) * factor).sum())
        self._forecasts += float(weight.sum())

    def fit(self) -> float:
        """The share: half where both are as good, and less where the method is worse or forecasts are few.

        It goes by the ratio of errors, not by the share that is best at the validation origins: what moves
        all series of a panel at once makes that one vary widely from one origin to the next.
        """
        if not self._network > 0:
            return 0.0
        share = np.clip(EQUAL_SHARE - STEEPNESS * (self._theta / self._network - 1), 0.0, EQUAL_SHARE)
        return round(float(share * self._forecasts / (self._forecasts + FEW_FORECASTS)), 6)
