"""Forecasting: frames in long form, or series as lists."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from recurra.errors import InvalidInput, Json
from recurra.frames import Frame, as_frame, is_frame
from recurra.results import Forecast, parse_forecast
from recurra.tasks.contract import (
    SPLIT,
    PredictionInputs,
    PreparedFile,
    Schema,
    as_list,
    as_numbers,
    finish_list,
)
from recurra.tasks.jsonl import write_jsonl
from recurra.tasks.levels import interval_columns, quantiles_of_levels

ID, TIME, VALUE = "unique_id", "ds", "y"
COVARIATES = {"static_covariates": ("static",), "past_covariates": ("numeric", "category")}


class Forecasting:
    """The data of forecasting."""

    name: ClassVar[str] = "forecasting"
    roles: ClassVar[Mapping[str, str]] = {"id": ID, "time": TIME, "target": VALUE, "split": SPLIT}

    @property
    def parse(self) -> Callable[[Json], Forecast]:
        """What makes the forecast of one series."""
        return parse_forecast

    def write(self, data: Any, answers: Any, columns: Mapping[str, str], folder: Path) -> PreparedFile:
        """A frame as CSV, or series as JSON Lines."""
        if answers is not None:
            raise InvalidInput("the values of a series are a column of the frame: target=…")
        if isinstance(data, str):
            raise InvalidInput(f"there is no file {data}")
        if not is_frame(data):
            return write_jsonl(folder, [_stored_series(series, index) for index, series in enumerate(data)])
        frame = as_frame(data)
        _check_columns(frame, {TIME: TIME, VALUE: VALUE, **columns})
        path = folder / "series.csv"
        frame.write_csv(path)
        return PreparedFile(path, "csv", columns)

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
        if not is_frame(data):
            return _from_lists(data)
        frame, future = as_frame(data), parameters.get("future")
        names = {
            canonical: columns.get(canonical, schema.column(canonical)) for canonical in (ID, TIME, VALUE)
        }
        _check_columns(frame, {TIME: names[TIME], VALUE: names[VALUE]})
        grouped = names[ID] in frame.names
        if not grouped and ID in columns:
            raise InvalidInput(f"the frame has no column {names[ID]}")
        known = [name for name in frame.names if name in _covariates(schema)]
        series = _by_series(frame, names, grouped=grouped, covariates=known)
        if future is not None:
            _add_future(series, as_frame(future), names, grouped=grouped, covariates=known)
        levels = as_list(parameters["level"]) if parameters.get("level") is not None else None
        return PredictionInputs(
            list(series.values()), ForecastTable(frame, names, list(series), levels, grouped=grouped)
        )


def _from_lists(data: Any) -> PredictionInputs:
    """Series as lists of values or as instances; one series alone has one result."""
    listed = [data] if isinstance(data, dict) else as_list(data)
    alone = isinstance(data, dict) or (bool(listed) and not isinstance(listed[0], list | tuple | dict))
    series = [data] if isinstance(data, dict) else [listed] if alone else listed
    instances = [one if isinstance(one, dict) else {"values": as_numbers(one)} for one in series]
    return PredictionInputs(instances, finish_list(parse_forecast, alone=alone))


def _stored_series(series: Any, index: int) -> Json:
    """A series for an upload: its values, on a counter, or the object that JSON Lines have."""
    if isinstance(series, dict):
        return series
    return {"item_id": str(index), "start": 0, "freq": 1, "target": as_numbers(series)}


def _check_columns(frame: Frame, columns: Mapping[str, str]) -> None:
    for canonical, column in columns.items():
        if column not in frame.names:
            role = next(role for role, name in Forecasting.roles.items() if name == canonical)
            there = ", ".join(frame.names[:20])
            raise InvalidInput(f"the frame has no column {column}; name it with {role}=…. It has: {there}")


def _covariates(schema: Schema) -> set[str]:
    """The columns that the version was trained with beside those of a series."""
    summary: Json = (schema.dataset or {}).get("summary", {}).get("covariates") or {}
    options, known = schema.version["options"], set[str]()
    for option, kinds in COVARIATES.items():
        chosen = options.get(option)
        known.update(*(summary.get(kind) or [] for kind in kinds) if chosen is None else (chosen,))
    return known | set(options.get("future_covariates") or [])


SeriesById = dict[Any, Json]  # each series as an object of columns


def _by_series(
    frame: Frame, names: Mapping[str, str], *, grouped: bool, covariates: Sequence[str]
) -> SeriesById:
    """Each series as an object of columns, in the order of their first rows."""
    cells = {name: frame.cells(name) for name in covariates}
    cells |= {TIME: frame.cells(names[TIME])}
    if names[VALUE] in frame.names:
        cells[VALUE] = frame.cells(names[VALUE])
    count = len(cells[TIME])
    ids = frame.cells(names[ID]) if grouped else [None] * count
    places: dict[Any, list[int]] = {}
    for row, one in enumerate(ids):
        places.setdefault(one, []).append(row)
    made: SeriesById = {}
    for one, rows in places.items():
        series: Json = {name: [column[row] for row in rows] for name, column in cells.items()}
        series.setdefault(VALUE, [None] * len(rows))
        made[one] = series | ({} if one is None else {ID: str(one)})
    return made


def _add_future(
    series: SeriesById, future: Frame, names: Mapping[str, str], *, grouped: bool, covariates: Sequence[str]
) -> None:
    """Add the rows of a frame of covariates that are known ahead to the series that they are of."""
    if grouped and names[ID] not in future.names:
        raise InvalidInput(f"the frame of the future has no column {names[ID]}")
    _check_columns(future, {TIME: names[TIME]})
    known = [name for name in covariates if name in future.names]
    for one, ahead in _by_series(future, names, grouped=grouped, covariates=known).items():
        if one not in series:
            raise InvalidInput(f"the future is of a series that the frame does not have: {one}")
        past, count = series[one], len(ahead[TIME])
        for name in past.keys() - {ID}:
            past[name] += ahead[name] if name in known or name == TIME else [None] * count


class ForecastTable:
    """Forecasts as a frame: a row for each series and step, with the names of the upload."""

    def __init__(
        self,
        frame: Frame,
        names: Mapping[str, str],
        ids: list[Any],
        levels: list[Any] | None,
        *,
        grouped: bool,
    ) -> None:
        self._frame, self._names, self._ids = frame, names, ids
        self._grouped, self._levels = grouped, levels

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
        _warn(self._ids, predictions)
        like = {self._names[TIME]: self._names[TIME]}
        like |= {self._names[ID]: self._names[ID]} if self._grouped else {}
        return self._frame.build(columns, like)


def _warn(ids: Sequence[Any], predictions: Sequence[Json]) -> None:
    """Say each warning of the service once, with the first series that it is about."""
    first: dict[str, Any] = {}
    for one, prediction in zip(ids, predictions, strict=True):
        for text in prediction.get("warnings") or []:
            first.setdefault(text, one)
    for text, one in first.items():
        warnings.warn(text if one is None else f"{one}: {text}", stacklevel=2)
