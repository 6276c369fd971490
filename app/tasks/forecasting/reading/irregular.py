"""Faults of time stamps: duplicates, fractions of a second, and rows or series beside the common grid."""

import numpy as np

from app.arrays import Array
from app.tasks.forecasting.reading.infer_frequency import (
    MAX_OFF_GRID_SHARE,
    FrequencyFit,
    SeriesTimes,
    fit_frequency,
)
from app.tasks.forecasting.reading.rows import TableRows
from app.tasks.source import Faults

MAX_POINTS_PER_ROW = 20  # a series with more grid points for each of its rows is irregular
MIN_ROWS_TO_COMPARE = 5  # a series with more rows, all of them several steps apart, has another frequency
GAP_STEPS = (1.5, 2.5)  # two steps, as months differ
FRACTIONS_UNREAD = "Fractions of a second are not read"


def check_misdated(rows: TableRows, descents: Array, faults: Faults) -> None:
    """A row out of order between two rows that are two steps apart has a wrong time stamp.

    The rows are sorted by series; behind each of `descents` a series goes back in time.
    """
    codes, counts = np.unique(rows.codes[descents], return_counts=True)
    for row in descents[np.isin(rows.codes[descents], codes[counts == 1])].tolist():
        code = rows.codes[row]
        first, end = np.searchsorted(rows.codes, [code, code + 1]).tolist()
        seconds = rows.times[first:end].astype(np.int64)
        step = float(np.median(np.abs(np.diff(seconds))))
        for wrong in (row, row + 1):
            before, after = wrong - 1 - first, wrong + 1 - first
            if before < 0 or after >= len(seconds):
                continue
            if GAP_STEPS[0] * step < seconds[after] - seconds[before] < GAP_STEPS[1] * step:
                between = f"{rows.lines[wrong - 1]} and {rows.lines[wrong + 1]}"
                detail = f"This time stamp is out of order, and the one between rows {between} is missing."
                rows.fault(wrong, detail, faults)
                break


def check_duplicates(rows: TableRows, faults: Faults) -> None:
    """Each row must be later than the one before it of its series; rows are sorted by series and time."""
    for index in (np.flatnonzero(rows.repeated()) - 1).tolist():
        name, line = rows.names[rows.codes[index]], rows.lines[index]
        if rows.fractional is not None and rows.fractional[index : index + 2].any():
            detail = f"{FRACTIONS_UNREAD}: without them series {name!r} has this time in row {line} too."
            rows.fault(index + 1, detail, faults)
            return
        detail = f"Duplicate time stamp: series {name!r} has this one in row {line} too."
        rows.fault(index + 1, detail, faults)


def fractions_warning(count: int) -> str:
    """A warning that this many time stamps had a fraction of a second."""
    return f"{FRACTIONS_UNREAD}: those of {count:,} time stamps are cut off."


def check_fractions(
    rows: TableRows, fit: FrequencyFit, sizes: Array, faults: Faults, warnings: list[str]
) -> None:
    """Raise `DatasetInvalid` where the time stamps are not regular without their fractions of a second.

    `sizes` (series,) are the grid points of each series.
    """
    if rows.fractional is None or not rows.fractional.any():
        return
    has_gaps = int(sizes.sum()) > len(rows.codes)
    if fit.off_grid.any() or (has_gaps and fit.frequency.alias == "s"):
        first = int(rows.fractional.argmax())
        rows.fault(first, f"{FRACTIONS_UNREAD}; without them the time stamps are not regular.", faults)
        faults.check()
    warnings.append(fractions_warning(int(rows.fractional.sum())))


def check_on_grid(rows: TableRows, fit: FrequencyFit, firsts: Array, faults: Faults) -> None:
    """Rows beside the grid are faults; where they are many in a series, the series is one."""
    lengths = np.diff(firsts, append=len(rows.codes))  # (series,)
    same = (np.diff(fit.ordinals) == 0) & (np.diff(rows.codes) == 0) & ~fit.off_grid[1:] & ~fit.off_grid[:-1]
    for index in np.flatnonzero(same).tolist():
        detail = f"The row {rows.lines[index]} of its series is at the same point of {fit.frequency.alias}."
        rows.fault(index + 1, detail, faults)
    off_grid = np.add.reduceat(fit.off_grid, firsts, dtype=np.int64)  # (series,)
    for series in np.flatnonzero(off_grid).tolist():
        start, count = int(firsts[series]), int(lengths[series])
        positions = start + np.flatnonzero(fit.off_grid[start : start + count])
        if off_grid[series] > MAX_OFF_GRID_SHARE * count and count > 2:
            row, detail = _describe_series(rows, fit, slice(start, start + count), positions)
            rows.fault(row, detail, faults)
            continue
        for row in positions.tolist():
            rows.fault(row, _describe_row(fit.frequency.alias), faults)


def _describe_row(alias: str) -> str:
    return f"Mixed frequency: the other time stamps are those of {alias}, this one is not."


def _describe_series(rows: TableRows, fit: FrequencyFit, span: slice, off_grid: Array) -> tuple[int, str]:
    """Row and message for a series (the rows of `span`) of which a large share is beside the grid."""
    name, alias = rows.names[rows.codes[span.start]], fit.frequency.alias
    own = fit_frequency(SeriesTimes(rows.times[span], np.zeros(1, np.int64)))
    if not own.off_grid.any() and own.frequency.alias != alias:
        return span.start, f"Mixed frequency: series {name!r} is {own.frequency.alias}, others are {alias}."
    if len(off_grid) == 1:
        return int(off_grid[0]), _describe_row(alias)
    count = span.stop - span.start
    return int(off_grid[0]), (
        f"Irregular time stamps: {len(off_grid)} of the {count} rows of series {name!r}, from this one on, "
        f"are not at the time stamps of {alias}."
    )


def check_regular(rows: TableRows, fit: FrequencyFit, firsts: Array, sizes: Array, faults: Faults) -> None:
    """Refuse series of another frequency than the rest, or with hardly any rows on their grid points."""
    ordinals = fit.ordinals
    lengths = np.diff(firsts, append=len(ordinals))  # (series,)
    steps = np.diff(ordinals, append=ordinals[-1] + 1)
    steps[firsts[1:] - 1] = np.iinfo(np.int64).max  # between two series
    steps[-1] = np.iinfo(np.int64).max
    smallest = np.minimum.reduceat(steps, firsts)  # (series,)
    coarser = (smallest > 1) & (lengths > MIN_ROWS_TO_COMPARE)
    sparse = sizes > MAX_POINTS_PER_ROW * lengths
    off_grid = np.add.reduceat(fit.off_grid, firsts, dtype=np.int64) > 0
    for series in np.flatnonzero((coarser | sparse) & ~off_grid).tolist():
        name, alias, first = rows.names[rows.codes[firsts[series]]], fit.frequency.alias, int(firsts[series])
        if coarser[series]:
            detail = f"Mixed frequency: no rows of series {name!r} are {alias} apart, as others are."
            rows.fault(first, detail, faults)
            continue
        detail = (
            f"Irregular time stamps: series {name!r} has {lengths[series]} rows on {sizes[series]} "
            f"points that are {alias} apart."
        )
        rows.fault(_row_beside_gap(ordinals, first, int(lengths[series])), detail, faults)


def _row_beside_gap(ordinals: Array, first: int, count: int) -> int:
    """The row at the largest gap of a series, on the side with fewer rows."""
    before = int(np.diff(ordinals[first : first + count]).argmax()) + 1  # rows before the gap
    return first + (before if before > count // 2 else before - 1)
