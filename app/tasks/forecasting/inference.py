"""From forecast requests to the network's inputs and what decoding needs."""

from collections.abc import Sequence
from itertools import chain
from typing import Annotated

import msgspec
import numpy as np

from app.arrays import Array
from app.tasks.contract import Example
from app.tasks.forecasting.encoding import gather_inputs
from app.tasks.forecasting.panels.histories import Histories, Points, make_points
from app.tasks.forecasting.panels.panel import PanelBuilder, normalized_chunks
from app.tasks.forecasting.prediction.answers import ForecastContext, interval_bounds
from app.tasks.forecasting.prediction.covariates import (
    Cell,
    CovariateValues,
    RequestCovariates,
    invalid_field,
)
from app.tasks.forecasting.prediction.known_times import known_starts, parse_frequency
from app.tasks.forecasting.prediction.tails import known_range
from app.tasks.forecasting.prediction.terms import forecast_terms, terms_width
from app.tasks.shared.table_cells import MISSING_TEXTS, shorten
from app.tasks.shared.timestamps import has_fraction
from app.typedefs import Json

MAX_REQUEST_STEPS = 100_000
MAX_REQUEST_COLUMNS = 4_096
MAX_REQUEST_QUANTILES = 99  # as many as a job may train
MAX_REQUEST_LEVELS = 49  # intervals with as many different quantiles


RequestColumns = Annotated[
    dict[str, Annotated[CovariateValues, msgspec.Meta(max_length=MAX_REQUEST_STEPS)]],
    msgspec.Meta(max_length=MAX_REQUEST_COLUMNS),
]


class ForecastingInstance(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One series up to now; `null`, "NaN" or another mark of an upload is a missing value."""

    values: Annotated[
        Sequence[float | str | None],
        msgspec.Meta(
            min_length=1,
            max_length=MAX_REQUEST_STEPS,
            description="The series up to now, the oldest value first.",
        ),
    ]
    start: Annotated[str | int | None, msgspec.Meta(description="When the first value was.")] = None
    freq: Annotated[
        str | int | None, msgspec.Meta(description="How far values are apart, such as D, h or MS.")
    ] = None
    item_id: Annotated[str | int | None, msgspec.Meta(description="What the series is called.")] = None
    future: Annotated[
        RequestColumns,
        msgspec.Meta(description="Columns that are known ahead, an entry for each step to come."),
    ] = {}
    past: Annotated[RequestColumns, msgspec.Meta(description="Other columns, an entry for each value.")] = {}
    static: Annotated[
        dict[str, Cell],
        msgspec.Meta(
            max_length=MAX_REQUEST_COLUMNS, description="What stays the same all through the series."
        ),
    ] = {}


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

    horizon: Annotated[
        Annotated[int, msgspec.Meta(ge=1)] | None,
        msgspec.Meta(description="Steps to forecast, at most as many as were trained."),
    ] = None
    quantiles: Annotated[
        Annotated[
            list[Annotated[float, msgspec.Meta(gt=0, lt=1)]], msgspec.Meta(max_length=MAX_REQUEST_QUANTILES)
        ]
        | None,
        msgspec.Meta(description="Quantiles to answer, such as 0.05 and 0.95."),
    ] = None
    level: Annotated[
        Annotated[
            list[Annotated[float, msgspec.Meta(gt=0, lt=100)]], msgspec.Meta(max_length=MAX_REQUEST_LEVELS)
        ]
        | None,
        msgspec.Meta(description="Central intervals to answer, in percent, such as 80 and 95."),
    ] = None


def read_values(instances: Sequence[ForecastingInstance]) -> Array:
    """The values of all instances, one behind the other, float64 with NaN for missing.

    Raises `Invalid` about the first value that is infinite or a text, with a pointer into its instance.
    """
    values = list(chain.from_iterable(instance.values for instance in instances))
    if str in set(map(type, values)):
        values = [
            _read_text(value, step) for instance in instances for step, value in enumerate(instance.values)
        ]
    numbers = np.array(values, np.float64)  # None becomes NaN
    infinite = np.isinf(numbers)
    if infinite.any():
        ends = np.cumsum([len(instance.values) for instance in instances])
        index = int(infinite.argmax())
        step = index - int([0, *ends][int(np.searchsorted(ends, index, "right"))])
        raise invalid_field(f"/values/{step}", "An infinite value cannot be the base of a forecast.")
    return numbers


def _read_text(value: float | str | None, step: int) -> float | None:
    """A value that may be a text, which must stand for a missing one."""
    if not isinstance(value, str):
        return value
    if value not in MISSING_TEXTS:
        raise invalid_field(f"/values/{step}", f"{shorten(value)} is not a number.")
    return None


def read_starts(state: Json, instances: Sequence[ForecastingInstance]) -> tuple[Array, Array, Array]:
    """Ordinal and phase of the first value of each, and whether it is dated; raises `Invalid`.

    A series without a start has zeros.
    """
    frequency = parse_frequency(state["freq"])
    for freq in {one.freq for one in instances if one.freq is not None} - {frequency.alias}:
        try:
            requested = parse_frequency(freq)
        except ValueError as error:
            raise invalid_field("/freq", str(error)) from None
        if not frequency.is_like(requested):
            raise invalid_field("/freq", f"The model was trained on series of frequency {frequency.alias}.")
    starts, phases = np.zeros((2, len(instances)), np.int64)
    dated = np.zeros(len(instances), bool)
    rows, texts = list[int](), list[str | int]()
    for row, instance in enumerate(instances):
        if isinstance(instance, StoredInstance) and instance.freq == frequency.alias:
            (starts[row], phases[row]), dated[row] = instance.first, True
        elif instance.start is not None:
            rows.append(row)
            texts.append(instance.start)
    if rows:
        try:
            located = known_starts(state["freq"], tuple(state.get("phases", ()))).locate_all(texts)
        except (ValueError, OverflowError) as error:
            raise invalid_field("/start", str(error)) from None
        (starts[rows], phases[rows]), dated[rows] = located, True
    return starts, phases, dated


def read_histories(
    state: Json, instances: Sequence[ForecastingInstance], horizon: int | None = None
) -> tuple[Histories, Array]:
    """The histories of requests and the phases of their time stamps; raises `Invalid` with a pointer.

    Future covariates must cover `horizon`, by default the trained one. Only the last `state["history"]` steps
    are taken. If none of them is observed, the last one takes the last observed value of the request.
    """
    numbers = read_values(instances)
    lengths = np.array([len(instance.values) for instance in instances])
    widths = lengths + state["horizon"]
    begin = np.cumsum(widths) - widths
    values = np.full(int(widths.sum()), np.nan)
    values[np.arange(len(numbers)) + np.repeat(state["horizon"] * np.arange(len(lengths)), lengths)] = numbers
    origin = begin + lengths
    first = np.maximum(begin, origin - state["history"])
    observed = np.concatenate([[0], np.cumsum(np.isfinite(values))])
    for row in np.flatnonzero(observed[origin] == observed[first]).tolist():
        whole = values[begin[row] : origin[row]]
        if observed[origin[row]] == observed[begin[row]]:
            raise invalid_field("/values", "At least one value must be observed.")
        whole[-1] = whole[np.isfinite(whole)][-1]
    starts, phases, dated = read_starts(state, instances)
    points, static = _read_covariates(state, instances, values, begin, horizon or state["horizon"])
    return Histories(
        points=points,
        first=first,
        origin=origin,
        target_end=origin,
        known_end=origin + state["horizon"],
        start=starts + (first - begin),
        dated=dated,
        static=static,
    ), phases


def _read_covariates(
    state: Json, instances: Sequence[ForecastingInstance], values: Array, begin: Array, horizon: int
) -> tuple[Points, Array]:
    """The points of requests whose values begin at `begin`, and the codes (n, static) of static columns."""
    past = np.full((len(values), len(state["past"])), np.nan)
    future = np.full((len(values), len(state["future"])), np.nan)
    static = np.full((len(instances), len(state["static"])), -1)
    if not _have_covariates(state, instances):
        return Points(values, past, future, np.zeros((0, 2), bool)), static
    for row, (instance, start) in enumerate(zip(instances, begin.tolist(), strict=True)):
        covariates, end = request_covariates(state, instance), start + len(instance.values)
        past[start:end] = covariates.read_past(state["past"])
        future[start:end] = covariates.read_past(state["future"])
        future[end : end + state["horizon"]] = covariates.read_future(horizon)
        codes = covariates.read_static()
        if codes is not None:
            static[row] = codes
    return make_points(values, past, future, state), static


def _have_covariates(state: Json, instances: Sequence[ForecastingInstance]) -> bool:
    """Whether the model reads covariates, or an instance has some."""
    return bool(state["past"] or state["future"] or state["static"]) or any(
        instance.past or instance.future or instance.static for instance in instances
    )


def encode_instances(
    state: Json, instances: Sequence[ForecastingInstance], horizon: int | None
) -> list[Example]:
    """The last steps of each series as the network's inputs; raises `Invalid` with a pointer."""
    histories, phases = read_histories(state, instances, horizon)
    inputs: list[Array] = [np.zeros(0)] * len(instances)
    terms = np.empty((len(instances), terms_width(state)))
    frequency = parse_frequency(state["freq"])
    for rows, part, normalized in normalized_chunks(state, histories):
        builder = PanelBuilder(state, part, targets=False)
        builder.add(np.arange(len(rows)), normalized)
        panel = builder.build(frequency)
        times = np.minimum(part.lengths, state["context"])
        gathered = gather_inputs(state, panel, np.arange(len(rows)), part.lengths - times, int(times.max()))
        terms[rows] = forecast_terms(state, part, normalized).rows
        for row, time, steps in zip(rows.tolist(), times.tolist(), gathered, strict=True):
            inputs[row] = steps[:time]
    origins = (histories.start + histories.lengths).tolist()
    details = zip(inputs, terms, origins, phases.tolist(), histories.dated.tolist(), strict=True)
    warnings = input_warnings(state, instances)
    return [
        Example(
            steps,
            ForecastContext(row_terms, item_name(instance), origin if dated else None, phase, sentences),
        )
        for instance, sentences, (steps, row_terms, origin, phase, dated) in zip(
            instances, warnings, details, strict=True
        )
    ]


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
    low, high = known_range(state["quantiles"], tails="tails" in state)
    for index, quantile in enumerate(parameters.quantiles or []):
        if not low <= quantile <= high:
            raise invalid_field(
                f"/parameters/quantiles/{index}", f"The model knows quantiles from {low:g} to {high:g}."
            )
    for index, percent in enumerate(parameters.level or []):
        lower, upper = interval_bounds(percent)
        if not low <= lower <= upper <= high:
            widest = max(0.0, 100 * (1 - 2 * max(low, 1 - high)))
            raise invalid_field(f"/parameters/level/{index}", f"The model knows levels up to {widest:g}.")


def requested_quantiles(parameters: ForecastingParameters) -> list[float] | None:
    """The quantiles that a request names, by themselves or as bounds of intervals; None: those by default."""
    bounds = list(chain.from_iterable(map(interval_bounds, parameters.level or ())))
    return [*(parameters.quantiles or ()), *bounds] if bounds else parameters.quantiles


def input_warnings(state: Json, instances: Sequence[ForecastingInstance]) -> list[list[str]]:
    """What the model was trained with and each request lacks, or says in vain, as sentences."""
    have_covariates, dated = _have_covariates(state, instances), parse_frequency(state["freq"]).unit != "1"
    return [
        (request_covariates(state, instance).warnings() if have_covariates else [])
        + _start_warnings(instance.start, calendar=bool(state["cycles"]), dated=dated)
        for instance in instances
    ]


def _start_warnings(start: str | int | None, *, calendar: bool, dated: bool) -> list[str]:
    if start is None:
        missing = "`start` is missing: the forecast does without the calendar the model was trained with."
        return [missing] if calendar else []
    cut = "Fractions of a second are not read: that of `start` is cut off."
    return [cut] if dated and has_fraction(start) else []
