"""Quantiles further out than those a network was trained for.

Beyond the outermost one a forecast's distance from its median grows as in a normal distribution, times what
the errors at validation origins say the tails are heavier than that.
"""

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from app.arrays import Array

TAIL_SHARES = (1.0, 0.5, 0.25, 0.1, 0.05)  # of the probability beyond the outermost quantile, descending
NORMAL_TAILS = [1.0] * len(TAIL_SHARES)  # factors of no effect
NORMAL = NormalDist()


def known_range(levels: Sequence[float], *, tails: bool) -> tuple[float, float]:
    """The lowest and the highest quantile that a forecast with these trained `levels` can answer."""
    low, high = levels[0], levels[-1]
    if tails and low < 0.5:
        low *= TAIL_SHARES[-1]
    if tails and high > 0.5:
        high = 1 - (1 - high) * TAIL_SHARES[-1]
    return low, high


def normal_reach(probability: float, share: float) -> float:
    """How much further from the median that share of a tail's probability begins than the tail, normally."""
    return NORMAL.inv_cdf(probability * share) / NORMAL.inv_cdf(probability)


def add_tails(
    levels: Sequence[float], moves: Array, requested: Sequence[float], excess: Sequence[float]
) -> tuple[list[float], Array]:
    """All levels in ascending order, and moves (rows, horizon, those), of which the trained ones are known.

    `excess` are the factors at `TAIL_SHARES`.
    """
    below = sorted({level for level in requested if level < levels[0]})
    above = sorted({level for level in requested if level > levels[-1]})
    if not below and not above:
        return list(levels), moves
    median = moves[..., list(levels).index(0.5), None]  # (rows, horizon, 1)
    low = [_reach(levels[0], level / levels[0], excess) for level in below]
    high = [_reach(1 - levels[-1], (1 - level) / (1 - levels[-1]), excess) for level in above]
    parts = (
        median + (moves[..., :1] - median) * np.array(low),
        moves,
        median + (moves[..., -1:] - median) * np.array(high),
    )
    return [*below, *levels, *above], np.concatenate(parts, axis=2)


def _reach(probability: float, share: float, excess: Sequence[float]) -> float:
    """How much further out a quantile is than the outermost trained one, whose tail has `probability`."""
    shares = np.log(TAIL_SHARES[::-1])  # ascending, as `interp` wants them
    return normal_reach(probability, share) * float(np.interp(np.log(share), shares, excess[::-1]))
