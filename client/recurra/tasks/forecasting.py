"""Forecasting: frames in long form, or series as lists."""

from collections.abc import Callable, Mapping, Sequence
from math import isinf
from pathlib import Path
from typing import Any, ClassVar

from recurra.errors import InvalidInput, Json
from recurra.frames import Frame, as_frame, is_frame
from recurra.results import Forecast, parse_forecast
from recurra.tasks.contract import (
    PredictionInputs,
    PreparedFile,
    Schema,
    as_list,
    as_numbers,
    finish_list,
    warn,
)
from recurra.tasks.jsonl import write_jsonl
from recurra.tasks.known_ahead import Future, add_future, future_covariates
from recurra.tasks.levels import interval_columns, quantiles_of_levels
from recurra.tasks.long_form import ID, ROLES, TIME, VALUE, LongFrame, check_columns
from recurra.tasks.places import place_of_row

NO_DATA = "forecasting needs data: a frame, a list of values or of series, or a data set"
DUPLICATE = "Duplicate time stamp"  # how the service begins a fault of rows that are not told apart
COVARIATES = {"static_covariates": ("static",), "past_covariates": ("numeric", "category")}


class Forecasting:
    """The data of forecasting."""

    name: ClassVar[str] = "forecasting"
    roles: ClassVar[Mapping[str, str]] = ROLES

    @property
    def parse(self) -> Callable[[Json], Forecast]:
        """What makes the forecast of one series."""
        return parse_forecast

    def write(self, data: Any, answers: Any, columns: Mapping[str, str], folder: Path) -> PreparedFile:
        """A frame as CSV, or series as JSON Lines."""
        if data is None:
            raise InvalidInput(NO_DATA)
        if answers is not None:
            raise InvalidInput("the values of a series are a column of the frame: target=…")
        if isinstance(data, str):
            raise InvalidInput(f"there is no file {data}")
        if not is_frame(data):
            return write_jsonl(folder, [_stored_series(series, index) for index, series in enumerate(data)])
        frame = as_frame(data)
        check_columns(frame, {TIME: TIME, VALUE: VALUE, **columns})
        path = folder / "series.csv"
        frame.write_csv(path)
        return PreparedFile(path, "csv", columns, place_of_row(frame, path, columns), _hint(frame, columns))

    def options(self, options: Json) -> Json:
        """Levels become the quantiles that are trained."""
        options = dict(options)
        levels = options.pop("level", None)
        if levels is not None:
            more = options.get("quantiles", [])
            options["quantiles"] = sorted({*quantiles_of_levels(as_list(levels)), *more})
        return options

    def parameters(self, parameters: Json, schema: Schema) -> Json:
        """The parameters of a request; the future is part of its instances."""
        del schema
        known = {name: value for name, value in parameters.items() if name != "future"}
        levels = known.pop("level", None)
        return known if levels is None else known | {"level": as_list(levels)}

    def inputs(
        self, data: Any, columns: Mapping[str, str], schema: Schema, parameters: Json
    ) -> PredictionInputs:
        """One series an instance."""
        if data is None:
            raise InvalidInput(NO_DATA)
        if not is_frame(data):
            return _from_lists(data)
        frame, ahead = as_frame(data), parameters.get("future")
        names = {
            canonical: columns.get(canonical, schema.column(canonical)) for canonical in (ID, TIME, VALUE)
        }
        check_columns(frame, {TIME: names[TIME], VALUE: names[VALUE]})
        grouped = names[ID] in frame.names
        if not grouped and ID in columns:
            raise InvalidInput(f"the frame has no column {names[ID]}")
        known = [name for name in frame.names if name in _covariates(schema)]
        past = LongFrame(frame, names, grouped, known)
        series = past.series()
        future = None if ahead is None else add_future(series, past, ahead, future_covariates(schema))
        levels = as_list(parameters["level"]) if parameters.get("level") is not None else None
        table = ForecastTable(past, list(series), levels, future)
        return PredictionInputs(list(series.values()), table, past.place)


def _from_lists(data: Any) -> PredictionInputs:
    """Series as lists of values or as instances; one series alone has one result."""
    listed = [data] if isinstance(data, dict) else as_list(data)
    alone = isinstance(data, dict) or (bool(listed) and not isinstance(listed[0], list | tuple | dict))
    series = [data] if isinstance(data, dict) else [listed] if alone else listed
    instances = [one if isinstance(one, dict) else {"values": as_numbers(one)} for one in series]
    _check_finite(instances)
    return PredictionInputs(instances, finish_list(parse_forecast, alone=alone))


def _check_finite(instances: Sequence[Json]) -> None:
    for index, instance in enumerate(instances):
        values = instance.get("values")
        for step, value in enumerate(values if isinstance(values, list | tuple) else ()):
            if isinstance(value, float) and isinf(value):
                raise InvalidInput(f"value {step} of series {instance.get('item_id', index)!r} is infinite")


def _stored_series(series: Any, index: int) -> Json:
    """A series for an upload: its values, on a counter, or the object that JSON Lines have."""
    if isinstance(series, dict):
        return series
    return {"item_id": str(index), "start": 0, "freq": 1, "target": as_numbers(series)}


def _covariates(schema: Schema) -> set[str]:
    """The columns that the version was trained with beside those of a series."""
    summary: Json = (schema.dataset or {}).get("summary", {}).get("covariates") or {}
    options, known = schema.version["options"], set[str]()
    for option, kinds in COVARIATES.items():
        chosen = options.get(option)
        known.update(*(summary.get(kind) or [] for kind in kinds) if chosen is None else (chosen,))
    return known | set(future_covariates(schema) or [])


class ForecastTable:
    """Forecasts as a frame: a row for each series and step, with the names of the upload."""

    def __init__(
        self, past: LongFrame, ids: list[Any], levels: list[Any] | None, future: Future | None
    ) -> None:
        self._frame, self._names, self._grouped = past.frame, past.names, past.grouped
        self._ids, self._levels, self._future = ids, levels, future

    def __call__(self, predictions: list[Json]) -> Any:
        """The frame; warnings of the service become warnings of Python."""
        columns: dict[str, list[Any]] = {self._names[ID]: []} if self._grouped else {}
        columns |= {self._names[TIME]: [], "mean": [], "median": []}
        for one, prediction in zip(self._ids, predictions, strict=True):
            steps = len(prediction["mean"])
            if self._grouped:
                columns[self._names[ID]] += [one] * steps
            columns[self._names[TIME]] += prediction.get("timestamps") or list(range(1, steps + 1))
            columns["mean"] += prediction["mean"]
            columns["median"] += prediction["median"]
            for name, bound in interval_columns(prediction, self._levels).items():
                columns.setdefault(name, []).extend(bound)
        warn(self._ids, predictions)
        self._warn_of_gaps(predictions)
        like = {self._names[TIME]: self._names[TIME]}
        like |= {self._names[ID]: self._names[ID]} if self._grouped else {}
        return self._frame.build(columns, like)

    def _warn_of_gaps(self, predictions: list[Json]) -> None:
        """Warn about the first series whose future has no row for a step of its forecast."""
        if self._future is not None:
            future, pairs = self._future, zip(self._ids, predictions, strict=True)
            any(future.warn_of_gaps(one, prediction.get("timestamps") or []) for one, prediction in pairs)


def _hint(frame: Frame, columns: Mapping[str, str]) -> Callable[[str], str | None]:
    """What may mend a fault of a frame: rows of several series that no column tells apart."""

    def hint(detail: str) -> str | None:
        used = {TIME, VALUE, ID, *columns.values()}
        others = [name for name in frame.names if name not in used and _may_be_ids(frame.cells(name))]
        if not detail.startswith(DUPLICATE) or columns.get(ID, ID) in frame.names or not others:
            return None
        return f'several series? Name the column of their ids, for example id="{others[0]}"'

    return hint


def _may_be_ids(cells: Sequence[Any]) -> bool:
    """Whether all are texts or whole numbers."""
    return all(isinstance(cell, str | int) for cell in cells)
