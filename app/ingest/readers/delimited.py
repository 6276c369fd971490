"""CSV and TSV (RFC 4180), streamed column by column with the numbers of their lines."""

import csv
import re
from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from app.ingest.readers.compressed import open_content
from app.ingest.readers.lines import read_lines
from app.ingest.readers.mapping import MAX_COLUMNS, Mapping
from app.ingest.readers.single_file import SingleFile
from app.ingest.readers.tab_separated import TabSeparatedRows
from app.tasks.source import Chunk, Faults
from app.typedefs import Json

CHUNK_ROWS = 50_000  # fewer, where a chunk would have more cells than the next constant
CHUNK_CELLS = 2_000_000
MAX_FIELD_CHARS = 1 << 20
DELIMITER_NAMES = {";": "';'", "\t": "tab", "|": "'|'", ",": "','"}
QUOTED_FIELD = re.compile(r'\s*"(?:[^"]|"")*"([;\t|,])')
DATA = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|\d{4}[-/]\d{1,2}[-/]\d{1,2}.*")


class Delimited(SingleFile):
    """A table as text with a header line; quoted as in RFC 4180; a TSV may have other quotes too."""

    def __init__(self, path: Path, format_: str, delimiter: str, mapping: Mapping, faults: Faults) -> None:
        self.format = format_
        self._path = path
        self._delimiter = delimiter
        self._mapping = mapping
        self._faults = faults

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
            text = read_lines(file, self._faults)
            if self.format == "tsv":
                yield from self._chunks(TabSeparatedRows(text, MAX_FIELD_CHARS))
            else:
                first = next(text, "")
                if (quoted := QUOTED_FIELD.match(first)) and quoted[1] != self._delimiter:
                    self._stop_other_delimiter(DELIMITER_NAMES[quoted[1]], 1)
                lines = chain([first], text)
                yield from self._chunks(csv.reader(lines, delimiter=self._delimiter, strict=True))

    def _chunks(self, reader: Any) -> Iterator[Chunk]:
        names = self._read_header(reader)
        done, count = reader.line_num, min(CHUNK_ROWS, CHUNK_CELLS // len(names))
        while rows := self._read_rows(reader, done, count):
            numbers = np.arange(done + 1, done + 1 + len(rows))  # (rows,)
            if reader.line_num - done != len(rows) or set(map(len, rows)) != {len(names)}:
                numbers, rows = self._number_rows(rows, done, len(names))
            done = reader.line_num
            if rows:
                columns = zip(names, zip(*rows, strict=True), strict=True)
                yield Chunk(
                    numbers, {name: np.array(column, object) for name, column in columns if name is not None}
                )

    def _read_header(self, reader: Any) -> list[str | None]:
        """The columns' canonical names; raises `DatasetInvalid` when the rows below could not be read."""
        rows: list[list[str]] = []
        while not rows or not rows[-1]:  # blank lines may come before
            rows = self._read_rows(reader, reader.line_num, 1)
            if not rows:
                self._stop("The file is empty; it needs a header line and rows below it.", 1)
        header, line = [name.strip() for name in rows[0]], reader.line_num
        if len(header) > MAX_COLUMNS:
            self._stop(f"The header names {len(header):,} columns; at most {MAX_COLUMNS:,} are read.", line)
        if other := _other_delimiter(header):
            self._stop_other_delimiter(other, line)
        if any(DATA.fullmatch(name) for name in header):
            self._stop(
                "The first line looks like data; it must be a header with the names of the columns.", line
            )
        for name, count in Counter(header).items():
            if name and count > 1:
                self._faults.add(f"The header names this column {count} times.", row=line, column=name[:40])
        self._faults.check()
        return self._mapping.canonical_names(header)

    def _read_rows(self, reader: Any, done: int, count: int) -> list[list[str]]:
        """Read the next rows; an error of the format is a fault that ends the reading."""
        rows: list[list[str]] = []
        try:
            rows.extend(islice(reader, count))  # keeps what came before an error
        except csv.Error as error:
            first_line = done + 1 + sum(1 + _line_breaks(row) for row in rows)
            self._stop(_explain(str(error), first_line), reader.line_num)
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

    def _stop_other_delimiter(self, other: str, line: int) -> None:
        expected = DELIMITER_NAMES[self._delimiter]
        self._stop(f"This file seems to use {other} between its fields; {self.format} uses {expected}.", line)

    def _stop(self, detail: str, line: int) -> None:
        self._faults.add(detail, row=line)
        self._faults.check()


def _other_delimiter(header: list[str]) -> str | None:
    """The name of a delimiter that stands in the only field of a header."""
    if len(header) != 1:
        return None
    return next((name for mark, name in DELIMITER_NAMES.items() if mark in header[0]), None)


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
