"""The series of a file as instances in JSON, to be sent for prediction without a data set."""

from typing import Any

import numpy as np

from app.arrays import Array
from app.tasks.forecasting.frequency import Frequency
from app.tasks.forecasting.reading.covariates import last_observed_points
from app.tasks.forecasting.reading.table import parse_series
from app.tasks.forecasting.series import SeriesSet
from app.tasks.source import Faults, Source
from app.typedefs import Json


def read_instances(source: Source, faults: Faults) -> list[Json]:
    """One instance a series, read as for training; rows after the last value are its known future."""
    parsed = parse_series(source, faults)
    series, ends = parsed.series, last_observed_points(parsed.series) + 1
    return [_instance(series, row, int(ends[row]), int(parsed.phases[row])) for row in range(len(ends))]


def _instance(series: SeriesSet, row: int, end: int, phase: int) -> Json:
    """Series `row`, whose last observed value is at `end - 1` of the flat arrays."""
    start, stop = int(series.offsets[row]), int(series.offsets[row + 1])
    instance: Json = {
        "item_id": str(series.ids[row]),
        "start": Frequency.parse(series.freq).stamps(int(series.starts[row]), 1, phase)[0],
        "freq": series.freq,
        "values": number_cells(series.values[start:end]),
    }
    names = list(enumerate(series.covariate_names))
    covariates = {
        "past": {name: covariate_cells(series, column, start, end) for column, name in names},
        "future": {
            name: covariate_cells(series, column, end, stop)
            for column, name in names
            if name in series.known_ahead
        },
        "static": static_cells(series, row),
    }
    return instance | {name: values for name, values in covariates.items() if values}


def static_cells(series: SeriesSet, row: int) -> dict[str, str]:
    """The categories of series `row` that do not change with time, without missing ones."""
    return {
        name: series.static_levels[column][code]
        for column, name in enumerate(series.static_names)
        if (code := int(series.static_codes[row, column])) >= 0
    }


def covariate_cells(series: SeriesSet, column: int, start: int, end: int) -> list[Any]:
    """Numbers or categories of a covariate at some points of the flat arrays, None where missing."""
    values, levels = series.covariates[start:end, column], series.covariate_levels[column]  # (points,)
    if not levels:
        return number_cells(values)
    return [None if np.isnan(value) else levels[int(value)] for value in values]


def number_cells(values: Array) -> list[float | None]:
    """Numbers for JSON, None where missing."""
    return [None if np.isnan(value) else float(value) for value in values]
