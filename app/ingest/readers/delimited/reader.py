"""CSV and TSV (RFC 4180), streamed column by column with the numbers of their lines."""

import csv
import re
from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from app.errors import DatasetInvalid
from app.ingest.readers.compressed import open_content
from app.ingest.readers.delimited.dialect import COMMA, SEPARATOR_NAMES, detect_dialect
from app.ingest.readers.delimited.tab_separated import TabSeparatedRows
from app.ingest.readers.lines import read_lines
from app.ingest.readers.mapping import MAX_COLUMNS, Mapping
from app.ingest.readers.single_file import SingleFile
from app.tasks.source import Chunk, Faults
from app.typedefs import Json

CHUNK_ROWS = 50_000  # fewer, where a chunk would have more cells than the next constant
CHUNK_CELLS = 2_000_000
MAX_FIELD_CHARS = 1 << 20
MAX_SAMPLE_LINES, MAX_SAMPLE_CHARS = 200, 1 << 18  # in which a dialect is detected
DATA = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|\d{4}[-/]\d{1,2}[-/]\d{1,2}.*")


class Delimited(SingleFile):
    """A table as text with a header line; quoted as in RFC 4180; a TSV may have other quotes too.

    The fields of a CSV may have another separator than the comma: that of its first rows.
    """

    def __init__(self, path: Path, format_: str, mapping: Mapping, faults: Faults) -> None:
        self.format = format_
        self._path = path
        self._mapping = mapping
        self._faults = faults
        self._decimal_comma = False
        self._is_cut = False  # at a line that is no text
        self._is_broken = False  # by an error of the format, after which nothing can be read

    def records(self) -> Iterator[tuple[int, Json]]:
        """Yield rows one by one, as objects of text."""
        for chunk in self.chunks():
            names = list(chunk.columns)
            for row, *values in zip(chunk.rows.tolist(), *chunk.columns.values(), strict=True):
                yield row, dict(zip(names, values, strict=True))

    def chunks(self) -> Iterator[Chunk]:
        """Yield up to `CHUNK_ROWS` rows at a time; blank lines are skipped, other rows must be complete."""
        csv.field_size_limit(MAX_FIELD_CHARS)
        with open_content(self._path) as file:
            text = self._readable(read_lines(file, self._faults))
            rows = TabSeparatedRows(text, MAX_FIELD_CHARS) if self.format == "tsv" else self._read_csv(text)
            yield from self._chunks(rows)

    def _readable(self, text: Iterator[str]) -> Iterator[str]:
        """The lines up to one that is no text, or that is damaged, which is a fault."""
        try:
            yield from text
        except DatasetInvalid as error:
            self._is_cut = True
            known = self._faults.problems
            known += [problem for problem in error.problems if problem not in known]

    def _read_csv(self, text: Iterator[str]) -> Any:
        """The rows of a CSV by the dialect of its first lines."""
        sample, chars = list[str](), 0
        while chars < MAX_SAMPLE_CHARS and len(sample) < MAX_SAMPLE_LINES and (line := next(text, "")):
            sample.append(line)
            chars += len(line)
        dialect = detect_dialect(sample, self._mapping)
        self._decimal_comma = dialect.decimal_comma
        self.separator = None if dialect.separator == COMMA else dialect.separator
        if dialect.has_declaration:
            sample[0] = "\n"  # a blank line: lines keep their numbers
        return csv.reader(chain(sample, text), delimiter=dialect.separator, strict=True)

    def _chunks(self, reader: Any) -> Iterator[Chunk]:
        names = self._read_header(reader)
        done, count = reader.line_num, min(CHUNK_ROWS, CHUNK_CELLS // len(names))
        while not self._is_broken and (rows := self._read_rows(reader, done, count)):
            numbers = np.arange(done + 1, done + 1 + len(rows))  # (rows,)
            if reader.line_num - done != len(rows) or set(map(len, rows)) != {len(names)}:
                numbers, rows = self._number_rows(rows, done, len(names))
            done = reader.line_num
            if rows:
                columns = zip(names, zip(*rows, strict=True), strict=True)
                cells = {name: np.array(column, object) for name, column in columns if name is not None}
                yield Chunk(numbers, cells, self._decimal_comma)

    def _read_header(self, reader: Any) -> list[str | None]:
        """The columns' canonical names; raises `DatasetInvalid` when the rows below could not be read."""
        rows: list[list[str]] = []
        while not rows or not rows[-1]:  # blank lines may come before
            rows = self._read_rows(reader, reader.line_num, 1)
            if not rows:
                self._faults.check()
                self._stop("The file is empty; it needs a header line and rows below it.", 1)
        header, line = [name.strip() for name in rows[0]], reader.line_num
        if len(header) > MAX_COLUMNS:
            self._stop(f"The header names {len(header):,} columns; at most {MAX_COLUMNS:,} are read.", line)
        if other := _other_separator(header):
            own = SEPARATOR_NAMES["\t" if self.format == "tsv" else COMMA]
            detail = f"This file seems to use {other} between its fields; {self.format} uses {own}."
            self._stop(detail, line)
        if any(DATA.fullmatch(name) for name in header):
            self._stop(
                "The first line looks like data; it must be a header with the names of the columns.", line
            )
        repeated = [(name, count) for name, count in Counter(header).items() if name and count > 1]
        for name, count in repeated:
            self._faults.add(f"The header names this column {count} times.", row=line, column=name[:40])
        if repeated:
            self._faults.check()
        return self._mapping.canonical_names(header)

    def _read_rows(self, reader: Any, done: int, count: int) -> list[list[str]]:
        """Read the next rows; an error of the format is a fault, and what came before it is kept."""
        rows: list[list[str]] = []
        try:
            rows.extend(islice(reader, count))
        except csv.Error as error:
            first_line = done + 1 + sum(1 + _line_breaks(row) for row in rows)
            self._is_broken = True
            if not self._is_cut:
                self._faults.add(_explain(str(error), first_line), row=reader.line_num)
        return rows

    def _number_rows(self, rows: list[list[str]], done: int, width: int) -> tuple[Any, list[list[str]]]:
        """Number rows that have line breaks in fields, drop blank lines, report rows of another width."""
        spans = [1 + _line_breaks(row) for row in rows]
        numbers = done + 1 + np.cumsum([0, *spans[:-1]])  # (rows,) the line each row begins at
        for number, row in zip(numbers.tolist(), rows, strict=True):
            if row and len(row) != width:
                self._faults.add(f"Expected {width} fields, got {len(row)}.", row=number)
        good = [len(row) == width for row in rows]
        return numbers[good], [row for row, fits in zip(rows, good, strict=True) if fits]

    def _stop(self, detail: str, line: int) -> None:
        self._faults.add(detail, row=line)
        self._faults.check()


def _other_separator(header: list[str]) -> str | None:
    """The name of a separator that stands in the only field of a header."""
    if len(header) != 1:
        return None
    return next((name for mark, name in SEPARATOR_NAMES.items() if mark in header[0]), None)


def _line_breaks(row: list[str]) -> int:
    return sum(field.count("\n") for field in row)


def _explain(error: str, first_line: int) -> str:
    """An error of the csv module as a sentence."""
    if "field limit" in error:
        return f"A field of the row that begins at line {first_line} is over 1 MiB; is a quote not closed?"
    if "unexpected end" in error:
        return f"A quote opened in the row that begins at line {first_line} is not closed."
    if "new-line character" in error:
        return "A carriage return inside a field; lines must end with LF or CRLF."
    return "Text after a closing quote; write a quote inside a quoted field twice."
