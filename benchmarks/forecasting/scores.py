"""How good forecasts of a group are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.arrays import Array
from app.tasks.forecasting.metrics import smape_points
from benchmarks.forecasting.competition import Forecasts, Group


@dataclass(frozen=True)
class Score:
    """Of one forecast of a group; all but sMAPE and coverage are in units of the group's scales."""

    points: Array  # (series * horizon,) sMAPE of each
    mase: float
    bias: float  # the mean of forecast minus actual
    msis: Mapping[int, float]  # by percent
    coverage: Mapping[int, Array]  # by percent, of each lead time (horizon,)

    @property
    def smape(self) -> float:
        """Over points."""
        return float(self.points.mean())


def score(group: Group, forecasts: Forecasts) -> Score:
    """Compare forecasts with what came."""
    actual, scales = group.actual, group.scales[:, None]
    errors = (forecasts.median - actual) / scales
    msis, coverage = dict[int, float](), dict[int, Array]()
    for percent, (low, high) in forecasts.bounds.items():
        missed = np.maximum(low - actual, 0) + np.maximum(actual - high, 0)
        penalty = 2 / (1 - percent / 100)  # Gneiting & Raftery (2007), as in the M4 competition
        msis[percent] = float(((high - low + penalty * missed) / scales).mean())
        coverage[percent] = np.asarray(((low <= actual) & (actual <= high)).mean(axis=0))
    points = smape_points(actual, forecasts.median).ravel()
    return Score(points, float(np.abs(errors).mean()), float(errors.mean()), msis, coverage)


def spread(values: Sequence[float], digits: int = 2) -> str:
    """The mean of some runs, and the least and the largest of them."""
    mean = f"{np.mean(values):.{digits}f}"
    if len(values) < 2:
        return mean
    return f"{mean} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def scaled(scores: Sequence[Score]) -> str:
    """MASE / signed error / MSIS of each percentage, means of some runs."""
    parts = [f"{np.mean([one.mase for one in scores]):.3f}", f"{np.mean([one.bias for one in scores]):+.2f}"]
    parts += [f"{np.mean([one.msis[percent] for one in scores]):.2f}" for percent in scores[0].msis]
    return " / ".join(parts)


def covered(scores: Sequence[Score], percent: int) -> str:
    """The coverage, and the least and the largest of a lead time, means of some runs."""
    by_lead = np.mean([one.coverage[percent] for one in scores], axis=0)
    return f"{by_lead.mean():.2f} ({by_lead.min():.2f}–{by_lead.max():.2f})"
