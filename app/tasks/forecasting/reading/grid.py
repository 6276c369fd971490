"""Rows of a long table, interleaved in any way, laid on one regular grid."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from app.arrays import Array
from app.tasks.forecasting.frequency import Frequency
from app.tasks.forecasting.reading.clock import fit_clock
from app.tasks.forecasting.reading.irregular import (
    check_duplicates,
    check_fractions,
    check_misdated,
    check_on_grid,
    check_regular,
)
from app.tasks.forecasting.reading.rows import TableRows
from app.tasks.source import Faults


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
    warnings: list[str] = field(default_factory=list)  # how the time stamps were understood

    def spread(self, values: Array, *, empty: float, dtype: Any = None) -> Array:
        """Values of the rows (rows,) on the grid points (N,); a point without a row is `empty`."""
        grid = np.full(int(self.offsets[-1]), empty, dtype or values.dtype)
        grid[self.points] = values[self.order]
        return grid


def build_grid(rows: TableRows, faults: "Faults") -> Grid:
    """Sort rows into series by time and infer their common grid.

    Every row that does not fit is a fault; raises `DatasetInvalid` if there is one.
    """
    warnings: list[str] = []
    order = _time_order(rows, faults, warnings)
    faults.check()
    ordered = rows if isinstance(order, slice) else rows.take(order)
    firsts = np.flatnonzero(np.diff(ordered.codes, prepend=-1))  # (series,) first row of each series
    check_duplicates(ordered, faults)
    faults.check()
    try:
        fit = fit_clock(ordered, firsts, warnings)
    except ValueError as error:
        faults.add(str(error), column=rows.column)
        faults.check()
        raise
    lengths = np.diff(firsts, append=len(ordered.codes))  # (series,) rows of each
    starts = fit.ordinals[firsts]
    sizes = fit.ordinals[firsts + lengths - 1] - starts + 1  # (series,) grid points of each
    check_fractions(ordered, fit, sizes, faults, warnings)
    check_on_grid(ordered, fit, firsts, faults)
    check_regular(ordered, fit, firsts, sizes, faults)
    faults.check()
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    return Grid(
        fit.frequency,
        starts,
        fit.phases,
        offsets,
        order,
        points=fit.ordinals - np.repeat(starts - offsets[:-1], lengths),
        missing_points=int((sizes - lengths).sum()),
        gapped_series=int((sizes > lengths).sum()),
        warnings=warnings,
    )


def _time_order(rows: TableRows, faults: "Faults", warnings: list[str]) -> Array | slice:
    """Order of the rows by series and time; a slice if the file is in that order.

    A row that belongs where it stands, by a gap of one step around it, is a fault.
    """
    new_series = np.diff(rows.codes)
    steps = np.diff(rows.times).astype(np.int64)
    if np.all(new_series >= 0) and np.all((steps > 0) | (new_series > 0)):
        return slice(None)
    by_series = np.argsort(rows.codes, kind="stable")
    codes = rows.codes[by_series]
    back = (np.diff(rows.times[by_series]).astype(np.int64) < 0) & (np.diff(codes) == 0)
    if not back.any():
        return by_series
    check_misdated(rows.take(by_series), np.flatnonzero(back), faults)
    first = int(rows.lines[by_series[1:][back]].min())
    count = len(np.unique(codes[1:][back]))
    warnings.append(f"{count:,} series are not in the order of time (first in row {first}); they are sorted.")
    return np.lexsort((rows.times, rows.codes))


def fill_forward(grid: Array, empty: int) -> Array:
    """Values in which each empty point repeats the point before it; the first point is not empty."""
    known = np.where(grid == empty, 0, np.arange(len(grid)))
    return grid[np.maximum.accumulate(known)]
