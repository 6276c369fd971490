"""Forecast accuracy as the forecasting competitions define it, and the seasonal naive baseline."""

from collections.abc import Sequence

import numpy as np

from app.arrays import Array
from app.tasks.forecasting.panels.transforms import MIN_SCALE


def smape_points(actual: Array, forecast: Array) -> Array:
    """Percent sMAPE of each point, 0..200: 200 |y - f| / (|y| + |f|), and 0 where both are 0 (M4)."""
    size = np.abs(actual) + np.abs(forecast)
    return np.asarray(
        np.where(size > 0, 200 * np.abs(actual - forecast) / np.where(size > 0, size, 1.0), 0.0)
    )


def naive_errors(values: Array, season: int) -> Array:
    """y_t - y_{t-season} for each pair of observed values, (pairs,)."""
    if len(values) <= season:
        return np.zeros(0)
    change = values[season:] - values[:-season]
    return np.asarray(change[np.isfinite(change)])


def naive_scale(values: Array, season: int) -> float:
    """In-sample mean absolute error of the seasonal naive forecast, the denominator of MASE.

    A series shorter than its season is measured at lag 1; without any pair of values the result is 0.
    Hyndman & Koehler (2006), "Another look at measures of forecast accuracy".
    """
    for lag in (season, 1):
        errors = naive_errors(values, lag)
        if len(errors):
            return float(np.abs(errors).mean())
    return 0.0


def seasonal_naive(values: Array, season: int, horizon: int) -> Array:
    """Forecast (horizon,) that repeats the last observed season.

    A phase of the season that was never observed takes the last observed value; without any it is 0.
    """
    observed = np.flatnonzero(np.isfinite(values))
    if not len(observed):
        return np.zeros(horizon)
    forecast = np.full(horizon, values[observed[-1]])
    phase = (len(values) + np.arange(horizon)) % season  # (horizon,)
    latest = np.full(season, -1)
    latest[observed % season] = observed  # ascending, so the last observation of a phase stays
    source = latest[phase]
    return np.asarray(np.where(source >= 0, values[np.maximum(source, 0)], forecast))


def pinball_loss(actual: Array, forecasts: Array, quantiles: Sequence[float]) -> Array:
    """Quantile loss of each point (horizon,), averaged over quantiles; forecasts (horizon, quantiles)."""
    error = actual[:, None] - forecasts  # (horizon, quantiles)
    levels = np.asarray(quantiles)
    return np.asarray(np.maximum(levels * error, (levels - 1) * error).mean(axis=1))


def best_season(series: Sequence[Array], seasons: Sequence[int]) -> int:
    """The season whose naive forecast fits best in sample; 1 if there is no candidate.

    The errors of each series are relative to those at lag 1, so that every series counts alike.
    """
    usable = [s for s in seasons if any(len(values) > 2 * s for values in series)]
    if len(usable) < 2:
        return usable[0] if usable else (min(seasons) if seasons else 1)
    scores = []
    for season in usable:
        pairs = [(naive_scale(v, season), naive_scale(v, 1)) for v in series if len(v) > 2 * max(usable)]
        ratios = [at_season / at_one for at_season, at_one in pairs if at_one > 0]
        scores.append(float(np.mean(ratios)) if ratios else np.inf)
    return usable[int(np.argmin(scores))]


class ForecastScores:
    """Accumulates the errors of forecasts; a metric without an observed point is left out of the result."""

    def __init__(self, quantiles: Sequence[float]) -> None:
        self._quantiles = list(quantiles)
        self._smape: list[Array] = []
        self._mase: list[float] = []
        self._pinball: list[float] = []
        self._covered: list[Array] = []

    def add(self, actual: Array, point: Array, quantiles: Array, scale: float) -> None:
        """Add one forecast: actual and point (horizon,), quantiles (horizon, quantiles), the scale of MASE.

        A scale too small to divide by leaves the forecast out of MASE and pinball.
        """
        observed = np.isfinite(actual)
        if not observed.any():
            return
        actual, point, quantiles = actual[observed], point[observed], quantiles[observed]
        self._smape.append(smape_points(actual, point))
        self._covered.append((actual >= quantiles[:, 0]) & (actual <= quantiles[:, -1]))
        if scale > MIN_SCALE:
            self._mase.append(float(np.abs(actual - point).mean()) / scale)
            self._pinball.append(float(pinball_loss(actual, quantiles, self._quantiles).mean()) / scale)

    def result(self) -> dict[str, float]:
        """Means over all forecasts.

        Points have a sMAPE in percent and a coverage by the outermost quantiles; forecasts have a MASE and a
        scaled pinball loss.
        """
        means: dict[str, float] = {}
        if self._smape:
            means["smape"] = float(np.concatenate(self._smape).mean())
            means["coverage"] = float(np.concatenate(self._covered).mean())
        if self._mase:
            means["mase"] = float(np.mean(self._mase))
            means["pinball"] = float(np.mean(self._pinball))
        return {name: round(value, 6) for name, value in means.items()}
