"""A forecast request and its answer: JSON to a history, and the network's outputs to measured units."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated

import msgspec
import numpy as np

from app.errors import Invalid, Problem, pointer
from app.tasks.contract import Array
from app.tasks.forecasting.frequency import Frequency
from app.tasks.forecasting.normalization import History, Normalised
from app.typedefs import Json

frequency_of = cache(Frequency.parse)


class Instance(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One series up to now; `null` is a missing value."""

    values: Annotated[list[float | None], msgspec.Meta(min_length=1, max_length=100_000)]
    start: str | int | None = None
    freq: str | int | None = None
    item_id: str | None = None
    future: dict[str, list[float | str | None]] = {}
    past: dict[str, list[float | str | None]] = {}
    static: dict[str, str | None] = {}


class Parameters(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How much of the forecast to answer."""

    horizon: Annotated[int, msgspec.Meta(ge=1)] | None = None
    quantiles: list[Annotated[float, msgspec.Meta(gt=0, lt=1)]] | None = None


@dataclass(frozen=True)
class Ahead:
    """What decoding needs: where the series stands, how it is measured, and how to name its coming steps."""

    normalised: Normalised
    floor: float  # no forecast is below it
    item_id: str | None = None
    origin: int | None = None  # ordinal of the first step to forecast
    phase: int = 0


def invalid(place: str, detail: str) -> Invalid:
    """The error of one field of a request."""
    return Invalid(detail, [Problem(place, detail)])


def read_values(values: Sequence[float | None]) -> Array:
    """Values (time,) float64 with NaN for null; at least one must be observed and none infinite."""
    found = np.array(values, np.float64)  # None becomes NaN
    if np.isinf(found).any():
        raise invalid(
            f"/values/{int(np.isinf(found).argmax())}", "An infinite value cannot be forecast from."
        )
    if np.isnan(found).all():
        raise invalid("/values", "At least one value must be observed.")
    return found


def read_start(state: Json, instance: Instance) -> tuple[int | None, int]:
    """Ordinal and phase of the first value, (None, 0) if undated."""
    frequency = frequency_of(state["freq"])
    if instance.freq is not None:
        try:
            given = frequency_of(instance.freq)
        except ValueError as error:
            raise invalid("/freq", str(error)) from None
        if given.alias != frequency.alias:
            raise invalid("/freq", f"The model was trained on series of frequency {frequency.alias}.")
    if instance.start is None:
        return None, 0
    try:
        return frequency.locate(instance.start)
    except (ValueError, OverflowError) as error:
        raise invalid("/start", str(error)) from None


def read_history(state: Json, instance: Instance) -> tuple[History, int]:
    """The history a request tells, and the phase of its time stamps."""
    values = read_values(instance.values)
    start, phase = read_start(state, instance)
    kept = values[-state["history"] :]
    skipped = len(values) - len(kept)
    if not np.isfinite(kept).any():
        kept = np.concatenate([kept[:-1], values[np.isfinite(values)][-1:]])
    past_names = [spec["name"] for spec in state["past"] + state["future"]]
    told = instance.past | _constant(instance, past_names, len(values))
    past = _covariates(told, state["past"], past_names, "past", len(values))[skipped:]
    future = _covariates(told, state["future"], past_names, "past", len(values))[skipped:]
    coming = _covariates(instance.future, state["future"], None, "future", state["horizon"])
    return History(
        values=kept,
        after=np.full(state["horizon"], np.nan),
        start=None if start is None else start + skipped,
        static=_static(instance, state),
        past=past,
        future=np.concatenate([future, coming]),
    ), phase


def _constant(instance: Instance, names: Sequence[str], size: int) -> dict[str, list[float | str | None]]:
    """Columns given as static that vary in the model's own data: the same value at every step."""
    return {name: [value] * size for name, value in instance.static.items() if name in names}


def _covariates(
    given: dict[str, list[float | str | None]],
    specs: list[Json],
    allowed: list[str] | None,
    field: str,
    size: int,
) -> Array:
    """Raw covariates (size, specs) of one field of a request; what is not given is NaN."""
    names = [spec["name"] for spec in specs]
    for name in given:
        if name not in (names if allowed is None else allowed):
            raise invalid(pointer(field, name), f"The model knows no {field} covariate {name!r}.")
    table = np.full((size, len(specs)), np.nan)
    for place, spec in enumerate(specs):
        if spec["name"] not in given:
            continue
        column = given[spec["name"]]
        where = pointer(field, spec["name"])
        if field == "past" and len(column) != size:
            raise invalid(where, f"There are {len(column)} entries for {size} values.")
        for step, entry in enumerate(column[:size]):  # what is known beyond the horizon does not matter
            table[step, place] = _number(entry, spec, f"{where}/{step}")
    return table


def _number(entry: float | str | None, spec: Json, place: str) -> float:
    """One entry of a covariate: a number, or the code of a level; an unknown level is as good as missing."""
    if entry is None:
        return np.nan
    if spec["levels"]:
        return float(spec["levels"].index(str(entry))) if str(entry) in spec["levels"] else np.nan
    if isinstance(entry, str):
        raise invalid(place, f"{spec['name']} is numeric.")
    return float(entry)


def _static(instance: Instance, state: Json) -> Array | None:
    """Codes (static,) of the static columns: as given, else as the item had them in training, else -1.

    A level the training data did not have is -1 too.
    """
    given, specs = instance.static, state["static"]
    names = [spec["name"] for spec in specs + state["past"] + state["future"]]
    for name in given:
        if name not in names:
            raise invalid(pointer("static", name), f"The model knows no static column {name!r}.")
    if not specs:
        return None
    codes = list(state["items"].get(instance.item_id, [-1] * len(specs)))
    for place, spec in enumerate(specs):
        if spec["name"] in given:
            level = given[spec["name"]]
            codes[place] = spec["levels"].index(level) if level in spec["levels"] else -1
    return np.array(codes)


def check_parameters(state: Json, parameters: Parameters) -> None:
    """Refuse a longer horizon than the trained one, and quantiles beyond the outermost trained ones."""
    if parameters.horizon is not None and parameters.horizon > state["horizon"]:
        raise invalid("/parameters/horizon", f"The model was trained for a horizon of {state['horizon']}.")
    low, high = state["quantiles"][0], state["quantiles"][-1]
    for place, quantile in enumerate(parameters.quantiles or []):
        if not low <= quantile <= high:
            raise invalid(
                f"/parameters/quantiles/{place}", f"The model knows quantiles from {low} to {high}."
            )


def measured_quantiles(state: Json, ahead: Ahead, outputs: Array) -> Array:
    """Outputs (horizon * quantiles,) of the network as (horizon, quantiles) in measured units, ascending."""
    entry, horizon = ahead.normalised, state["horizon"]
    moves = np.sort(outputs.astype(np.float64).reshape(horizon, -1), axis=1) * entry.scale[-1]
    z = entry.base[-1] + moves + entry.effects[-horizon:, None]  # (horizon, quantiles)
    values = np.maximum(entry.transform.inverse(z), ahead.floor)
    return np.floor(values + 0.5) if state["counts"] else values


def write_answer(state: Json, ahead: Ahead, outputs: Array, parameters: Parameters) -> Json:
    """The prediction: `mean` is the median, quantiles between trained ones are interpolated."""
    trained, horizon = state["quantiles"], parameters.horizon or state["horizon"]
    values = measured_quantiles(state, ahead, outputs)[:horizon]  # (horizon, quantiles)
    asked = state["answered"] if parameters.quantiles is None else parameters.quantiles
    quantiles = {}
    for level in asked:
        place = min(max(int(np.searchsorted(trained, level)), 1), len(trained) - 1) if len(trained) > 1 else 0
        if level in trained or not place:
            quantiles[str(level)] = values[:, trained.index(level)].tolist()
        else:
            share = (level - trained[place - 1]) / (trained[place] - trained[place - 1])
            quantiles[str(level)] = ((1 - share) * values[:, place - 1] + share * values[:, place]).tolist()
    answer: Json = {"item_id": ahead.item_id, "mean": values[:, trained.index(0.5)].tolist()}
    answer["quantiles"] = quantiles
    if ahead.origin is not None:
        answer["timestamps"] = frequency_of(state["freq"]).stamps(ahead.origin, horizon, ahead.phase)
    return answer
