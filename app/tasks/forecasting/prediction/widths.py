"""How wide intervals are to be so that they cover what they say, by the forecasts at validation origins.

Conformalized quantile regression (Romano, Patterson & Candès 2019) with a factor instead of a term, as series
differ in size, by lead time.
"""

from collections.abc import Sequence

import numpy as np

from app.arrays import Array
from app.tasks.forecasting.prediction.tails import TAIL_SHARES, normal_reach

MIN_FORECASTS = 20  # values at neighbouring lead times, for a factor of their own
NEIGHBOURS = 6  # a lead time learns from those a sixth of the horizon before and after it
MAX_FACTOR = 3.0
PULL = 1.0  # origins of each series with which a factor counts half: all series share the shocks of one


class IntervalWidths:
    """Fits a factor for each lead time to the distance of quantiles from their median."""

    def __init__(self, levels: Sequence[float], horizon: int) -> None:
        self._levels, self._horizon = list(levels), horizon
        self._ratios: list[Array] = [np.zeros((0, horizon))]

    def add(self, actual: Array, quantiles: Array) -> None:
        """Add forecasts: actual (rows, horizon), NaN = unknown, and quantiles (rows, horizon, levels)."""
        median = quantiles[..., self._levels.index(0.5)]
        low, high = median - quantiles[..., 0], quantiles[..., -1] - median
        error = actual - median
        side = np.where(error > 0, high, low)
        known = np.isfinite(error) & (side > 0)
        self._ratios.append(np.where(known, np.abs(error) / np.where(known, side, 1.0), np.nan))

    def fit(self, origins: float) -> list[float]:
        """The factors (horizon,), nearer to 1 the fewer `origins` a series has; 1 for a median alone.

        Nothing becomes narrower: the epoch was chosen by these very errors, so that they are rather small,
        and one calm time says nothing about the next.
        """
        factors = np.ones(self._horizon)
        coverage = self._levels[-1] - self._levels[0]
        ratios = np.concatenate(self._ratios)
        if not self._levels[0] < 0.5 < self._levels[-1]:
            return factors.tolist()
        reach = self._horizon // NEIGHBOURS
        for lead in range(self._horizon):
            near = ratios[:, max(lead - reach, 0) : lead + reach + 1]
            near = near[np.isfinite(near)]
            if len(near) >= MIN_FORECASTS:
                factor = float(np.clip(np.quantile(near, coverage), 1.0, MAX_FACTOR))
                factors[lead] = factor ** (origins / (origins + PULL))
        return [round(float(factor), 6) for factor in factors]

    def fit_tails(self, factors: Sequence[float], origins: float) -> list[float]:
        """How much heavier than normal the tails are at each of `TAIL_SHARES`, with the widths `factors`.

        The same caution: nearer to 1 the fewer `origins` a series has, and never below. A tail with too few
        errors in it is as heavy as the one that encloses it.
        """
        outside = 1 - (self._levels[-1] - self._levels[0])
        ratios = np.concatenate(self._ratios) / np.asarray(factors)
        ratios = ratios[np.isfinite(ratios)]
        excess = [1.0]
        for share in TAIL_SHARES[1:]:
            if len(ratios) * outside * share < MIN_FORECASTS or not 0 < outside < 1:
                excess.append(excess[-1])
                continue
            reach = float(np.quantile(ratios, 1 - outside * share)) / normal_reach(outside / 2, share)
            excess.append(float(np.clip(reach, 1.0, MAX_FACTOR)) ** (origins / (origins + PULL)))
        return [round(one, 6) for one in excess]
