"""Forecast accuracy as the forecasting competitions define it, and the seasonal naive baseline."""

from collections.abc import Sequence

import numpy as np

from app.arrays import Array
from app.tasks.forecasting.panels.rows import end_aligned, row_sums
from app.tasks.forecasting.panels.transforms import MIN_SCALE
from app.typedefs import Json

WORST_SERIES = 10  # that are named


def smape_points(actual: Array, forecast: Array) -> Array:
    """Percent sMAPE of each point, 0..200: 200 |y - f| / (|y| + |f|), and 0 where both are 0 (M4)."""
    size = np.abs(actual) + np.abs(forecast)
    return np.asarray(
        np.where(size > 0, 200 * np.abs(actual - forecast) / np.where(size > 0, size, 1.0), 0.0)
    )


def naive_errors(values: Array, season: int) -> Array:
    """y_t - y_{t-season} of rows (rows, time), (rows, pairs); NaN where either value is missing."""
    return np.asarray(values[:, season:] - values[:, : max(values.shape[1] - season, 0)])


def naive_scales(values: Array, season: int) -> Array:
    """In-sample mean absolute error of the seasonal naive forecast, the denominator of MASE, (rows,).

    A row (rows, time) without a pair of values at its season is measured at lag 1; without any the result is
    0. Hyndman & Koehler (2006), "Another look at measures of forecast accuracy".
    """
    scales, rest = np.zeros(len(values)), np.arange(len(values))
    for lag in (season, 1):
        errors = naive_errors(values[rest], lag)
        known = np.isfinite(errors)
        counts = known.sum(axis=1)
        if errors.shape[1]:
            sums = row_sums(np.where(known, np.abs(errors), 0.0))
            scales[rest] = np.where(counts > 0, sums / np.maximum(counts, 1), 0.0)
        rest = rest[counts == 0]
    return scales


def naive_spread(values: Array, season: int, quantiles: Sequence[float]) -> Array:
    """Quantiles of the errors of the seasonal naive forecast in rows (rows, time), (rows, quantiles).

    0 for a row without any pair of values.
    """
    errors = np.sort(naive_errors(values, season), axis=1)  # NaN at the end
    counts = np.isfinite(errors).sum(axis=1)[:, None]
    if not errors.shape[1]:
        return np.zeros((len(values), len(quantiles)))
    position = np.asarray(quantiles) * np.maximum(counts - 1, 0)  # (rows, quantiles)
    lower = np.floor(position).astype(np.int64)
    upper = np.minimum(lower + 1, np.maximum(counts - 1, 0))
    below, above = (np.take_along_axis(errors, index, axis=1) for index in (lower, upper))
    return np.where(counts > 0, below + (position - lower) * (above - below), 0.0)


def seasonal_naive(values: Array, season: int, horizon: int) -> Array:
    """Forecasts (rows, horizon) that repeat the last observed season of rows (rows, time).

    A phase of the season that was never observed takes the last observed value; without any it is 0.
    """
    rows, time = values.shape
    padded = np.full((rows, -(-max(time, 1) // season) * season), np.nan)
    padded[:, padded.shape[1] - time :] = values
    by_phase = padded.reshape(rows, -1, season)  # (rows, cycles, season)
    last, latest = (_last_observed(one, axis=1) for one in (padded, by_phase))
    phases = np.where(np.isfinite(latest), latest, np.nan_to_num(last, nan=0.0)[:, None])  # (rows, season)
    return np.asarray(phases[:, np.arange(horizon) % season])


def _last_observed(values: Array, axis: int) -> Array:
    """The last entry along an axis that is finite, NaN where none is."""
    newest = values.shape[axis] - 1 - np.isfinite(np.flip(values, axis)).argmax(axis=axis, keepdims=True)
    return np.asarray(np.take_along_axis(values, newest, axis=axis).squeeze(axis))


def pinball_loss(actual: Array, forecasts: Array, quantiles: Sequence[float]) -> Array:
    """Quantile loss of each point (…,), averaged over quantiles; forecasts (…, quantiles)."""
    error = actual[..., None] - forecasts  # (…, quantiles)
    levels = np.asarray(quantiles)
    return np.asarray(np.maximum(levels * error, (levels - 1) * error).mean(axis=-1))


def best_season(series: Sequence[Array], seasons: Sequence[int]) -> int:
    """The season whose naive forecast fits best in sample; 1 if there is no candidate.

    The errors of each series are relative to those at lag 1, so that every series counts alike.
    """
    usable = [s for s in seasons if any(len(values) > 2 * s for values in series)]
    if len(usable) < 2:
        return usable[0] if usable else (min(seasons) if seasons else 1)
    ratios: dict[int, list[Array]] = {season: [] for season in usable}
    for _, values in end_aligned([values for values in series if len(values) > 2 * max(usable)]):
        at_one = naive_scales(values, 1)
        for season, parts in ratios.items():
            parts.append(naive_scales(values, season)[at_one > 0] / at_one[at_one > 0])
    scores = [np.concatenate(parts).mean() if any(map(len, parts)) else np.inf for parts in ratios.values()]
    return usable[int(np.argmin(scores))]


class ForecastScores:
    """Accumulates the errors of forecasts; a metric without an observed point is left out of the result."""

    def __init__(self, quantiles: Sequence[float]) -> None:
        self._quantiles = list(quantiles)
        self._smape: list[Array] = []
        self._mase: list[Array] = []
        self._pinball: list[Array] = []
        self._bias: list[Array] = []
        self._covered: list[Array] = []
        self._by_lead: list[Array] = []  # (2, horizon): covered points, and observed ones
        self._by_series: dict[str, list[float]] = {}  # MASE of each forecast

    def add(
        self, actual: Array, point: Array, quantiles: Array, scales: Array, names: Sequence[str] = ()
    ) -> None:
        """Add forecasts: actual and point (rows, horizon), quantiles (rows, horizon, quantiles).

        NaN is unknown. `scales` (rows,) are those of MASE; one too small to divide by leaves its forecast out
        of MASE, bias and pinball. `names` are those of the series (rows,), to name the worst ones.
        """
        observed = np.isfinite(actual)
        self._smape.append(smape_points(actual[observed], point[observed]))
        covered = (actual >= quantiles[..., 0]) & (actual <= quantiles[..., -1])
        self._covered.append(covered[observed])
        self._by_lead.append(np.stack([(covered & observed).sum(axis=0), observed.sum(axis=0)]))
        counts = observed.sum(axis=1)
        rows = np.flatnonzero((counts > 0) & (scales > MIN_SCALE))
        known, units = observed[rows], counts[rows] * scales[rows]
        actual, point, quantiles = np.where(known, actual[rows], 0.0), point[rows], quantiles[rows]
        errors = row_sums(np.where(known, np.abs(actual - point), 0.0)) / units
        self._mase.append(errors)
        self._bias.append(row_sums(np.where(known, point - actual, 0.0)) / units)
        for row, error in zip(rows.tolist() if names else (), errors.tolist(), strict=False):
            self._by_series.setdefault(str(names[row]), []).append(error)
        losses = pinball_loss(actual, quantiles, self._quantiles)
        self._pinball.append(row_sums(np.where(known, losses, 0.0)) / units)

    def result(self) -> Json:
        """Means over all forecasts.

        Points have a sMAPE in percent and a coverage by the outermost quantiles, also by lead; forecasts have
        a MASE, a bias (the signed error on its scale) and a scaled pinball loss. Series that were named have
        the worst ones of them, by their MASE.
        """
        parts = {
            "smape": self._smape,
            "coverage": self._covered,
            "mase": self._mase,
            "pinball": self._pinball,
            "bias": self._bias,
        }
        joint = {name: np.concatenate(part) for name, part in parts.items() if any(map(len, part))}
        result: Json = {name: round(float(values.mean()), 6) for name, values in joint.items()}
        if "coverage" in result:
            covered, observed = np.sum(self._by_lead, axis=0)
            shares = np.where(observed > 0, covered / np.maximum(observed, 1), np.nan).tolist()
            result["coverage_by_lead"] = [None if np.isnan(one) else round(one, 6) for one in shares]
        means = {name: round(float(np.mean(errors)), 6) for name, errors in self._by_series.items()}
        if means:
            worst = sorted(means, key=lambda name: -means[name])[:WORST_SERIES]
            result["worst_series"] = [{"item_id": name, "mase": means[name]} for name in worst]
        return result
