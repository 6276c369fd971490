"""From a forecast request to a history, and from the network's outputs to the prediction."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated

import msgspec
import numpy as np

from app.tasks.arrays import Array
from app.tasks.contract import with_warnings
from app.tasks.forecasting.frequency import Frequency
from app.tasks.forecasting.normalization import LOG, History, NormalizedHistory
from app.tasks.forecasting.prediction.covariates import (
    Cell,
    CovariateValues,
    RequestCovariates,
    invalid_field,
)
from app.tasks.forecasting.prediction.expectation import add_terms, mean_terms
from app.tasks.forecasting.prediction.still import still_value
from app.tasks.shared.table_cells import MISSING_TEXTS, shorten
from app.tasks.shared.timestamps import has_fraction
from app.typedefs import Json

MAX_REQUEST_STEPS = 100_000

parse_frequency = cache(Frequency.parse)


class ForecastingInstance(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One series up to now; `null`, "NaN" or another mark of an upload is a missing value."""

    values: Annotated[Sequence[float | str | None], msgspec.Meta(min_length=1, max_length=MAX_REQUEST_STEPS)]
    start: str | int | None = None
    freq: str | int | None = None
    item_id: str | int | None = None
    future: dict[str, CovariateValues] = {}
    past: dict[str, CovariateValues] = {}
    static: dict[str, Cell] = {}


class StoredInstance(ForecastingInstance, frozen=True, dict=True):
    """A series of a data set, whose time stamps are known better than its `start` can say."""

    @property
    def first(self) -> tuple[int, int]:
        """Ordinal and phase of the first value; no field, as no request can have it."""
        first: tuple[int, int] = self.__dict__["first_point"]
        return first

    def dated(self, ordinal: int, phase: int) -> "StoredInstance":
        """The same instance, after it was given its first point."""
        self.__dict__["first_point"] = (ordinal, phase)
        return self


class ForecastingParameters(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How much of the forecast to answer."""

    horizon: Annotated[int, msgspec.Meta(ge=1)] | None = None
    quantiles: list[Annotated[float, msgspec.Meta(gt=0, lt=1)]] | None = None


@dataclass(frozen=True)
class ForecastContext:
    """What decoding needs of a history: its normalization, and the names of the future steps."""

    history: Array  # (time,) float64, NaN = missing
    normalized: NormalizedHistory
    lower_bound: float  # of all forecasts; -inf for none
    still: float | None  # the value of a series that never moved
    item_id: str | None = None
    origin: int | None = None  # ordinal of the first step to forecast; None = undated
    phase: int = 0  # of the time stamps, see `Frequency.phase`
    warnings: Sequence[str] = ()


def forecast_context(state: Json, history: History, normalized: NormalizedHistory) -> ForecastContext:
    """The context of a forecast whose steps have no names.

    Its lower bound is 0 if neither the series nor the training data has a negative value.
    """
    values = history.values
    bounded = state["non_negative"] and np.nanmin(values) >= 0
    return ForecastContext(values, normalized, 0.0 if bounded else -np.inf, still_value(state, values))


def read_values(values: Sequence[float | str | None]) -> Array:
    """Values (time,) float64 with NaN for missing; raises `Invalid` if one is infinite or none observed."""
    if str in set(map(type, values)):
        values = [_read_text(value, step) for step, value in enumerate(values)]
    numbers = np.array(values, np.float64)  # None becomes NaN
    infinite = np.isinf(numbers)
    if infinite.any():
        raise invalid_field(
            f"/values/{int(infinite.argmax())}", "An infinite value cannot be the base of a forecast."
        )
    if np.isnan(numbers).all():
        raise invalid_field("/values", "At least one value must be observed.")
    return numbers


def _read_text(value: float | str | None, step: int) -> float | None:
    """A value that may be a text, which must stand for a missing one."""
    if not isinstance(value, str):
        return value
    if value not in MISSING_TEXTS:
        raise invalid_field(f"/values/{step}", f"{shorten(value)} is not a number.")
    return None


def read_start(state: Json, instance: ForecastingInstance) -> tuple[int | None, int]:
    """Ordinal and phase of the first value; (None, 0) for an undated series."""
    frequency = parse_frequency(state["freq"])
    if instance.freq is not None:
        try:
            requested = parse_frequency(instance.freq)
        except ValueError as error:
            raise invalid_field("/freq", str(error)) from None
        if not frequency.is_like(requested):
            raise invalid_field("/freq", f"The model was trained on series of frequency {frequency.alias}.")
    if isinstance(instance, StoredInstance) and instance.freq == frequency.alias:
        return instance.first
    if instance.start is None:
        return None, 0
    try:
        return frequency.locate(instance.start, state.get("phases", ()))
    except (ValueError, OverflowError) as error:
        raise invalid_field("/start", str(error)) from None


def read_history(
    state: Json, instance: ForecastingInstance, horizon: int | None = None
) -> tuple[History, int]:
    """The history of a request and the phase of its time stamps; raises `Invalid` with a pointer.

    Future covariates must cover `horizon`, by default the trained one. Only the last `state["history"]` steps
    are taken. If none of them is observed, the last one takes the last observed value of the request.
    """
    values = read_values(instance.values)
    start, phase = read_start(state, instance)
    recent = values[-state["history"] :]
    skipped = len(values) - len(recent)
    if not np.isfinite(recent).any():
        recent = np.concatenate([recent[:-1], values[np.isfinite(values)][-1:]])
    covariates = request_covariates(state, instance)
    past = covariates.read_past(state["past"])[skipped:]
    known = covariates.read_past(state["future"])[skipped:]
    ahead = covariates.read_future(horizon or state["horizon"])
    return History(
        values=recent,
        targets=np.full(state["horizon"], np.nan),
        start=None if start is None else start + skipped,
        static=covariates.read_static(),
        past=past,
        future=np.concatenate([known, ahead]),
    ), phase


def request_covariates(state: Json, instance: ForecastingInstance) -> RequestCovariates:
    """The covariates of a request, to be read for a model."""
    columns = (instance.past, instance.future, instance.static)
    return RequestCovariates(state, *columns, item_name(instance), len(instance.values))


def item_name(instance: ForecastingInstance) -> str | None:
    """The id as the text that an upload reads it as."""
    return None if instance.item_id is None else str(instance.item_id)


def check_parameters(state: Json, parameters: ForecastingParameters) -> None:
    """Raise `Invalid` for a horizon longer than the trained one, or quantiles beyond the outermost ones."""
    if parameters.horizon is not None and parameters.horizon > state["horizon"]:
        raise invalid_field(
            "/parameters/horizon", f"The model was trained for a horizon of {state['horizon']}."
        )
    low, high = state["quantiles"][0], state["quantiles"][-1]
    for index, quantile in enumerate(parameters.quantiles or []):
        if not low <= quantile <= high:
            raise invalid_field(
                f"/parameters/quantiles/{index}", f"The model knows quantiles from {low} to {high}."
            )


def input_warnings(state: Json, instance: ForecastingInstance) -> list[str]:
    """What the model was trained with and the request lacks, as sentences."""
    warnings = request_covariates(state, instance).warnings()
    if state["cycles"] and instance.start is None:
        warnings.append(
            "`start` is missing: the forecast does without the calendar the model was trained with."
        )
    elif (
        instance.start is not None
        and parse_frequency(state["freq"]).unit != "1"
        and has_fraction(instance.start)
    ):
        warnings.append("Fractions of a second are not read: that of `start` is cut off.")
    return warnings


def forecast_quantiles(state: Json, context: ForecastContext, outputs: Array) -> Array:
    """The network's outputs (horizon * quantiles,) in measured units, (horizon, quantiles), ascending.

    A series that never moved stays what it is.
    """
    entry, horizon = context.normalized, state["horizon"]
    if context.still is not None:
        return np.full((horizon, len(state["quantiles"])), context.still)
    moves = np.sort(outputs.astype(np.float64).reshape(horizon, -1), axis=1) * entry.scale[-1]
    z = entry.base[-1] + moves + entry.effects[-horizon:, None]  # (horizon, quantiles)
    return np.maximum(entry.transform.inverse(z), context.lower_bound)


def round_counts(state: Json, context: ForecastContext, quantiles: Array) -> Array:
    """Quantiles in whole numbers, if the model's data are counts and the history has only whole numbers."""
    if not state["counts"]:
        return quantiles
    observed = context.history[np.isfinite(context.history)]
    whole = bool((observed == np.floor(observed)).all())
    return np.floor(quantiles + 0.5) if whole else quantiles


def forecast_mean_terms(state: Json, context: ForecastContext, quantiles: Array) -> Array:
    """What leads from the median to the mean, (horizon, 3), of quantiles before they are rounded."""
    entry = context.normalized
    return mean_terms(
        quantiles,
        state["quantiles"],
        context.history,
        entry.season,
        log=entry.transform.kind == LOG,
        lower_bound=context.lower_bound,
    )


def forecast_mean(state: Json, context: ForecastContext, quantiles: Array) -> Array:
    """The expectation (horizon,) from quantiles before they are rounded; it is not rounded itself."""
    median = quantiles[:, state["quantiles"].index(0.5)]
    if context.still is not None:
        return np.asarray(median)
    terms = forecast_mean_terms(state, context, quantiles)
    return np.maximum(add_terms(median, terms, state["mean"]), context.lower_bound)


def build_prediction(
    state: Json, context: ForecastContext, outputs: Array, parameters: ForecastingParameters
) -> Json:
    """The prediction of the API; time stamps only for a dated series, warnings only where there are some.

    A version whose state has no weights for the mean was trained when `mean` was the median, and keeps it.
    """
    trained, horizon = state["quantiles"], parameters.horizon or state["horizon"]
    quantiles = forecast_quantiles(state, context, outputs)  # (trained horizon, quantiles)
    values = round_counts(state, context, quantiles)[:horizon]
    levels = state["answered"] if parameters.quantiles is None else parameters.quantiles
    median = values[:, trained.index(0.5)].tolist()
    mean = forecast_mean(state, context, quantiles)[:horizon].tolist() if "mean" in state else median
    prediction: Json = {
        "item_id": context.item_id,
        "mean": mean,
        "median": median,
        "quantiles": {str(level): _interpolate(values, trained, level) for level in levels},
    }
    if context.origin is not None:
        frequency = parse_frequency(state["freq"])
        prediction["timestamps"] = frequency.stamps(context.origin, horizon, context.phase)
    return with_warnings(prediction, context.warnings)


def _interpolate(values: Array, trained: list[float], level: float) -> list[float]:
    """Forecast (horizon,) of one quantile, linear between the trained ones of `values` on either side."""
    upper = min(max(int(np.searchsorted(trained, level)), 1), len(trained) - 1) if len(trained) > 1 else 0
    if level in trained or not upper:
        result: list[float] = values[:, trained.index(level)].tolist()
        return result
    share = (level - trained[upper - 1]) / (trained[upper] - trained[upper - 1])
    between: list[float] = ((1 - share) * values[:, upper - 1] + share * values[:, upper]).tolist()
    return between
