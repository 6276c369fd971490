"""Bootstrap intervals of metrics that are functions of sums, in one pass and in memory of constant size.

Each unit, such as a series, gets an independent Poisson(1) weight in each resample: the limit of drawing as
many units with replacement as there are (Hanley & MacGibbon 2006, "Creating non-parametric bootstrap samples
using Poisson frequencies"). Weights depend on the seed and the unit's number alone, so that versions are
compared on the same resamples, and an evaluation that goes on after an interruption has the same ones.
"""

import numpy as np

from app.arrays import Array, Ints
from app.typedefs import Json

RESAMPLES = 1_000
CONFIDENCE = 0.95
BLOCK_UNITS = 256  # whose weights are drawn together
MIN_UNITS = 2  # of fewer nothing can be said about their spread
MIN_DEFINED_SHARE = 0.5  # of the resamples, for an interval
DIGITS = 6  # significant ones of a figure that is stored


class Resampler:
    """Weights of units: row 0 is the data itself, each other row is a resample."""

    def __init__(self, seed: int, resamples: int = RESAMPLES) -> None:
        self.rows = 1 + resamples
        self._seed, self._resamples = seed, resamples
        self._block: tuple[int, Array] = -1, np.zeros((resamples, 0))

    def weights(self, units: Ints) -> Array:
        """Weights (1 + resamples, n) of the units (n,), which are fastest in rising order."""
        weights = np.ones((self.rows, len(units)))
        blocks = units // BLOCK_UNITS
        for block in np.unique(blocks).tolist():
            columns = np.flatnonzero(blocks == block)
            weights[1:, columns] = self._draw(block)[:, units[columns] % BLOCK_UNITS]
        return weights

    def _draw(self, block: int) -> Array:
        if self._block[0] != block:
            rng = np.random.default_rng([self._seed, block])
            self._block = block, rng.poisson(1.0, (self._resamples, BLOCK_UNITS))
        return self._block[1]


def estimate(values: Array, units: int) -> Json:
    """The value and its 95 % interval by percentiles, of a metric (1 + resamples,); None where undefined."""
    value, resampled = values[0], values[1:][np.isfinite(values[1:])]
    has_interval = units >= MIN_UNITS and len(resampled) >= MIN_DEFINED_SHARE * (len(values) - 1)
    tail = 50 * (1 - CONFIDENCE)
    low, high = (
        np.percentile(resampled, [tail, 100 - tail]) if has_interval and len(resampled) else [np.nan] * 2
    )
    return {"value": rounded(value), "low": rounded(low), "high": rounded(high)}


def rounded(value: float) -> float | None:
    """A figure with six significant digits; None for what is no finite number."""
    return float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None


def ratio(numerator: Array, denominator: Array) -> Array:
    """A quotient of sums (resamples,), NaN where the denominator is 0."""
    safe = np.where(denominator == 0, 1.0, denominator)
    return np.where(denominator == 0, np.nan, numerator / safe)
