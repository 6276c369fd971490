"""The series of a data set as forecast requests, each made only when it is asked for."""

import numpy as np

from app.errors import Invalid, Problem
from app.tasks.contract import Array
from app.tasks.forecasting.frequency import Frequency
from app.tasks.forecasting.inference import Instance, Parameters, check_parameters
from app.tasks.forecasting.series import SeriesSet
from app.typedefs import Json

Entries = list[float | str | None]

LONGEST = 100_000  # steps a request may tell


class SeriesInstances:
    """Instance `i` tells series `i` up to its last observed value, and the covariates known beyond it.

    Nothing of the flat arrays is read before its series is asked for, so they may be memory-mapped. Steps
    that the model does not look back to, and columns it does not know, are left out.
    """

    def __init__(self, series: SeriesSet, state: Json) -> None:
        self._series, self._state = series, state
        self._frequency = Frequency.parse(series.freq)
        self._memory = min(int(state["history"]), LONGEST)
        self._past = _places(series.covariate_names, state["past"] + state["future"])
        self._future = _places(series.covariate_names, state["future"])
        self._static = _places(series.static_names, state["static"] + state["past"] + state["future"])

    def __len__(self) -> int:
        return len(self._series.ids)

    def __getitem__(self, index: int) -> Instance:
        series, (start, stop) = self._series, self._bounds(index)
        observed = np.flatnonzero(np.isfinite(series.values[start:stop]))
        end = start + int(observed[-1]) + 1 if len(observed) else stop
        first = max(start, end - self._memory)
        ordinal = int(series.starts[index]) + first - start
        phase = int(series.phases[index]) if len(series.phases) else 0
        return Instance(
            values=series.values[first:end].tolist(),
            start=self._frequency.stamps(ordinal, 1, phase)[0],
            freq=series.freq,
            item_id=str(series.ids[index]),
            past=self._columns(self._past, first, end),
            future=self._columns(self._future, end, min(end + self._state["horizon"], stop)),
            static=self._levels(index),
        )

    def _bounds(self, index: int) -> tuple[int, int]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return int(self._series.offsets[index]), int(self._series.offsets[index + 1])

    def _columns(self, places: dict[str, int], first: int, end: int) -> dict[str, Entries]:
        rows = self._series.covariates[first:end]  # (points, covariates)
        levels = self._series.covariate_levels
        return {name: _entries(rows[:, place], levels[place]) for name, place in places.items()}

    def _levels(self, index: int) -> dict[str, str | None]:
        codes, levels = self._series.static_codes, self._series.static_levels
        told = {name: int(codes[index, place]) for name, place in self._static.items()}
        return {name: levels[self._static[name]][code] if code >= 0 else None for name, code in told.items()}


def _places(names: list[str], specs: list[Json]) -> dict[str, int]:
    """Where the columns are that both the data set and the model have."""
    known = {spec["name"] for spec in specs}
    return {name: place for place, name in enumerate(names) if name in known}


def _entries(column: Array, levels: list[str]) -> Entries:
    """One covariate as a request tells it: numbers, or the levels behind their codes."""
    numbers: list[float | str | None] = column.tolist()
    if not levels:
        return numbers
    return [
        levels[int(code)] if seen else None for code, seen in zip(column, np.isfinite(column), strict=True)
    ]


def misfits(summary: Json, state: Json, parameters: Parameters) -> list[Problem]:
    """Why the series of a data set with this summary cannot be forecast with these parameters."""
    problems = []
    if summary["frequency"] != state["freq"]:
        told = f"its series have frequency {summary['frequency']}, the model was trained on {state['freq']}"
        problems.append(Problem("/dataset", told))
    try:
        check_parameters(state, parameters)
    except Invalid as error:
        problems += error.problems
    return problems
