"""From a network's outputs to forecasts in measured units, and to the predictions of the API."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from app.arrays import Array
from app.tasks.contract import with_warnings
from app.tasks.forecasting.prediction.expectation import add_terms, mean_terms
from app.tasks.forecasting.prediction.known_times import known_stamps, parse_frequency
from app.tasks.forecasting.prediction.tails import NORMAL_TAILS, add_tails
from app.tasks.forecasting.prediction.terms import ForecastTerms
from app.typedefs import Json


@dataclass(frozen=True, slots=True)
class ForecastContext:
    """What decoding needs of an instance: the terms of its forecast, and the names of the future steps."""

    terms: Array  # a row of `ForecastTerms`
    item_id: str | None = None
    origin: int | None = None  # ordinal of the first step to forecast; None = undated
    phase: int = 0  # of the time stamps, see `Frequency.phase`
    warnings: Sequence[str] = ()


def forecast_moves(state: Json, terms: ForecastTerms, outputs: Array) -> Array:
    """The network's outputs (rows, horizon * quantiles) as moves from the base, (rows, horizon, quantiles).

    They ascend. Where the version mixes the Theta method in, all quantiles move towards its forecast by one
    share, but not those of a history that is concentrated on one value: the method knows nothing of medians.
    Then they are as far from the median as the version's validation showed that they should be.
    """
    moves = outputs.astype(np.float64).reshape(len(outputs), state["horizon"], -1)
    moves.sort(axis=2)
    moves *= terms.scale[:, None, None]
    if "theta" in state:
        median = moves[..., state["quantiles"].index(0.5)]  # (rows, horizon)
        share = state["theta"] * terms.spread[:, None]
        moves += (share * (terms.path - median))[..., None]
    if "widths" in state:
        centre = moves[..., state["quantiles"].index(0.5), None].copy()  # (rows, horizon, 1)
        moves -= centre
        moves *= np.array(state["widths"])[:, None]
        moves += centre
    return moves


def forecast_targets(state: Json, terms: ForecastTerms, actual: Array) -> Array:
    """Measured values (rows, horizon) as moves from the base, NaN where not known."""
    z = terms.transforms(state).forward(actual)
    return np.asarray(z - terms.effects - terms.base[:, None])


def forecast_quantiles(state: Json, terms: ForecastTerms, outputs: Array) -> Array:
    """The network's outputs (rows, horizon * quantiles) in measured units, (rows, horizon, quantiles).

    They ascend. A series that never moved stays what it is.
    """
    return _measured(state, terms, forecast_moves(state, terms, outputs))


def _measured(state: Json, terms: ForecastTerms, moves: Array) -> Array:
    """Moves from the base (rows, horizon, quantiles) in measured units."""
    z = terms.base[:, None, None] + moves + terms.effects[:, :, None]
    quantiles = np.maximum(terms.transforms(state).inverse(z), terms.lower_bound[:, None, None])
    still = terms.still[:, None, None]
    return np.where(np.isnan(still), quantiles, still)


def round_counts(terms: ForecastTerms, quantiles: Array) -> Array:
    """Quantiles (rows, horizon, quantiles) in whole numbers, where forecasts are."""
    if not terms.is_whole.any():
        return quantiles
    return np.where(terms.is_whole[:, None, None], np.floor(quantiles + 0.5), quantiles)


def forecast_mean_terms(state: Json, terms: ForecastTerms, quantiles: Array) -> Array:
    """What leads from the medians to the means, (rows, horizon, 3), of quantiles before they are rounded."""
    return mean_terms(quantiles, state["quantiles"], terms.mean_context, terms.lower_bound)


def forecast_means(state: Json, terms: ForecastTerms, quantiles: Array) -> Array:
    """The expectations (rows, horizon) from quantiles before they are rounded; they are not rounded."""
    median = quantiles[..., state["quantiles"].index(0.5)]
    mean = add_terms(median, forecast_mean_terms(state, terms, quantiles), state["mean"])
    mean = np.maximum(mean, terms.lower_bound[:, None])
    return np.where(np.isnan(terms.still)[:, None], mean, median)


def build_predictions(
    state: Json,
    contexts: Sequence[ForecastContext],
    outputs: Array,
    horizon: int | None,
    quantiles: Sequence[float] | None,
    level: Sequence[float] | None = None,
) -> list[Json]:
    """The predictions of the API from outputs (rows, horizon * quantiles), by default all that is trained.

    Intervals only where their `level` in percent is requested, time stamps only for a dated series, warnings
    only where there are some. A version whose state has no weights for the mean was trained when `mean` was
    the median, and keeps it.
    """
    trained, horizon = state["quantiles"], horizon or state["horizon"]
    levels = state["answered"] if quantiles is None else quantiles
    bounds = {f"{percent:g}": interval_bounds(percent) for percent in level or ()}
    terms = ForecastTerms(np.array([context.terms for context in contexts]), state["horizon"])
    requested = [*levels, *chain.from_iterable(bounds.values())]
    moves = forecast_moves(state, terms, outputs)
    known, moves = add_tails(trained, moves, requested, state.get("tails", NORMAL_TAILS))
    every = _measured(state, terms, moves)  # (rows, trained horizon, known)
    exact = every[..., known.index(trained[0]) :][..., : len(trained)]
    values = round_counts(terms, every)[:, :horizon]
    median = values[..., known.index(0.5)].tolist()
    mean = forecast_means(state, terms, exact)[:, :horizon].tolist() if "mean" in state else median
    by_level = {one: _interpolate(values, known, one).tolist() for one in requested}
    predictions: list[Json] = [
        {
            "item_id": context.item_id,
            "mean": mean[row],
            "median": median[row],
            "quantiles": {str(one): by_level[one][row] for one in levels},
        }
        for row, context in enumerate(contexts)
    ]
    if bounds:
        _add_intervals(predictions, bounds, by_level)
    _add_timestamps(state, predictions, contexts, horizon)
    return [
        with_warnings(*pair) for pair in zip(predictions, (one.warnings for one in contexts), strict=True)
    ]


def _add_intervals(
    predictions: Sequence[Json],
    bounds: Mapping[str, tuple[float, float]],
    by_level: Mapping[float, Sequence[list[float]]],
) -> None:
    """Add the intervals between quantiles, which are given by level and row."""
    for row, prediction in enumerate(predictions):
        prediction["intervals"] = {
            name: {"lower": by_level[low][row], "upper": by_level[high][row]}
            for name, (low, high) in bounds.items()
        }


def interval_bounds(percent: float) -> tuple[float, float]:
    """The quantiles between which a central interval of so many percent lies."""
    low = round((100 - percent) / 200, 9)
    return low, round(1 - low, 9)


def _add_timestamps(
    state: Json, predictions: list[Json], contexts: Sequence[ForecastContext], horizon: int
) -> None:
    frequency = parse_frequency(state["freq"])
    for prediction, context in zip(predictions, contexts, strict=True):
        if context.origin is not None:
            prediction["timestamps"] = known_stamps(frequency, context.origin, horizon, context.phase)


def step_stamps(state: Json, steps: int, context: ForecastContext) -> list[str]:
    """The time stamps of the last steps before a forecast; without dates -1 is the last one."""
    if context.origin is None:
        return [str(step) for step in range(-steps, 0)]
    frequency = parse_frequency(state["freq"])
    return [str(stamp) for stamp in frequency.stamps(context.origin - steps, steps, context.phase)]


def _interpolate(values: Array, trained: list[float], level: float) -> Array:
    """Forecasts (rows, horizon) of one quantile, linear between the trained ones of `values` beside it."""
    upper = min(max(int(np.searchsorted(trained, level)), 1), len(trained) - 1) if len(trained) > 1 else 0
    if level in trained or not upper:
        return values[..., trained.index(level)]
    share = (level - trained[upper - 1]) / (trained[upper] - trained[upper - 1])
    between: Array = (1 - share) * values[..., upper - 1] + share * values[..., upper]
    return between
