"""The mean of a forecast: what its quantiles and the history before it say about the expectation.

Quantiles alone do not have it. Where most values are zeros, a forecast's median is zero whatever the others
are, and with it perhaps every quantile; there the mean of the history says more. How much each counts is
settled on the validation data, from a prior that trusts the quantiles where a history spreads, and its mean
where it is concentrated on one value.
"""

from collections.abc import Sequence
from functools import cache
from statistics import NormalDist

import numpy as np

from app.tasks.arrays import Array

SLICES = 64  # of equal probability, over which quantiles are integrated
MIN_SHARE, MAX_SHARE = (
    0.25,
    0.5,
)  # of the commonest value: below, a history spreads; above, it is concentrated
MAX_LOG = 700.0  # exp stays finite in float64
PRIOR_WEIGHTS = (1.0, 0.0, 1.0)  # of the columns of `mean_terms`
PRIOR_DEVIATION = 0.25  # of each weight
MAX_WEIGHT = 1.5
CORRELATION = (
    2.0  # the errors of one forecast say less than as many independent ones: their variance counts more
)


def mean_terms(
    quantiles: Array, levels: Sequence[float], history: Array, season: int, *, log: bool, lower_bound: float
) -> Array:
    """What may be added to the median to have the mean, (horizon, 3); each column has a weight.

    The columns are the integral of the quantiles (horizon, levels) less the median, where the history (time,)
    spreads and where it is concentrated, and the mean of the history less the median where it is
    concentrated. `season` is 0 without one; `log` interpolates between logarithms; no value is below
    `lower_bound`. Terms of values near the largest float may not be finite.
    """
    horizon = len(quantiles)
    median = quantiles[:, list(levels).index(0.5)]
    share = _commonest_share(history)
    concentrated = min(max((share - MIN_SHARE) / (MAX_SHARE - MIN_SHARE), 0.0), 1.0)
    with np.errstate(over="ignore", invalid="ignore"):
        integral = integrate_quantiles(quantiles, levels, log=log, lower_bound=lower_bound) - median
        past = historical_mean(history, season, horizon) - median if concentrated else np.zeros(horizon)
        return np.stack([(1 - concentrated) * integral, concentrated * integral, concentrated * past], axis=1)


def integrate_quantiles(
    quantiles: Array, levels: Sequence[float], *, log: bool, lower_bound: float = -np.inf
) -> Array:
    """The mean (horizon,) of the distributions that have these quantiles (horizon, levels).

    Between the quantiles and beyond them a distribution is normal, with `log` lognormal; what would be below
    `lower_bound` is there.
    """
    known = np.log(np.maximum(quantiles, np.finfo(np.float64).tiny)) if log else quantiles
    values = known @ _slice_weights(tuple(levels))  # (horizon, slices)
    measured = np.exp(np.minimum(values, MAX_LOG)) if log else np.maximum(values, lower_bound)
    return np.asarray(measured.mean(axis=1))


@cache
def _slice_weights(levels: tuple[float, ...]) -> Array:
    """How much each quantile counts in each slice, (levels, slices): linear between their normal scores."""
    if len(levels) == 1:
        return np.ones((1, SLICES))
    normal = NormalDist()
    scores = np.array([normal.inv_cdf(level) for level in levels])
    edges = np.array([0.0, *(normal.pdf(normal.inv_cdf(k / SLICES)) for k in range(1, SLICES)), 0.0])
    centres = SLICES * (edges[:-1] - edges[1:])  # (slices,) mean of the normal distribution in each
    lower = np.clip(np.searchsorted(scores, centres) - 1, 0, len(scores) - 2)
    share = (centres - scores[lower]) / (scores[lower + 1] - scores[lower])
    weights = np.zeros((len(levels), SLICES))
    weights[lower, np.arange(SLICES)] = 1 - share
    weights[lower + 1, np.arange(SLICES)] = share
    return weights


def historical_mean(history: Array, season: int, horizon: int) -> Array:
    """The mean (horizon,) of what a history (time,) has at the same step of the season as each lead time.

    Without a season, or a value at that step, it is that of all observed values.
    """
    observed = np.isfinite(history)
    unit = float(np.abs(history[observed]).max(initial=0.0)) or 1.0
    values = np.where(observed, history, 0.0) / unit  # a sum cannot overflow
    means = np.full(horizon, values.sum() / max(int(observed.sum()), 1))
    if season > 1:
        phase = np.arange(len(history) + horizon) % season
        count = np.bincount(phase[: len(history)], observed, season)[phase[len(history) :]]
        total = np.bincount(phase[: len(history)], values, season)[phase[len(history) :]]
        means = np.where(count > 0, total / np.maximum(count, 1), means)
    return np.asarray(means * unit)


def _commonest_share(history: Array) -> float:
    """Share of the observed values of a history that are its most frequent value."""
    observed = np.sort(history[np.isfinite(history)])
    first = np.flatnonzero(np.concatenate([[True], observed[1:] != observed[:-1], [True]]))
    return float(np.diff(first).max(initial=0)) / max(len(observed), 1)


def add_terms(median: Array, terms: Array, weights: Sequence[float]) -> Array:
    """The mean (horizon,) of forecasts; the median where it is not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean = median + terms @ np.asarray(weights)
    return np.where(np.isfinite(mean), mean, median)


class MeanWeights:
    """Fits the weights of `mean_terms` to forecasts whose values are known."""

    def __init__(self) -> None:
        self._terms: list[Array] = []
        self._errors: list[Array] = []

    def add(self, actual: Array, median: Array, terms: Array, history: Array) -> None:
        """Add a forecast: actual and median (horizon,), NaN = unknown, terms (horizon, 3)."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            scale = np.nanstd(history)
            scaled, errors = terms / scale, (actual - median) / scale
        usable = np.isfinite(errors) & np.isfinite(scaled).all(axis=1)
        self._terms.append(scaled[usable])
        self._errors.append(errors[usable])

    def fit(self) -> list[float]:
        """The weights: a ridge regression towards `PRIOR_WEIGHTS`."""
        prior = np.array(PRIOR_WEIGHTS)
        terms = np.concatenate([np.zeros((0, len(prior))), *self._terms])  # (points, 3)
        errors = np.concatenate([np.zeros(0), *self._errors]) - terms @ prior  # (points,)
        noise = CORRELATION * float((errors**2).mean()) if len(errors) else 0.0
        if noise <= 0:
            return list(PRIOR_WEIGHTS)
        precision = terms.T @ terms / noise + np.eye(len(prior)) / PRIOR_DEVIATION**2
        weights = prior + np.linalg.solve(precision, terms.T @ errors / noise)
        return [round(float(weight), 6) for weight in np.clip(weights, 0.0, MAX_WEIGHT)]
