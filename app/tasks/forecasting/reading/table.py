"""Series from an uploaded file: long tables here, JSON Lines in `itemlines`."""

from dataclasses import dataclass, field, replace

import numpy as np

from app.tasks.contract import Array, Chunk, Faults, Source
from app.tasks.forecasting.reading.columns import IdColumn, MixedColumn, TimeColumn
from app.tasks.forecasting.reading.covariates import attach
from app.tasks.forecasting.reading.grid import Grid, Rows, fill_forward, lay_out
from app.tasks.forecasting.reading.jsonl import read_items
from app.tasks.forecasting.reading.summary import Found, describe
from app.tasks.forecasting.series import SPLITS, SeriesSet
from app.tasks.shared.table_cells import as_texts, check_numbers, is_text, shorten
from app.typedefs import Json

ID, TIME, VALUE, SPLIT = "unique_id", "ds", "y", "split"
ONLY = "series"  # what a file without ids calls its one series


def read_series(source: "Source", faults: "Faults") -> tuple[SeriesSet, "Json", list[str]]:
    """Read a data set of series; gives it with its summary and warnings, or raises `DatasetInvalid`."""
    found = read_found(source, faults)
    summary, warnings = describe(found, faults)
    return replace(found.series, phases=found.phases), summary, warnings


def read_found(source: "Source", faults: "Faults") -> Found:
    """Read series however little can be learned from them, or raise `DatasetInvalid`."""
    return read_items(source, faults) if source.format == "jsonl" else _read_table(source, faults)


@dataclass
class _Table:
    """The columns of a long table so far."""

    ids: IdColumn = field(default_factory=IdColumn)
    times: TimeColumn = field(default_factory=TimeColumn)
    values: list[Array] = field(default_factory=list)
    splits: list[Array] = field(default_factory=list)
    lines: list[Array] = field(default_factory=list)
    extras: dict[str, MixedColumn] = field(default_factory=dict)

    def add(self, chunk: "Chunk", faults: "Faults") -> None:
        """Take a chunk of rows."""
        columns, lines = dict(chunk.columns), chunk.rows
        ids = columns.pop(ID, None)
        self.ids.add(np.full(len(lines), ONLY, object) if ids is None else ids, lines, ID, faults)
        self.times.add(columns.pop(TIME), lines, TIME, faults)
        self.values.append(check_numbers(columns.pop(VALUE), lines, VALUE, faults))
        if SPLIT in columns:
            self.splits.append(_read_splits(columns.pop(SPLIT), lines, faults))
        for name, values in columns.items():
            self.extras.setdefault(name, MixedColumn()).add(values, lines, name, faults)
        self.lines.append(lines)

    def rows(self) -> Rows:
        """What places a row: its series, its time and its line."""
        return Rows(self.ids.names, self.ids.codes(), self.times.times(), np.concatenate(self.lines), TIME)


def _read_table(source: "Source", faults: "Faults") -> Found:
    """Gather the columns of a long table and lay them on the grid."""
    table = _Table()
    for chunk in source.chunks():
        _check_columns(list(chunk.columns), faults)
        table.add(chunk, faults)
    faults.check()
    if not table.lines:
        faults.add("The file has no rows.", row=1)
    faults.check()
    rows = table.rows()
    grid = lay_out(rows, faults)
    series = SeriesSet(
        ids=np.array(rows.names, np.str_),
        freq=grid.frequency.alias,
        starts=grid.starts,
        offsets=grid.offsets,
        values=grid.lay(np.concatenate(table.values), empty=np.nan),
        splits=_lay_splits(table.splits, rows, grid, faults),
    )
    warnings: list[str] = []
    if grid.gaps:
        missing = f"{grid.gaps:,} time stamps of {grid.gappy:,} series are not in the file"
        warnings.append(f"{missing}; their values are taken as missing.")
    return Found(attach(series, table.extras, grid, warnings), grid.phases, len(rows.lines), VALUE, warnings)


def _check_columns(found: list[str], faults: "Faults") -> None:
    for name in (TIME, VALUE):
        if name not in found:
            there = ", ".join(column[:40] for column in found[:12])
            detail = f"There is no column {name!r} (the file has {there}); name it with `columns`."
            faults.add(detail, row=1, column=name)
    faults.check()


def _read_splits(values: Array, lines: Array, faults: "Faults") -> Array:
    """Turn train, valid and test into (rows,) int8; anything else is a fault."""
    texts = values.tolist() if is_text(values) else as_texts(values)
    splits = np.fromiter((SPLITS.get(text, 0) for text in texts), np.int8, len(texts))
    for at in np.flatnonzero(splits == 0).tolist():
        detail = f"{shorten(texts[at])} is no split; it must be train, valid or test."
        faults.add(detail, row=int(lines[at]), column=SPLIT)
    return splits


def _lay_splits(parts: list[Array], rows: Rows, grid: Grid, faults: "Faults") -> Array:
    """Lay splits on the grid, (N,) int8; within a series train comes before valid and valid before test."""
    if not parts:
        return np.zeros(int(grid.offsets[-1]), np.int8)
    splits = np.concatenate(parts)
    ordered, codes, lines = splits[grid.order], rows.codes[grid.order], rows.lines[grid.order]
    back = (np.diff(ordered) < 0) & (np.diff(codes) == 0)
    for at in np.flatnonzero(back).tolist():
        name = rows.names[codes[at]]
        detail = f"Series {name!r} goes back to an earlier split here; the order is train, valid, test."
        faults.add(detail, row=int(lines[at + 1]), column=SPLIT)
    faults.check()
    return fill_forward(grid.lay(splits, empty=0), 0)
