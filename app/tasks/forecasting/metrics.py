"""How good forecasts are, as the forecasting competitions count it, and the naive forecasts to beat."""

from collections.abc import Sequence

import numpy as np

from app.tasks.contract import Array

SMALLEST = 1e-290  # scale: errors divided by less may overflow


def smape_points(actual: Array, forecast: Array) -> Array:
    """200 |y - f| / (|y| + |f|) per point, 0 where both are 0 (M4 formula, percent, 0..200)."""
    size = np.abs(actual) + np.abs(forecast)
    return np.asarray(
        np.where(size > 0, 200 * np.abs(actual - forecast) / np.where(size > 0, size, 1.0), 0.0)
    )


def naive_errors(values: Array, season: int) -> Array:
    """y_t - y_{t-season} over the pairs in which both are observed."""
    if len(values) <= season:
        return np.zeros(0)
    change = values[season:] - values[:-season]
    return np.asarray(change[np.isfinite(change)])


def naive_scale(values: Array, season: int) -> float:
    """In-sample mean absolute seasonal-naive error, at lag 1 for a shorter series; 0 if unknown.

    The denominator of MASE: Hyndman & Koehler (2006), "Another look at measures of forecast accuracy".
    """
    for lag in (season, 1):
        errors = naive_errors(values, lag)
        if len(errors):
            return float(np.abs(errors).mean())
    return 0.0


def seasonal_naive(values: Array, season: int, horizon: int) -> Array:
    """The last observed value at the same place in the season, or the last observed one at all."""
    observed = np.flatnonzero(np.isfinite(values))
    if not len(observed):
        return np.zeros(horizon)
    forecast = np.full(horizon, values[observed[-1]])
    position = (len(values) + np.arange(horizon)) % season  # (horizon,)
    latest = np.full(season, -1)
    latest[observed % season] = observed  # ascending, so the last one stays
    found = latest[position]
    return np.asarray(np.where(found >= 0, values[np.maximum(found, 0)], forecast))


def pinball(actual: Array, forecasts: Array, quantiles: Sequence[float]) -> Array:
    """Quantile loss per point (horizon,), averaged over quantiles; forecasts (horizon, quantiles)."""
    error = actual[:, None] - forecasts  # (horizon, quantiles)
    levels = np.asarray(quantiles)
    return np.asarray(np.maximum(levels * error, (levels - 1) * error).mean(axis=1))


def best_season(series: Sequence[Array], seasons: Sequence[int]) -> int:
    """The season whose naive forecast fits best in sample, over series on their own scales; 1 if none."""
    usable = [s for s in seasons if any(len(values) > 2 * s for values in series)]
    if len(usable) < 2:
        return usable[0] if usable else (min(seasons) if seasons else 1)
    scores = []
    for season in usable:
        pairs = [(naive_scale(v, season), naive_scale(v, 1)) for v in series if len(v) > 2 * max(usable)]
        ratios = [at_season / at_one for at_season, at_one in pairs if at_one > 0]
        scores.append(float(np.mean(ratios)) if ratios else np.inf)
    return usable[int(np.argmin(scores))]


class Scores:
    """Gathers errors point by point; what cannot be said (no observed point) is left out of the result."""

    def __init__(self, quantiles: Sequence[float]) -> None:
        self._quantiles = list(quantiles)
        self._smape: list[Array] = []
        self._mase: list[float] = []
        self._pinball: list[float] = []
        self._inside: list[Array] = []

    def add(self, actual: Array, point: Array, quantiles: Array, scale: float) -> None:
        """One forecast: actual and point (horizon,), quantiles (horizon, quantiles), the scale of MASE."""
        seen = np.isfinite(actual)
        if not seen.any():
            return
        actual, point, quantiles = actual[seen], point[seen], quantiles[seen]
        self._smape.append(smape_points(actual, point))
        self._inside.append((actual >= quantiles[:, 0]) & (actual <= quantiles[:, -1]))
        if scale > SMALLEST:
            self._mase.append(float(np.abs(actual - point).mean()) / scale)
            self._pinball.append(float(pinball(actual, quantiles, self._quantiles).mean()) / scale)

    def result(self) -> dict[str, float]:
        """Percent sMAPE over points, MASE and scaled pinball over forecasts, share inside the quantiles."""
        found: dict[str, float] = {}
        if self._smape:
            found["smape"] = float(np.concatenate(self._smape).mean())
            found["coverage"] = float(np.concatenate(self._inside).mean())
        if self._mase:
            found["mase"] = float(np.mean(self._mase))
            found["pinball"] = float(np.mean(self._pinball))
        return {name: round(value, 6) for name, value in found.items()}
