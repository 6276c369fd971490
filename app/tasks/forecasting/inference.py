"""From a forecast request to a history, and from the network's outputs to the prediction."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated

import msgspec
import numpy as np

from app.errors import Invalid, Problem, pointer
from app.tasks.arrays import Array
from app.tasks.forecasting.frequency import Frequency
from app.tasks.forecasting.normalization import History, NormalizedHistory
from app.typedefs import Json

CovariateValues = list[float | str | None]

MAX_REQUEST_STEPS = 100_000

parse_frequency = cache(Frequency.parse)


class ForecastingInstance(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One series up to now; `null` is a missing value."""

    values: Annotated[list[float | None], msgspec.Meta(min_length=1, max_length=MAX_REQUEST_STEPS)]
    start: str | int | None = None
    freq: str | int | None = None
    item_id: str | None = None
    future: dict[str, CovariateValues] = {}
    past: dict[str, CovariateValues] = {}
    static: dict[str, str | None] = {}


class ForecastingParameters(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How much of the forecast to answer."""

    horizon: Annotated[int, msgspec.Meta(ge=1)] | None = None
    quantiles: list[Annotated[float, msgspec.Meta(gt=0, lt=1)]] | None = None


@dataclass(frozen=True)
class ForecastContext:
    """What decoding needs of a history: its normalization, and the names of the future steps."""

    normalized: NormalizedHistory
    lower_bound: float  # of all forecasts; -inf for none
    item_id: str | None = None
    origin: int | None = None  # ordinal of the first step to forecast; None = undated
    phase: int = 0  # of the time stamps, see `Frequency.phase`


def invalid_field(path: str, detail: str) -> Invalid:
    """The error of one field of a request, with its JSON pointer."""
    return Invalid(detail, [Problem(path, detail)])


def read_values(values: Sequence[float | None]) -> Array:
    """Values (time,) float64 with NaN for null; raises `Invalid` if one is infinite or none observed."""
    numbers = np.array(values, np.float64)  # None becomes NaN
    infinite = np.isinf(numbers)
    if infinite.any():
        raise invalid_field(
            f"/values/{int(infinite.argmax())}", "An infinite value cannot be the base of a forecast."
        )
    if np.isnan(numbers).all():
        raise invalid_field("/values", "At least one value must be observed.")
    return numbers


def read_start(state: Json, instance: ForecastingInstance) -> tuple[int | None, int]:
    """Ordinal and phase of the first value; (None, 0) for an undated series."""
    frequency = parse_frequency(state["freq"])
    if instance.freq is not None:
        try:
            requested = parse_frequency(instance.freq)
        except ValueError as error:
            raise invalid_field("/freq", str(error)) from None
        if requested.alias != frequency.alias:
            raise invalid_field("/freq", f"The model was trained on series of frequency {frequency.alias}.")
    if instance.start is None:
        return None, 0
    try:
        return frequency.locate(instance.start)
    except (ValueError, OverflowError) as error:
        raise invalid_field("/start", str(error)) from None


def read_history(state: Json, instance: ForecastingInstance) -> tuple[History, int]:
    """The history of a request and the phase of its time stamps; raises `Invalid` with a pointer.

    Only the last `state["history"]` steps are taken. If none of them is observed, the last one takes the
    last observed value of the request.
    """
    values = read_values(instance.values)
    start, phase = read_start(state, instance)
    recent = values[-state["history"] :]
    skipped = len(values) - len(recent)
    if not np.isfinite(recent).any():
        recent = np.concatenate([recent[:-1], values[np.isfinite(values)][-1:]])
    past_names = [spec["name"] for spec in state["past"] + state["future"]]
    columns = instance.past | _repeat_static(instance, past_names, len(values))
    past = _read_covariates(columns, state["past"], past_names, "past", len(values))[skipped:]
    future = _read_covariates(columns, state["future"], past_names, "past", len(values))[skipped:]
    beyond = _read_covariates(instance.future, state["future"], None, "future", state["horizon"])
    return History(
        values=recent,
        targets=np.full(state["horizon"], np.nan),
        start=None if start is None else start + skipped,
        static=_static_codes(instance, state),
        past=past,
        future=np.concatenate([future, beyond]),
    ), phase


def _repeat_static(
    instance: ForecastingInstance, names: Sequence[str], size: int
) -> dict[str, CovariateValues]:
    """Static columns of the request that varied in training, as covariates constant over all steps."""
    return {name: [value] * size for name, value in instance.static.items() if name in names}


def _read_covariates(
    columns: dict[str, CovariateValues],
    specs: list[Json],
    allowed: list[str] | None,
    field: str,
    size: int,
) -> Array:
    """Raw covariates (size, specs) of one field of a request; a missing column or entry is NaN."""
    names = [spec["name"] for spec in specs]
    for name in columns:
        if name not in (names if allowed is None else allowed):
            raise invalid_field(pointer(field, name), f"The model knows no {field} covariate {name!r}.")
    table = np.full((size, len(specs)), np.nan)
    for index, spec in enumerate(specs):
        if spec["name"] not in columns:
            continue
        column = columns[spec["name"]]
        path = pointer(field, spec["name"])
        if field == "past" and len(column) != size:
            raise invalid_field(path, f"There are {len(column)} entries for {size} values.")
        for step, entry in enumerate(column[:size]):  # entries beyond the horizon are ignored
            table[step, index] = _read_number(entry, spec, f"{path}/{step}")
    return table


def _read_number(entry: float | str | None, spec: Json, path: str) -> float:
    """A covariate's entry as a number or the code of its level; NaN if missing or an unknown level."""
    if entry is None:
        return np.nan
    if spec["levels"]:
        return float(spec["levels"].index(str(entry))) if str(entry) in spec["levels"] else np.nan
    if isinstance(entry, str):
        raise invalid_field(path, f"{spec['name']} is numeric.")
    return float(entry)


def _static_codes(instance: ForecastingInstance, state: Json) -> Array | None:
    """Codes (static,) of the static columns; None if the model reads none.

    A column that the request lacks has the code that its item had in training. A level or an item that the
    training data did not have is -1.
    """
    requested, specs = instance.static, state["static"]
    names = [spec["name"] for spec in specs + state["past"] + state["future"]]
    for name in requested:
        if name not in names:
            raise invalid_field(pointer("static", name), f"The model knows no static column {name!r}.")
    if not specs:
        return None
    codes = list(state["items"].get(instance.item_id, [-1] * len(specs)))
    for index, spec in enumerate(specs):
        if spec["name"] in requested:
            level = requested[spec["name"]]
            codes[index] = spec["levels"].index(level) if level in spec["levels"] else -1
    return np.array(codes)


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


def forecast_quantiles(state: Json, context: ForecastContext, outputs: Array) -> Array:
    """The network's outputs (horizon * quantiles,) in measured units, (horizon, quantiles), ascending."""
    entry, horizon = context.normalized, state["horizon"]
    moves = np.sort(outputs.astype(np.float64).reshape(horizon, -1), axis=1) * entry.scale[-1]
    z = entry.base[-1] + moves + entry.effects[-horizon:, None]  # (horizon, quantiles)
    values = np.maximum(entry.transform.inverse(z), context.lower_bound)
    return np.floor(values + 0.5) if state["counts"] else values


def build_prediction(
    state: Json, context: ForecastContext, outputs: Array, parameters: ForecastingParameters
) -> Json:
    """The prediction of the API: `mean` is the median; time stamps only for a dated series."""
    trained, horizon = state["quantiles"], parameters.horizon or state["horizon"]
    values = forecast_quantiles(state, context, outputs)[:horizon]  # (horizon, quantiles)
    levels = state["answered"] if parameters.quantiles is None else parameters.quantiles
    prediction: Json = {
        "item_id": context.item_id,
        "mean": values[:, trained.index(0.5)].tolist(),
        "quantiles": {str(level): _interpolate(values, trained, level) for level in levels},
    }
    if context.origin is not None:
        frequency = parse_frequency(state["freq"])
        prediction["timestamps"] = frequency.stamps(context.origin, horizon, context.phase)
    return prediction


def _interpolate(values: Array, trained: list[float], level: float) -> list[float]:
    """Forecast (horizon,) of one quantile, linear between the trained ones of `values` on either side."""
    upper = min(max(int(np.searchsorted(trained, level)), 1), len(trained) - 1) if len(trained) > 1 else 0
    if level in trained or not upper:
        result: list[float] = values[:, trained.index(level)].tolist()
        return result
    share = (level - trained[upper - 1]) / (trained[upper] - trained[upper - 1])
    between: list[float] = ((1 - share) * values[:, upper - 1] + share * values[:, upper]).tolist()
    return between
