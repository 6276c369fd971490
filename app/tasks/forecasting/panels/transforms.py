"""The transforms that put values of any size on one scale: the logarithm, asinh, or plain division."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.arrays import Array
from app.tasks.forecasting.panels.rows import joined, row_sums

LOG, SIGNED, NONE = "log", "signed", "none"
ASINH_STEEPNESS = 10.0  # asinh turns from linear to logarithmic at a tenth of the mean magnitude
MAX_LOG, MIN_LOG_INPUT = 700.0, 1e-300  # exp stays finite in float64
MIN_SCALE = 1e-290  # dividing values of this size by it stays finite


@dataclass(frozen=True)
class Transforms:
    """Of each row z = log(y), asinh(y / unit) or y / unit; the unit frees the last two of the measure."""

    kind: str  # of the model: with LOG those rows take asinh that have a value which is not positive
    is_log: Array  # (rows,) bool
    units: Array  # (rows,)

    def forward(self, values: Array) -> Array:
        """Measured values (rows, …) to z; NaN stays NaN."""
        if self.kind == NONE:
            return np.asarray(values / self._units(values))
        if not self.is_log.any():
            return np.asarray(np.arcsinh(values / self._units(values)))
        logs: Array = np.log(np.maximum(values, MIN_LOG_INPUT))
        if not self.is_log.all():
            rest = np.flatnonzero(~self.is_log)
            logs[rest] = np.arcsinh(values[rest] / self._units(values)[rest])
        return logs

    def inverse(self, z: Array) -> Array:
        """Map any z (rows, …) to finite measured values; NaN becomes 0."""
        with np.errstate(over="ignore"):
            if self.kind == NONE:
                return np.asarray(np.nan_to_num(z * self._units(z), nan=0.0))
            limited = np.clip(z, -MAX_LOG, MAX_LOG)
            if not self.is_log.any():
                return np.asarray(np.nan_to_num(np.sinh(limited) * self._units(z), nan=0.0))
            values = np.exp(limited)
            if not self.is_log.all():
                rest = np.flatnonzero(~self.is_log)
                values[rest] = np.sinh(limited[rest]) * self._units(z)[rest]
            return np.asarray(np.nan_to_num(values, nan=0.0))

    def _units(self, values: Array) -> Array:
        """The units, to be multiplied with values (rows, …)."""
        return self.units.reshape(-1, *[1] * (values.ndim - 1))


def choose_transforms(values: Array, kind: str) -> Transforms:
    """The transform of each row (rows, time), NaN = missing.

    It is that of the model, but asinh instead of log where a value is not positive.
    """
    observed = np.isfinite(values)
    if kind == LOG:
        is_log = np.asarray(~(values <= 0).any(axis=1))
        if is_log.all():
            return Transforms(kind, is_log, np.ones(len(values)))
    else:
        is_log = np.zeros(len(values), bool)
    count = np.maximum(observed.sum(axis=1), 1)
    # Divided first, so that a mean cannot overflow.
    magnitude = row_sums(np.where(observed, np.abs(values), 0.0) / count[:, None])
    units = np.where(magnitude > 0, np.maximum(magnitude, MIN_SCALE), 1.0)
    units = units if kind == NONE else units / ASINH_STEEPNESS
    return Transforms(kind, is_log, np.where(is_log, 1.0, units))


def choose_transform_kind(series: Sequence[Array]) -> str:
    """The transform of a model: logs for positive series, asinh for non-negative ones, otherwise none.

    The majority of the series decides, so that one unusual series does not change how all others are read.
    """
    lows = np.concatenate([np.fmin.reduceat(values, starts) for values, starts in joined(series)])
    lows = lows[np.isfinite(lows)]  # without the series that have no value
    if np.mean(lows > 0) > 0.5:
        return LOG
    return SIGNED if np.mean(lows >= 0) > 0.5 else NONE
