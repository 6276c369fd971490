"""What decoding a forecast needs of its history, as one row of numbers each."""

from dataclasses import dataclass

import numpy as np

from app.arrays import Array
from app.tasks.forecasting.panels.histories import Histories
from app.tasks.forecasting.panels.normalization import NormalizedHistories
from app.tasks.forecasting.panels.transforms import Transforms
from app.tasks.forecasting.prediction.expectation import MeanContext, concentration, historical_means
from app.tasks.forecasting.prediction.still import still_values
from app.typedefs import Json

BASE, SCALE, UNIT, IS_LOG, LOWER_BOUND, STILL, IS_WHOLE, CONCENTRATED = range(8)  # columns
SCALARS = 8


@dataclass(frozen=True)
class ForecastTerms:
    """The terms of forecasts, a row each; rows from several instances can be put together."""

    rows: Array  # (rows, SCALARS + 2 * horizon) float64

    @property
    def base(self) -> Array:
        """The level that the forecast is relative to, (rows,)."""
        return self.rows[:, BASE]

    @property
    def scale(self) -> Array:
        """What the outputs are multiplied with, (rows,)."""
        return self.rows[:, SCALE]

    @property
    def effects(self) -> Array:
        """The season over the horizon, (rows, horizon)."""
        return self.rows[:, SCALARS : SCALARS + self._horizon]

    @property
    def lower_bound(self) -> Array:
        """Of all forecasts, (rows,); -inf for none."""
        return self.rows[:, LOWER_BOUND]

    @property
    def still(self) -> Array:
        """The value of a series that never moved, (rows,); NaN of one that did."""
        return self.rows[:, STILL]

    @property
    def is_whole(self) -> Array:
        """Whether forecasts are whole numbers, (rows,) bool."""
        return self.rows[:, IS_WHOLE] > 0

    @property
    def mean_context(self) -> MeanContext:
        """What the mean needs to know."""
        past_mean = self.rows[:, SCALARS + self._horizon :]
        return MeanContext(self.rows[:, IS_LOG] > 0, self.rows[:, CONCENTRATED], past_mean)

    def transforms(self, state: Json) -> Transforms:
        """The transforms of the histories."""
        return Transforms(state["transform"], self.rows[:, IS_LOG] > 0, self.rows[:, UNIT])

    @property
    def _horizon(self) -> int:
        return (int(self.rows.shape[1]) - SCALARS) // 2


def forecast_terms(state: Json, histories: Histories, normalized: NormalizedHistories) -> ForecastTerms:
    """The terms of the forecasts that follow normalized histories.

    The lower bound is 0 if neither the history nor the training data has a negative value. Forecasts are
    whole numbers if the model's data are counts and the history has only whole numbers.
    """
    horizon, lengths = state["horizon"], histories.lengths
    index, last = np.arange(len(lengths)), lengths - 1
    ahead = lengths[:, None] + np.arange(horizon)
    history = normalized.history
    ascending = np.sort(history, axis=1)  # NaN at the end
    counts = np.isfinite(history).sum(axis=1)
    rows = np.zeros((len(lengths), SCALARS + 2 * horizon))
    rows[:, BASE], rows[:, SCALE] = normalized.base[index, last], normalized.scale[index, last]
    rows[:, UNIT], rows[:, IS_LOG] = normalized.transforms.units, normalized.transforms.is_log
    rows[:, SCALARS : SCALARS + horizon] = normalized.effects[index[:, None], ahead]
    rows[:, LOWER_BOUND] = np.where(ascending[:, 0] >= 0, 0.0, -np.inf) if state["non_negative"] else -np.inf
    rows[:, STILL] = still_values(state, history, ascending, counts)
    if state["counts"]:
        rows[:, IS_WHOLE] = (np.isnan(history) | (history == np.floor(history))).all(axis=1)
    if "mean" in state:
        rows[:, CONCENTRATED] = concentrated = concentration(ascending, counts)
        some = np.flatnonzero(concentrated)
        if len(some):
            means = historical_means(history[some], lengths[some], normalized.season[some], horizon)
            rows[some, SCALARS + horizon :] = means
    return ForecastTerms(rows)
