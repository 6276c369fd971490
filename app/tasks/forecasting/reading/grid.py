"""Rows of a long table, interleaved in any way, laid on one regular grid."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from app.tasks.arrays import Array
from app.tasks.forecasting.frequency import Frequency
from app.tasks.forecasting.reading.infer_frequency import infer_frequency
from app.tasks.source import MAX_FAULTS, Faults

MAX_POINTS_PER_ROW = 20  # a series with more grid points for each of its rows is irregular
MIN_ROWS_TO_COMPARE = 5  # a series with more rows, all of them several steps apart, has another frequency


@dataclass(frozen=True)
class TableRows:
    """The keys of a long table: row `k` is of series `codes[k]` at `times[k]`."""

    names: list[str]  # of the series
    codes: Array  # (rows,) int32 into `names`
    times: Array  # (rows,) int64 or datetime64[s]
    lines: Array  # (rows,) line numbers in the file
    column: str  # name of the time column


@dataclass(frozen=True)
class Grid:
    """The grids of all series, one behind the other, and the grid point of each row of a long table."""

    frequency: Frequency
    starts: Array  # (series,) int64 ordinals
    phases: Array  # (series,) int64
    offsets: Array  # (series + 1,) int64
    order: Array | slice  # rows by series and time
    points: Array  # (rows,) grid point of each row in that order
    missing_points: int = field(default=0)  # grid points without a row
    gapped_series: int = field(default=0)  # series with a grid point without a row

    def spread(self, values: Array, *, empty: float, dtype: Any = None) -> Array:
        """Values of the rows (rows,) on the grid points (N,); a point without a row is `empty`."""
        grid = np.full(int(self.offsets[-1]), empty, dtype or values.dtype)
        grid[self.points] = values[self.order]
        return grid


def build_grid(rows: TableRows, faults: "Faults") -> Grid:
    """Sort rows into series and infer their common grid.

    Every row that does not fit is a fault; raises `DatasetInvalid` if there is one.
    """
    order = _series_order(rows)
    codes, times = rows.codes[order], rows.times[order]
    firsts = np.flatnonzero(np.diff(codes, prepend=-1))  # (series,) first row of each series
    lines = rows.lines[order]
    _check_ascending(rows, codes, times, lines, faults)
    faults.check()
    try:
        frequency = infer_frequency(np.split(times, firsts[1:]))
    except ValueError as error:
        faults.add(str(error), column=rows.column)
        faults.check()
        raise
    ordinals, phases = frequency.ordinal(times), frequency.phase(times)
    lengths = np.diff(firsts, append=len(codes))  # (series,) rows of each
    starts = ordinals[firsts]
    owners = np.repeat(np.arange(len(firsts)), lengths)  # (rows,) series of each
    series_phases = _check_phases(rows, frequency, phases, owners, lines, faults)
    sizes = ordinals[firsts + lengths - 1] - starts + 1  # (series,) grid points of each
    _check_regular(rows, frequency, ordinals, firsts, lengths, sizes, lines, faults)
    faults.check()
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    return Grid(
        frequency,
        starts,
        series_phases,
        offsets,
        order,
        points=ordinals - np.repeat(starts - offsets[:-1], lengths),
        missing_points=int((sizes - lengths).sum()),
        gapped_series=int((sizes > lengths).sum()),
    )


def _series_order(rows: TableRows) -> Array | slice:
    """Order of the rows by series, each series in file order; a slice if the file is in that order."""
    return slice(None) if np.all(np.diff(rows.codes) >= 0) else np.argsort(rows.codes, kind="stable")


def _check_ascending(rows: TableRows, codes: Array, times: Array, lines: Array, faults: "Faults") -> None:
    """Each row of a series must be later than the one before it."""
    steps = np.diff(times).astype(np.int64)
    for index in np.flatnonzero((steps <= 0) & (np.diff(codes) == 0)).tolist():
        name, line = rows.names[codes[index]], lines[index]
        if steps[index] == 0:
            detail = f"Duplicate time stamp: series {name!r} has this one in row {line} too."
        else:
            detail = f"Not sorted by time: series {name!r} has a later time stamp before, in row {line}."
        faults.add(detail, row=int(lines[index + 1]), column=rows.column)


def _check_phases(
    rows: TableRows, frequency: Frequency, phases: Array, owners: Array, lines: Array, faults: "Faults"
) -> Array:
    """The phase of each series (series,), which must be the same in all its rows.

    If the first row of a series disagrees, the most frequent phase is taken, so that only the rows that
    differ are faults.
    """
    expected = phases[np.flatnonzero(np.diff(owners, prepend=-1))].copy()  # (series,)
    for series in np.unique(owners[phases != expected[owners]])[:MAX_FAULTS].tolist():
        values, counts = np.unique(phases[owners == series], return_counts=True)
        expected[series] = values[counts.argmax()]
    for index in np.flatnonzero(phases != expected[owners]).tolist():
        faults.add(
            f"Mixed frequency: the other time stamps are {frequency.alias} apart, this one is not.",
            row=int(lines[index]),
            column=rows.column,
        )
    return expected


def _check_regular(
    rows: TableRows,
    frequency: Frequency,
    ordinals: Array,
    firsts: Array,
    lengths: Array,
    sizes: Array,
    lines: Array,
    faults: "Faults",
) -> None:
    """Refuse series of another frequency than the rest, or with hardly any rows on their grid."""
    steps = np.diff(ordinals, append=ordinals[-1] + 1)
    steps[firsts[1:] - 1] = np.iinfo(np.int64).max  # between two series
    steps[-1] = np.iinfo(np.int64).max
    smallest = np.minimum.reduceat(steps, firsts)  # (series,)
    coarser = (smallest > 1) & (lengths > MIN_ROWS_TO_COMPARE)
    sparse = sizes > MAX_POINTS_PER_ROW * lengths
    for series in np.flatnonzero(coarser | sparse).tolist():
        name = rows.names[series]
        if coarser[series]:
            detail = (
                f"Mixed frequency: no rows of series {name!r} are {frequency.alias} apart, as others are."
            )
        else:
            detail = (
                f"Irregular time stamps: series {name!r} has {lengths[series]} rows on {sizes[series]} "
                f"points that are {frequency.alias} apart."
            )
        faults.add(detail, row=int(lines[firsts[series]]), column=rows.column)


def fill_forward(grid: Array, empty: int) -> Array:
    """Values in which each empty point repeats the point before it; the first point is not empty."""
    known = np.where(grid == empty, 0, np.arange(len(grid)))
    return grid[np.maximum.accumulate(known)]
