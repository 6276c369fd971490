"""The series of a data set as forecast requests, for batch predictions."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

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

BLOCK_SERIES = 256  # whose starts and ends are found together


@dataclass(frozen=True)
class _Block:
    """Some series up to their last observed values, as requests have them, a list entry each."""

    rows: range  # of the data set
    firsts: list[int]  # points of the flat arrays
    ends: list[int]
    ordinals: list[int]  # of the first points
    phases: list[int]
    starts: Sequence[str | int]


class ForecastingInstanceView:
    """Item `i` is series `i` up to its last observed value, with the covariates of its rows beyond it.

    The flat arrays are only read when an item is accessed, so they may be memory-mapped; in their order items
    are read fastest. An item leaves out the steps before the model's history and the columns the model does
    not know; without rows beyond the last value it has no future covariates. Series
    end before the points `ends` (n,) of the flat arrays where these are named.
    """

    def __init__(self, series: SeriesSet, state: Json, ends: Array | None = None) -> None:
        self._series, self._state, self._ends = series, state, ends
        self._frequency = Frequency.parse(series.freq)
        self._max_points = min(int(state["history"]), MAX_REQUEST_STEPS)
        self._past = _common_columns(series.covariate_names, state["past"] + state["future"])
        self._future = _common_columns(series.covariate_names, state["future"])
        self._static = _common_columns(series.static_names, state["static"] + state["past"] + state["future"])
        self._block = _Block(range(0), [], [], [], [], [])

    def __len__(self) -> int:
        return len(self._series.ids)

    def __getitem__(self, index: int) -> ForecastingInstance:
        if not 0 <= index < len(self):
            raise IndexError(index)
        block = self._block
        if index not in block.rows:
            block = self._block = self._read_block(index - index % BLOCK_SERIES)
        row = index - block.rows.start
        series, stop = self._series, int(self._series.offsets[index + 1])
        first, end = block.firsts[row], block.ends[row]
        return StoredInstance(
            values=series.values[first:end].tolist(),
            start=block.starts[row],
            freq=series.freq,
            item_id=str(series.ids[index]),
            past=self._covariates(self._past, first, end),
            future=self._covariates(self._future, end, min(end + self._state["horizon"], stop))
            if end < stop
            else {},
            static=self._static_levels(index),
        ).dated(block.ordinals[row], block.phases[row])

    def _read_block(self, begin: int) -> "_Block":
        """Where the series from `begin` on start and end; time stamps are written for all of them at once."""
        series, rows = self._series, range(begin, min(begin + BLOCK_SERIES, len(self)))
        bounds = series.offsets[begin : rows.stop + 1].tolist()
        pairs = list(pairwise(bounds))
        if self._ends is None:
            ends = [_observed_end(series.values, start, stop) for start, stop in pairs]
        else:
            ends = self._ends[begin : rows.stop].tolist()
        firsts = [max(start, end - self._max_points) for (start, _), end in zip(pairs, ends, strict=True)]
        skipped = [first - start for first, start in zip(firsts, bounds, strict=False)]
        ordinals = (series.starts[begin : rows.stop] + np.array(skipped)).tolist()
        phases = series.phases[begin : rows.stop].tolist() if len(series.phases) else [0] * len(rows)
        starts = [stamp for (stamp,) in self._frequency.stamps_of(ordinals, 1, phases)]
        return _Block(rows, firsts, ends, ordinals, phases, starts)

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


def _observed_end(values: Array, start: int, stop: int) -> int:
    """The end of the points from `start` to `stop` without the missing ones behind the last value, if any."""
    if stop == start or np.isfinite(values[stop - 1]):
        return stop
    observed = np.flatnonzero(np.isfinite(values[start:stop]))
    return start + int(observed[-1]) + 1 if len(observed) else stop


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
