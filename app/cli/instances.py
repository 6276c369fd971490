"""A long table of series as forecasting instances, read as training reads it."""

from pathlib import Path
from typing import Any

import numpy as np

from app.cli.values import refused
from app.errors import DatasetInvalid
from app.ingest.readers import Mapping, open_source
from app.tasks.contract import Faults
from app.tasks.forecasting.frequency import Frequency
from app.tasks.forecasting.reading.covariates import last_observed
from app.tasks.forecasting.reading.table import read_found
from app.tasks.forecasting.series import SeriesSet
from app.typedefs import Json

COLUMNS = ("unique_id", "ds", "y", "split")


def from_csv(path: Path, columns: dict[str, str]) -> list[Json]:
    """One instance a series; rows after the last value are its known future."""
    faults = Faults()
    try:
        source = open_source(path, "csv", Mapping.checked(columns, COLUMNS), faults)
        found = read_found(source, faults)
    except DatasetInvalid as error:
        raise refused(error) from None
    series, ends = found.series, last_observed(found.series) + 1
    return [_instance(series, row, int(ends[row]), int(found.phases[row])) for row in range(len(ends))]


def _instance(series: SeriesSet, row: int, end: int, phase: int) -> Json:
    start, stop = int(series.offsets[row]), int(series.offsets[row + 1])
    frequency = Frequency.parse(series.freq)
    found: Json = {
        "item_id": str(series.ids[row]),
        "start": frequency.stamps(int(series.starts[row]), 1, phase)[0],
        "freq": series.freq,
        "values": _numbers(series.values[start:end]),
    }
    past = {name: _column(series, place, start, end) for place, name in enumerate(series.covariate_names)}
    future = {
        name: _column(series, place, end, stop)
        for place, name in enumerate(series.covariate_names)
        if name in series.known_ahead
    }
    static = {
        name: series.static_levels[place][code]
        for place, name in enumerate(series.static_names)
        if (code := int(series.static_codes[row, place])) >= 0
    }
    parts = {"past": past, "future": future, "static": static}
    return found | {name: part for name, part in parts.items() if part}


def _column(series: SeriesSet, place: int, start: int, end: int) -> list[Any]:
    values, levels = series.covariates[start:end, place], series.covariate_levels[place]
    if not levels:
        return _numbers(values)
    return [None if np.isnan(value) else levels[int(value)] for value in values]


def _numbers(values: Any) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]
