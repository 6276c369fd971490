"""Series from an uploaded file: long tables here, JSON Lines of whole series in `jsonl`."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np

from app.arrays import Array
from app.errors import DatasetInvalid
from app.tasks.forecasting.reading.columns import (
    IdColumn,
    MissingTexts,
    MixedColumn,
    TimeColumn,
    split_problem,
)
from app.tasks.forecasting.reading.covariates import attach_covariates
from app.tasks.forecasting.reading.grid import Grid, build_grid, fill_forward
from app.tasks.forecasting.reading.irregular import check_duplicates
from app.tasks.forecasting.reading.jsonl import parse_jsonl
from app.tasks.forecasting.reading.longform import is_series, row_chunks
from app.tasks.forecasting.reading.rows import TableRows
from app.tasks.forecasting.reading.summary import ParsedSeries, summarize_series
from app.tasks.forecasting.series import NO_MARK, SPLIT_MARKS, SeriesSet
from app.tasks.shared.splits import SPLIT
from app.tasks.shared.table_cells import DECIMAL_COMMA_PATTERN, as_texts, check_numbers, is_text, shorten
from app.tasks.source import Chunk, Faults, Source
from app.typedefs import Json

ID, TIME, VALUE = "unique_id", "ds", "y"
TICK_NAMES = {1: "seconds", 10**3: "milliseconds", 10**6: "microseconds", 10**9: "nanoseconds"}
MAX_FAULTY_SHARE = 0.1  # of the rows, if the time stamps of the others are to be judged
DEFAULT_ID = "series"  # of the one series in a file without ids


def read_series(source: "Source", faults: "Faults") -> tuple[SeriesSet, "Json", list[str]]:
    """The series of a file, its summary, and warnings; raises `DatasetInvalid` if it has faults."""
    parsed = parse_series(source, faults)
    summary, warnings = summarize_series(parsed)
    return replace(parsed.series, phases=parsed.phases), summary, warnings


def parse_series(source: "Source", faults: "Faults") -> ParsedSeries:
    """The series of a file, even if too short to train on; raises `DatasetInvalid` if it has faults."""
    if source.format != "jsonl":
        return _parse_table(source.chunks(), faults)
    records = source.records()
    first = next(records, None)
    if first is None:
        return parse_jsonl(records, faults)
    records = chain([first], records)
    if is_series(first[1]):
        return parse_jsonl(records, faults)
    return _parse_table(row_chunks(records, faults), faults)


@dataclass
class _TableColumns:
    """The columns of a long table, chunk by chunk."""

    ids: IdColumn = field(default_factory=IdColumn)
    times: TimeColumn = field(default_factory=TimeColumn)
    values: list[Array] = field(default_factory=list)
    splits: list[Array] = field(default_factory=list)
    lines: list[Array] = field(default_factory=list)
    missing_texts: MissingTexts = field(default_factory=MissingTexts)  # among the values
    extras: dict[str, MixedColumn] = field(default_factory=dict)
    _decimal_comma: str = ""  # a number that has one, with its place

    def add(self, chunk: "Chunk", faults: "Faults") -> None:
        """Add a chunk of rows; a wrong cell is a fault."""
        columns, lines = dict(chunk.columns), chunk.rows
        ids = columns.pop(ID, None)
        self.ids.add(np.full(len(lines), DEFAULT_ID, object) if ids is None else ids, lines, ID, faults)
        self.times.add(columns.pop(TIME), lines, TIME, faults)
        cells = columns.pop(VALUE)
        numbers = check_numbers(cells, lines, VALUE, faults, decimal_comma=chunk.decimal_comma)
        self.missing_texts.note(cells, np.isnan(numbers), lines)
        self.values.append(numbers)
        if SPLIT in columns:
            if len(self.splits) < len(self.lines):
                faults.add(split_problem(""), row=int(self.lines[0][0]), column=SPLIT)
            self.splits.append(_read_splits(columns.pop(SPLIT), lines, faults))
        for name, values in columns.items():
            if name not in self.extras:
                self.extras[name] = self._late_column(name, faults)
            self.extras[name].add(values, lines, name, faults, decimal_comma=chunk.decimal_comma)
        if chunk.decimal_comma and not self._decimal_comma:
            self._decimal_comma = _first_decimal_comma({VALUE: cells, **columns}, lines)
        self.lines.append(lines)

    def _late_column(self, name: str, faults: "Faults") -> MixedColumn:
        """A column that the chunks so far do not have, empty in their rows."""
        column = MixedColumn()
        for lines in self.lines:
            column.add(np.full(len(lines), "", object), lines, name, faults)
        return column

    def rows(self) -> TableRows:
        """Series, time and line of each row."""
        stamps = self.times.stamps
        return TableRows(
            self.ids.names,
            self.ids.codes(),
            self.times.times(),
            np.concatenate(self.lines),
            TIME,
            local=stamps.local if stamps.offsets.any() else None,
            fractional=stamps.fractional if stamps.fractional.any() else None,
        )

    def number_warnings(self) -> list[str]:
        """A warning if numbers have decimal commas."""
        if not self._decimal_comma:
            return []
        return [f"Commas in numbers are read as decimal commas, such as that of {self._decimal_comma}."]

    def time_warnings(self) -> list[str]:
        """A warning if times are numbers since 1970, and one if dates begin with the day."""
        dotted = self.times.dotted
        if dotted:
            return [f"Dates such as {dotted} are read as day.month.year."]
        ticks = [number for number in np.unique(self.times.stamps.ticks).tolist() if number]
        names = " and ".join(TICK_NAMES[number] for number in ticks)
        return [f"The numbers in {TIME!r} are read as {names} since 1970-01-01 in UTC."] if ticks else []


def _parse_table(chunks: Iterable["Chunk"], faults: "Faults") -> ParsedSeries:
    """Read the columns of a long table and lay them on the grid."""
    table = _TableColumns()
    for chunk in chunks:
        _check_columns(list(chunk.columns), faults)
        table.add(chunk, faults)
    if faults.problems and table.lines:
        _add_time_faults(table, faults)
    faults.check()
    if not table.lines:
        faults.add("The file has no rows.", row=1)
    faults.check()
    rows = table.rows()
    grid = build_grid(rows, faults)
    series = SeriesSet(
        ids=np.array(rows.names, np.str_),
        freq=grid.frequency.alias,
        starts=grid.starts,
        offsets=grid.offsets,
        values=grid.spread(np.concatenate(table.values), empty=np.nan),
        splits=_splits_on_grid(table.splits, rows, grid, faults),
    )
    warnings = [
        *table.missing_texts.warnings(VALUE),
        *table.number_warnings(),
        *table.time_warnings(),
        *grid.warnings,
    ]
    if grid.missing_points:
        gaps = f"{grid.missing_points:,} time stamps of {grid.gapped_series:,} series are not in the file"
        warnings.append(f"{gaps}; their values are taken as missing.")
    series = attach_covariates(series, table.extras, grid, warnings)
    return ParsedSeries(series, grid.phases, len(rows.lines), warnings)


def _add_time_faults(table: _TableColumns, faults: "Faults") -> None:
    """Add the faults of time stamps beside those that rows have already.

    Where these are many nobody knows what the others would make of the time stamps, but duplicates stay some.
    """
    rows = table.rows()
    rows = rows.take(np.flatnonzero(table.times.readable()))
    order = np.lexsort((rows.times, rows.codes))
    ordered, duplicates, irregular = rows.take(order), Faults(), Faults()
    with suppress(DatasetInvalid):
        check_duplicates(ordered, duplicates)
    with suppress(DatasetInvalid):
        if len(faults.problems) <= MAX_FAULTY_SHARE * len(rows.lines):
            build_grid(rows.take(np.sort(order[~ordered.repeated()])), irregular)
    for others in (duplicates, irregular):
        faults.add_rows_of(others)


def _first_decimal_comma(columns: dict[str, Array], lines: Array) -> str:
    """The first number with a decimal comma in a chunk's columns of text, with its row and column."""
    for name, cells in columns.items():
        for index, text in enumerate(cells.tolist() if is_text(cells) else ()):
            if "," in text and DECIMAL_COMMA_PATTERN.fullmatch(text.strip()):
                return f"{shorten(text)} (row {lines[index]}, column {name[:40]!r})"
    return ""


def _check_columns(names: list[str], faults: "Faults") -> None:
    """Raise `DatasetInvalid` if the time or the value column is missing."""
    lacking = [name for name in (TIME, VALUE) if name not in names]
    for name in lacking:
        present = ", ".join(column[:40] for column in names[:12])
        detail = f"There is no column {name!r} (the file has {present}); name it with `columns`."
        faults.add(detail, row=1, column=name)
    if lacking:
        faults.check()


def _read_splits(values: Array, lines: Array, faults: "Faults") -> Array:
    """Marks (rows,) int8 of train, valid and test; any other text is a fault."""
    texts = values.tolist() if is_text(values) else as_texts(values)
    marks = np.fromiter((SPLIT_MARKS.get(text, NO_MARK) for text in texts), np.int8, len(texts))
    for index in np.flatnonzero(marks == NO_MARK).tolist():
        faults.add(split_problem(texts[index]), row=int(lines[index]), column=SPLIT)
    return marks


def _splits_on_grid(parts: list[Array], rows: TableRows, grid: Grid, faults: "Faults") -> Array:
    """Marks of the grid points, (N,) int8; raises `DatasetInvalid` if a series goes back to an earlier split.

    A point without a row is in the split of the point before it.
    """
    if not parts:
        return np.zeros(int(grid.offsets[-1]), np.int8)
    marks = np.concatenate(parts)
    ordered, codes, lines = marks[grid.order], rows.codes[grid.order], rows.lines[grid.order]
    back = (np.diff(ordered) < 0) & (np.diff(codes) == 0)
    for index in np.flatnonzero(back).tolist():
        name = rows.names[codes[index]]
        detail = f"Series {name!r} goes back to an earlier split here; the order is train, valid, test."
        faults.add(detail, row=int(lines[index + 1]), column=SPLIT)
    faults.check()
    return fill_forward(grid.spread(marks, empty=NO_MARK), NO_MARK)
