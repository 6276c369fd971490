"""Where a series is and how much it moves: a variance-taming transform, a causal level and a causal scale."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

LOG, SIGNED, NONE = "log", "signed", "none"
FINENESS = 10.0  # asinh turns from linear to logarithmic at a tenth of the mean magnitude
LOG_LIMIT, TINY = 700.0, 1e-300  # exp stays finite in float64
SMALLEST = 1e-290  # unit: dividing by it stays finite for values of its own size
FLOOR = 0.01  # of the usual scale: what a series that does not move is said to move


@dataclass(frozen=True)
class Transform:
    """z = log(y), asinh(y / unit) or y / unit; the unit makes the last two free of the measuring unit."""

    kind: str
    unit: float = 1.0

    def forward(self, values: Array) -> Array:
        """Measured values to z; NaN stays NaN."""
        if self.kind == LOG:
            return np.asarray(np.log(np.maximum(values, TINY)))
        scaled: Array = values / self.unit
        curved: Array = np.arcsinh(scaled) if self.kind == SIGNED else scaled
        return curved

    def inverse(self, z: Array) -> Array:
        """Map z to finite measured values."""
        limited = np.clip(z, -LOG_LIMIT, LOG_LIMIT)
        with np.errstate(over="ignore"):
            if self.kind == LOG:
                values: Array = np.exp(limited)
            else:
                values = (np.sinh(limited) if self.kind == SIGNED else z) * self.unit
        return np.nan_to_num(values, nan=0.0)


def transform_of(values: Array, kind: str) -> Transform:
    """The transform of one series; asinh for zeros or negatives where the model takes logs."""
    observed = values[np.isfinite(values)]
    if kind == LOG and (observed > 0).all():
        return Transform(LOG)
    magnitude = float((np.abs(observed) / max(len(observed), 1)).sum())  # a mean that cannot overflow
    unit = max(magnitude, SMALLEST) if magnitude > 0 else 1.0
    return Transform(NONE, unit) if kind == NONE else Transform(SIGNED, unit / FINENESS)


def choose_kind(series: list[Array]) -> str:
    """Logs for positive series, asinh for non-negative ones, nothing where values go below zero.

    A majority of the series decides, so one odd series does not change how all the others are read.
    """
    lows = np.array([np.nanmin(values) for values in series if np.isfinite(values).any()])
    if np.mean(lows > 0) > 0.5:
        return LOG
    return SIGNED if np.mean(lows >= 0) > 0.5 else NONE


def last_observed(observed: Array) -> Array:
    """For each position the index of the last observation up to there, or of the first one before any."""
    index = np.maximum.accumulate(np.where(observed, np.arange(len(observed)), -1))  # (time,)
    return np.where(index < 0, int(observed.argmax()), index)


def causal_scale(moves: Array, observed: Array, memory: int, usual: float) -> Array:
    """Mean of the last `memory` moves known at each position; `usual` before any.

    `moves` (observed - 1,) are absolute changes, each known from the second, third, … observation on. Half
    the weight is the mean of all moves so far: a quiet spell does not make the next move look huge.
    """
    totals = np.concatenate([[0.0], np.cumsum(moves)])  # (observed,)
    count = np.arange(len(totals))
    recent = np.minimum(count, memory)
    mean = 0.5 * (totals - totals[count - recent]) / np.maximum(recent, 1) + 0.5 * totals / np.maximum(
        count, 1
    )
    mean[:1] = usual
    seen = np.cumsum(observed)  # (time,)
    return np.asarray(np.maximum(mean[np.maximum(seen - 1, 0)], FLOOR * usual))
