"""What forecasts at validation origins say about a version: the Theta method's share, widths, the mean."""

from collections.abc import Iterator, Sequence

import numpy as np

from app.arrays import Floats, Ints
from app.tasks.forecasting.panels.histories import Histories
from app.tasks.forecasting.panels.panel import normalized_chunks
from app.tasks.forecasting.prediction.answers import (
    forecast_mean_terms,
    forecast_moves,
    forecast_quantiles,
    forecast_targets,
)
from app.tasks.forecasting.prediction.expectation import MeanWeights
from app.tasks.forecasting.prediction.terms import ForecastTerms, forecast_terms
from app.tasks.forecasting.prediction.theta import ThetaShare
from app.tasks.forecasting.prediction.widths import IntervalWidths
from app.tasks.forecasting.sampling import ForecastOrigins
from app.typedefs import Json

MAX_ORIGINS = 500  # enough to calibrate with


def terms_of(
    state: Json, origins: ForecastOrigins, rows: Ints
) -> Iterator[tuple[Ints, Histories, ForecastTerms]]:
    """Some examples in groups: their rows, their histories, and what decoding needs of them."""
    for part, histories, normalized in normalized_chunks(state, origins.histories(rows)):
        yield rows[part], histories, forecast_terms(state, histories, normalized)


def calibrate(state: Json, origins: ForecastOrigins, outputs: Sequence[Floats]) -> Json:
    """The state with the share of the Theta method, the widths of intervals, and the weights of the mean.

    In this order: each is fitted to forecasts that have those before it.
    """
    rows = np.linspace(0, len(outputs) - 1, min(len(outputs), MAX_ORIGINS)).astype(np.int64)
    if "theta" in state:
        state = {**state, "theta": _fit_theta_share(state, origins, rows, outputs)}
    state = {**state, **_fit_intervals(state, origins, rows, outputs)}
    return {**state, "mean": _fit_mean(state, origins, rows, outputs)}


def _fit_theta_share(state: Json, origins: ForecastOrigins, rows: Ints, outputs: Sequence[Floats]) -> float:
    """The share of the Theta method by the errors at some origins, weighted as in the network's loss."""
    share, alone = ThetaShare(), {**state, "theta": 0.0}
    for part, histories, terms in terms_of(alone, origins, rows):
        actual = forecast_targets(alone, terms, histories.targets(state["horizon"]))
        moves = forecast_moves(alone, terms, np.stack([outputs[row] for row in part]))
        median = moves[..., state["quantiles"].index(0.5)]  # (rows, horizon)
        share.add(actual, median, terms.path, np.sqrt(terms.scale), terms.spread)
    return share.fit()


def _fit_intervals(state: Json, origins: ForecastOrigins, rows: Ints, outputs: Sequence[Floats]) -> Json:
    """By how much quantiles are to be further from the median: by lead time, and those beyond the trained."""
    widths = IntervalWidths(state["quantiles"], state["horizon"])
    for part, histories, terms in terms_of(state, origins, rows):
        actual = forecast_targets(state, terms, histories.targets(state["horizon"]))
        moves = forecast_moves(state, terms, np.stack([outputs[row] for row in part]))
        usable = np.isnan(terms.still) & (terms.spread == 1)
        widths.add(actual[usable], moves[usable])
    factors = widths.fit(origins.per_series)
    return {"widths": factors, "tails": widths.fit_tails(factors, origins.per_series)}


def _fit_mean(state: Json, origins: ForecastOrigins, rows: Ints, outputs: Sequence[Floats]) -> list[float]:
    """The weights of what the mean is made of."""
    weights = MeanWeights()
    for part, histories, terms in terms_of(state, origins, rows):
        quantiles = forecast_quantiles(state, terms, np.stack([outputs[row] for row in part]))
        medians = quantiles[..., state["quantiles"].index(0.5)]  # (rows, horizon)
        to_mean = forecast_mean_terms(state, terms, quantiles)
        targets = histories.targets(state["horizon"])
        for row, (first, origin) in enumerate(zip(histories.first, histories.origin, strict=True)):
            history = histories.points.values[first:origin]
            weights.add(targets[row], medians[row], to_mean[row], history)
    return weights.fit()
