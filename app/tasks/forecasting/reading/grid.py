"""Rows of many series, in any interleaving, onto one regular grid."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from app.tasks.contract import Array, Faults
from app.tasks.forecasting.frequency import Frequency
from app.tasks.forecasting.reading.infer_frequency import infer

SPARSEST = 20  # grid points a row, above which a series is not regular
TELLING = 5  # steps a series needs before all of them being multiples says it has another frequency


@dataclass(frozen=True)
class Rows:
    """A long table: row `k` says that series `codes[k]` had `values[k]` at `times[k]`."""

    names: list[str]  # the series
    codes: Array  # (rows,) int32 into `names`
    times: Array  # (rows,) int64 or datetime64[s]
    lines: Array  # (rows,) line numbers in the file
    column: str  # what the times are called


@dataclass(frozen=True)
class Grid:
    """Where each row of a long table lies when all series are laid on their grids, one behind the other."""

    frequency: Frequency
    starts: Array  # (series,) int64 ordinals
    phases: Array  # (series,) int64
    offsets: Array  # (series + 1,) int64
    order: Array | slice  # rows by series and time
    place: Array  # (rows,) grid point of each row in that order
    gaps: int = field(default=0)  # grid points without a row
    gappy: int = field(default=0)  # series that have such

    def lay(self, values: Array, *, empty: float, dtype: Any = None) -> Array:
        """Spread (rows,) values over the (N,) grid points; points without a row are `empty`."""
        grid = np.full(int(self.offsets[-1]), empty, dtype or values.dtype)
        grid[self.place] = values[self.order]
        return grid


def lay_out(rows: Rows, faults: "Faults") -> Grid:
    """Sort rows into series and find their common grid; every row that does not fit is a fault."""
    order = _order(rows)
    codes, times = rows.codes[order], rows.times[order]
    firsts = np.flatnonzero(np.diff(codes, prepend=-1))  # (series,) first row of each series
    lines = rows.lines[order]
    _check_rising(rows, codes, times, lines, faults)
    faults.check()
    try:
        frequency = infer(np.split(times, firsts[1:]))
    except ValueError as error:
        faults.add(str(error), column=rows.column)
        faults.check()
        raise
    ordinals, phases = frequency.ordinal(times), frequency.phase(times)
    lengths = np.diff(firsts, append=len(codes))  # (series,) rows of each
    starts = ordinals[firsts]
    phases = _check_phases(rows, frequency, phases, np.repeat(np.arange(len(firsts)), lengths), lines, faults)
    sizes = ordinals[firsts + lengths - 1] - starts + 1  # (series,) grid points of each
    _check_regular(rows, frequency, ordinals, firsts, lengths, sizes, lines, faults)
    faults.check()
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    place = ordinals - np.repeat(starts - offsets[:-1], lengths)
    return Grid(
        frequency,
        starts,
        phases,
        offsets,
        order,
        place,
        int((sizes - lengths).sum()),
        int((sizes > lengths).sum()),
    )


def _order(rows: Rows) -> Array | slice:
    """Rows series by series, each series in file order; a slice when the file is so already."""
    return slice(None) if np.all(np.diff(rows.codes) >= 0) else np.argsort(rows.codes, kind="stable")


def _check_rising(rows: Rows, codes: Array, times: Array, lines: Array, faults: "Faults") -> None:
    """Each row of a series must be later than the one before it."""
    steps = np.diff(times).astype(np.int64)
    for at in np.flatnonzero((steps <= 0) & (np.diff(codes) == 0)).tolist():
        name = rows.names[codes[at]]
        if steps[at] == 0:
            detail = f"Duplicate time stamp: series {name!r} has this one in row {lines[at]} too."
        else:
            detail = f"Not sorted by time: series {name!r} has a later time stamp before, in row {lines[at]}."
        faults.add(detail, row=int(lines[at + 1]), column=rows.column)


def _check_phases(
    rows: Rows, frequency: Frequency, phases: Array, series: Array, lines: Array, faults: "Faults"
) -> Array:
    """All rows of a series must lie equally far from the grid; gives that distance for each series."""
    usual = phases[np.flatnonzero(np.diff(series, prepend=-1))].copy()  # (series,)
    for one in np.unique(series[phases != usual[series]])[:SPARSEST].tolist():
        values, counts = np.unique(phases[series == one], return_counts=True)
        usual[one] = values[counts.argmax()]
    for at in np.flatnonzero(phases != usual[series]).tolist():
        faults.add(
            f"Mixed frequency: the other time stamps are {frequency.alias} apart, this one is not.",
            row=int(lines[at]),
            column=rows.column,
        )
    return usual


def _check_regular(
    rows: Rows,
    frequency: Frequency,
    ordinals: Array,
    firsts: Array,
    lengths: Array,
    sizes: Array,
    lines: Array,
    faults: "Faults",
) -> None:
    """Refuse series that have another frequency than the rest or next to no rows on their grid."""
    steps = np.diff(ordinals, append=ordinals[-1] + 1)
    steps[firsts[1:] - 1] = np.iinfo(np.int64).max  # between two series
    steps[-1] = np.iinfo(np.int64).max
    smallest = np.minimum.reduceat(steps, firsts)  # (series,)
    other = (smallest > 1) & (lengths > TELLING)
    sparse = sizes > SPARSEST * lengths
    for one in np.flatnonzero(other | sparse).tolist():
        name = rows.names[one]
        if other[one]:
            detail = (
                f"Mixed frequency: no rows of series {name!r} are {frequency.alias} apart, as others are."
            )
        else:
            detail = (
                f"Irregular time stamps: series {name!r} has {lengths[one]} rows on {sizes[one]} points "
                f"that are {frequency.alias} apart."
            )
        faults.add(detail, row=int(lines[firsts[one]]), column=rows.column)


def fill_forward(grid: Array, empty: int) -> Array:
    """Give points without a row the (non-empty) value of the point before them; the first has one."""
    known = np.where(grid == empty, 0, np.arange(len(grid)))
    return grid[np.maximum.accumulate(known)]
