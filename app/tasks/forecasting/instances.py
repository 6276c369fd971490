"""The series of a data set as forecast requests, for batch predictions."""

import numpy as np

from app.arrays import Array
from app.errors import Invalid, Problem
from app.tasks.forecasting.frequency import Frequency
from app.tasks.forecasting.inference import (
    MAX_REQUEST_STEPS,
    ForecastingInstance,
    ForecastingParameters,
    StoredInstance,
    check_parameters,
)
from app.tasks.forecasting.prediction.covariates import Cell, CovariateValues
from app.tasks.forecasting.series import SeriesSet
from app.typedefs import Json


class ForecastingInstanceView:
    """Item `i` is series `i` up to its last observed value, with the covariates of its rows beyond it.

    The flat arrays are only read when an item is accessed, so they may be memory-mapped. An item leaves out
    the steps before the model's history and the columns the model does not know; without rows beyond the last
    value it has no future covariates.
    """

    def __init__(self, series: SeriesSet, state: Json) -> None:
        self._series, self._state = series, state
        self._frequency = Frequency.parse(series.freq)
        self._max_points = min(int(state["history"]), MAX_REQUEST_STEPS)
        self._past = _common_columns(series.covariate_names, state["past"] + state["future"])
        self._future = _common_columns(series.covariate_names, state["future"])
        self._static = _common_columns(series.static_names, state["static"] + state["past"] + state["future"])

    def __len__(self) -> int:
        return len(self._series.ids)

    def __getitem__(self, index: int) -> ForecastingInstance:
        series, (start, stop) = self._series, self._bounds(index)
        observed = np.flatnonzero(np.isfinite(series.values[start:stop]))
        end = start + int(observed[-1]) + 1 if len(observed) else stop
        first = max(start, end - self._max_points)
        ordinal = int(series.starts[index]) + first - start
        phase = int(series.phases[index]) if len(series.phases) else 0
        return StoredInstance(
            values=series.values[first:end].tolist(),
            start=self._frequency.stamps(ordinal, 1, phase)[0],
            freq=series.freq,
            item_id=str(series.ids[index]),
            past=self._covariates(self._past, first, end),
            future=self._covariates(self._future, end, min(end + self._state["horizon"], stop))
            if end < stop
            else {},
            static=self._static_levels(index),
        ).dated(ordinal, phase)

    def _bounds(self, index: int) -> tuple[int, int]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return int(self._series.offsets[index]), int(self._series.offsets[index + 1])

    def _covariates(self, columns: dict[str, int], first: int, end: int) -> dict[str, CovariateValues]:
        rows = self._series.covariates[first:end]  # (points, covariates)
        levels = self._series.covariate_levels
        return {name: _decode_column(rows[:, column], levels[column]) for name, column in columns.items()}

    def _static_levels(self, index: int) -> dict[str, Cell]:
        codes, levels = self._series.static_codes, self._series.static_levels
        by_name = {name: int(codes[index, column]) for name, column in self._static.items()}
        return {
            name: levels[self._static[name]][code] if code >= 0 else None for name, code in by_name.items()
        }


def _common_columns(names: list[str], specs: list[Json]) -> dict[str, int]:
    """Index by name of the data set's columns that the model knows too."""
    known = {spec["name"] for spec in specs}
    return {name: index for index, name in enumerate(names) if name in known}


def _decode_column(column: Array, levels: list[str]) -> CovariateValues:
    """One covariate as a request has it: numbers, or the levels of its codes, None where missing."""
    numbers: CovariateValues = column.tolist()
    if not levels:
        return numbers
    return [
        levels[int(code)] if known else None for code, known in zip(column, np.isfinite(column), strict=True)
    ]


def check_dataset(summary: Json, state: Json, parameters: ForecastingParameters) -> list[Problem]:
    """Problems of forecasting a data set of this summary with these parameters; pointers into the request."""
    problems = []
    if not Frequency.parse(state["freq"]).is_like(Frequency.parse(summary["frequency"])):
        detail = f"its series have frequency {summary['frequency']}, the model was trained on {state['freq']}"
        problems.append(Problem("/dataset", detail))
    try:
        check_parameters(state, parameters)
    except Invalid as error:
        problems += error.problems
    return problems
