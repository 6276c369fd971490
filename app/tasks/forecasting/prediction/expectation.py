"""The mean of a forecast: what its quantiles and the history before it say about the expectation.

Quantiles alone do not have it. Where most values are zeros, a forecast's median is zero whatever the others
are, and with it perhaps every quantile; there the mean of the history says more. How much each counts is
settled on the validation data, from a prior that trusts the quantiles where a history spreads, and its mean
where it is concentrated on one value.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np

from app.arrays import Array
from app.tasks.forecasting.panels.rows import latest, phase_sums, row_sums

SLICES = 64  # of equal probability, over which quantiles are integrated
# Shares of the commonest value: below the first a history spreads, above the second it is concentrated.
MIN_SHARE, MAX_SHARE = 0.25, 0.5
MAX_LOG = 700.0  # exp stays finite in float64
PRIOR_WEIGHTS = (1.0, 0.0, 1.0)  # of the columns of `mean_terms`
PRIOR_DEVIATION = 0.25  # of each weight
MAX_WEIGHT = 1.5
CORRELATION = (
    2.0  # the errors of one forecast say less than as many independent ones: their variance counts more
)


@dataclass(frozen=True)
class MeanContext:
    """What the mean of a forecast needs to know of its history."""

    is_log: Array  # (rows,) bool, whether quantiles are interpolated between logarithms
    concentrated: Array  # (rows,) 0 to 1, how far the history is concentrated on one value
    past_mean: Array  # (rows, horizon) of the history


def mean_terms(quantiles: Array, levels: Sequence[float], context: MeanContext, lower_bound: Array) -> Array:
    """What may be added to the medians to have the means, (rows, horizon, 3); each column has a weight.

    The columns are the integral of the quantiles (rows, horizon, levels) less the median, where a history
    spreads and where it is concentrated, and the mean of the history less the median where it is
    concentrated. No value is below `lower_bound` (rows,). Terms of values near the largest float may not be
    finite.
    """
    median = quantiles[..., list(levels).index(0.5)]
    share = context.concentrated[:, None]
    terms = np.zeros((*median.shape, 3))
    with np.errstate(over="ignore", invalid="ignore"):
        integral = np.empty(median.shape)
        bounded = ~context.is_log & np.isfinite(lower_bound)
        for chosen in (context.is_log, bounded, ~context.is_log & ~bounded):
            rows = np.flatnonzero(chosen)
            if len(rows):
                part = quantiles if len(rows) == len(quantiles) else quantiles[rows]
                bound = lower_bound[rows] if chosen is bounded else None
                log = chosen is context.is_log
                integral[rows] = integrate_quantiles(part, levels, log=log, lower_bound=bound)
        integral -= median
        terms[..., 0] = (1 - share) * integral
        terms[..., 1] = share * integral
        terms[..., 2] = np.where(share > 0, share * (context.past_mean - median), 0.0)
    return terms


def integrate_quantiles(
    quantiles: Array, levels: Sequence[float], *, log: bool, lower_bound: Array | None = None
) -> Array:
    """The mean (rows, horizon) of the distributions that have these quantiles (rows, horizon, levels).

    Between the quantiles and beyond them a distribution is normal, with `log` lognormal; without it, what
    would be below the `lower_bound` of its row (rows,) is there.
    """
    if not log and lower_bound is None:
        return _weighted_sum(quantiles, _normal_weights(tuple(levels)))
    known = np.log(np.maximum(quantiles, np.finfo(np.float64).tiny)) if log else quantiles
    lower, upper, share = _slices(tuple(levels))
    values = known[..., lower] * (1 - share) + known[..., upper] * share  # (rows, horizon, slices)
    if log:
        values = np.exp(np.minimum(values, MAX_LOG))
    elif lower_bound is not None:
        values = np.maximum(values, lower_bound[:, None, None])
    return np.asarray(values.mean(axis=-1))


def _weighted_sum(quantiles: Array, weights: Sequence[float]) -> Array:
    """The sum (rows, horizon) over the levels, one after the other: the same whatever the other rows are."""
    total = quantiles[..., 0] * weights[0]
    for level, weight in enumerate(weights[1:], 1):
        total += quantiles[..., level] * weight
    return np.asarray(total)


@cache
def _normal_weights(levels: tuple[float, ...]) -> list[float]:
    """How much each quantile counts in the mean of all slices, where nothing bends them."""
    lower, upper, share = _slices(levels)
    weights = np.zeros(len(levels))
    np.add.at(weights, lower, 1 - share)
    np.add.at(weights, upper, share)
    return [float(weight) for weight in weights / SLICES]


@cache
def _slices(levels: tuple[float, ...]) -> tuple[Array, Array, Array]:
    """The quantiles below and above each slice, and how much the latter counts, (slices,) each.

    Values are linear between the normal scores of the levels.
    """
    if len(levels) == 1:
        return np.zeros(SLICES, np.int64), np.zeros(SLICES, np.int64), np.zeros(SLICES)
    normal = NormalDist()
    scores = np.array([normal.inv_cdf(level) for level in levels])
    edges = np.array([0.0, *(normal.pdf(normal.inv_cdf(k / SLICES)) for k in range(1, SLICES)), 0.0])
    centres = SLICES * (edges[:-1] - edges[1:])  # (slices,) mean of the normal distribution in each
    lower = np.clip(np.searchsorted(scores, centres) - 1, 0, len(scores) - 2)
    return lower, lower + 1, (centres - scores[lower]) / (scores[lower + 1] - scores[lower])


def historical_means(history: Array, lengths: Array, seasons: Array, horizon: int) -> Array:
    """The mean (rows, horizon) of what a history has at the same step of the season as each lead time.

    Histories (rows, time), NaN = missing, end at `lengths`. Without a season, which is 0 or 1, or a value at
    that step, it is the mean of all observed values.
    """
    observed = np.isfinite(history)
    largest = np.where(observed, np.abs(history), 0.0).max(axis=1, initial=0.0)
    unit = np.where(largest > 0, largest, 1.0)[:, None]
    values = np.where(observed, history, 0.0) / unit  # a sum cannot overflow
    overall = row_sums(values) / np.maximum(observed.sum(axis=1), 1)
    means = np.repeat(overall[:, None], horizon, axis=1)
    for season in set(seasons.tolist()) - {0, 1}:
        rows = np.flatnonzero(seasons == season)
        step = (lengths[rows, None] + np.arange(horizon)) % season  # (rows, horizon)
        total, count = (
            np.take_along_axis(phase_sums(part[rows], season), step, axis=1)
            for part in (values, observed.astype(np.int64))
        )
        means[rows] = np.where(count > 0, total / np.maximum(count, 1), means[rows])
    return np.asarray(means * unit)


def concentration(ascending: Array, counts: Array) -> Array:
    """How far histories are concentrated on one value, 0 to 1 (rows,).

    Their observed values (rows, time) come in ascending order, `counts` (rows,) of them.
    """
    column = np.arange(ascending.shape[1])
    is_new = np.ones(ascending.shape, bool)
    is_new[:, 1:] = ascending[:, 1:] != ascending[:, :-1]
    runs = np.where(column < counts[:, None], column + 1 - latest(is_new), 0)
    share = runs.max(axis=1) / np.maximum(counts, 1)  # of the commonest value
    return np.asarray(np.clip((share - MIN_SHARE) / (MAX_SHARE - MIN_SHARE), 0.0, 1.0))


def add_terms(median: Array, terms: Array, weights: Sequence[float]) -> Array:
    """The mean of forecasts (…,) from their terms (…, 3); the median where it is not finite."""
    first, second, third = weights
    with np.errstate(over="ignore", invalid="ignore"):
        mean = median + (terms[..., 0] * first + terms[..., 1] * second + terms[..., 2] * third)
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
