"""What decoding a forecast needs of its history, as one row of numbers each."""

from dataclasses import dataclass

import numpy as np

from app.arrays import Array
from app.tasks.forecasting.panels.histories import Histories
from app.tasks.forecasting.panels.normalization import NormalizedHistories
from app.tasks.forecasting.panels.transforms import Transforms
from app.tasks.forecasting.prediction.expectation import MeanContext, concentration, historical_means
from app.tasks.forecasting.prediction.still import still_values
from app.tasks.forecasting.prediction.theta import theta_paths
from app.typedefs import Json

BASE, SCALE, UNIT, IS_LOG, LOWER_BOUND, STILL, IS_WHOLE, CONCENTRATED = range(8)  # columns
SCALARS = 8


@dataclass(frozen=True)
class ForecastTerms:
    """The terms of forecasts, a row each; rows from several instances can be put together."""

    rows: Array  # (rows, `terms_width`) float64
    horizon: int

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
        return self._over_horizon(0)

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
        return MeanContext(self.rows[:, IS_LOG] > 0, self.rows[:, CONCENTRATED], self._over_horizon(1))

    @property
    def path(self) -> Array:
        """The Theta method's forecast relative to the base, (rows, horizon); of a state that mixes it in."""
        return self._over_horizon(2)

    @property
    def spread(self) -> Array:
        """1 for a history that spreads, 0 for one that is concentrated on one value, (rows,)."""
        return np.asarray(1.0 - self.rows[:, CONCENTRATED])

    def transforms(self, state: Json) -> Transforms:
        """The transforms of the histories."""
        return Transforms(state["transform"], self.rows[:, IS_LOG] > 0, self.rows[:, UNIT])

    def _over_horizon(self, block: int) -> Array:
        start = SCALARS + block * self.horizon
        return self.rows[:, start : start + self.horizon]


def terms_width(state: Json) -> int:
    """Numbers in a row of terms: scalars, then the season, the mean and the path over the horizon."""
    return int(SCALARS + (3 if "theta" in state else 2) * state["horizon"])


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
    rows = np.zeros((len(lengths), terms_width(state)))
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
            rows[some, SCALARS + horizon : SCALARS + 2 * horizon] = means
    if "theta" in state:
        paths = theta_paths(normalized.level, lengths, horizon)
        rows[:, SCALARS + 2 * horizon :] = paths - rows[:, BASE, None]
    return ForecastTerms(rows, horizon)
