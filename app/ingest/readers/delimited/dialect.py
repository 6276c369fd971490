"""How a table of text is written: the separator of its fields, and the decimal mark of its numbers.

Both are found in the header and the first rows; what could be either is read as RFC 4180 has it.
"""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

from app.ingest.readers.mapping import Mapping
from app.tasks.shared.table_cells import DECIMAL_COMMA_PATTERN, MISSING_TEXTS

COMMA = ","
SEPARATORS = (COMMA, ";", "\t", "|")
SEPARATOR_NAMES = {COMMA: "','", ";": "';'", "\t": "tab", "|": "'|'"}
DECLARATION = re.compile(
    r'"?sep=([;\t|,])"?\r?\n?', re.IGNORECASE
)  # a first line that Excel reads and writes
MAX_TEXT_SHARE = 0.1  # of the cells of a column of numbers


class _Cell(Enum):
    """What a cell may be."""

    WHOLE = auto()
    POINT = auto()  # a decimal point
    COMMA = auto()  # one comma, decimal or before the last thousand
    COMMAS = auto()  # several between thousands
    DECIMAL_COMMA = auto()
    TEXT = auto()


CELLS = {
    _Cell.WHOLE: re.compile(r"[+-]?\d+", re.ASCII),
    _Cell.POINT: re.compile(r"[+-]?(\d+\.\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII),
    _Cell.COMMA: re.compile(r"[+-]?\d{1,3},\d{3}", re.ASCII),
    _Cell.COMMAS: re.compile(r"[+-]?\d{1,3}(,\d{3}){2,}", re.ASCII),
    _Cell.DECIMAL_COMMA: DECIMAL_COMMA_PATTERN,
}


@dataclass(frozen=True)
class Dialect:
    """How the fields of a table are separated, and its numbers written."""

    separator: str = COMMA
    decimal_comma: bool = False
    has_declaration: bool = False  # whether the first line only names the separator


class _Fitness(NamedTuple):
    """How well a separator suits the first rows; the largest is taken."""

    known_columns: int  # columns of the header that the task or the caller names
    share: float  # of the rows with as many fields as the header
    is_comma: bool
    fields: int  # of the header


def detect_dialect(lines: Sequence[str], mapping: Mapping) -> Dialect:
    """The dialect of a table that begins with these lines; the last row may be cut."""
    declared = DECLARATION.fullmatch(lines[0]) if lines else None
    if declared is not None:
        separator = declared[1]
        lines = lines[1:]
    else:
        separator = _detect_separator(lines, mapping)
    decimal = separator != COMMA and _has_decimal_commas(_parse_rows(lines, separator)[1:])
    return Dialect(separator, decimal, declared is not None)


def _detect_separator(lines: Sequence[str], mapping: Mapping) -> str:
    known = {*mapping.columns.values(), *mapping.canonical}
    fitness = dict[str, _Fitness]()
    for separator in SEPARATORS:
        header, *rows = _parse_rows(lines, separator) or [[]]
        if len(header) < 2:
            continue
        fitting = sum(len(row) == len(header) for row in rows)
        share = fitting / len(rows) if rows else 1.0
        named = sum(name.strip() in known for name in header)
        fitness[separator] = _Fitness(named, share, separator == COMMA, len(header))
    return max(fitness, key=fitness.__getitem__, default=COMMA)


def _parse_rows(lines: Sequence[str], separator: str) -> list[list[str]]:
    """The rows of these lines but blank ones, as far as they can be read."""
    rows = list[list[str]]()
    with suppress(csv.Error):  # of which the reader of the whole file says where it is
        rows.extend(row for row in csv.reader(lines, delimiter=separator) if row)
    return rows


def _has_decimal_commas(rows: Sequence[Sequence[str]]) -> bool:
    """Whether numbers have decimal commas: some cannot be anything else, and no column has points instead."""
    certain = False
    for index in range(max(map(len, rows), default=0)):
        cells = [row[index].strip() for row in rows if index < len(row)]
        kinds = Counter(_kind_of(cell) for cell in cells if cell not in MISSING_TEXTS)
        if kinds[_Cell.TEXT] > MAX_TEXT_SHARE * kinds.total():
            continue
        if kinds[_Cell.POINT] or kinds[_Cell.COMMAS]:
            return False
        certain = certain or kinds[_Cell.DECIMAL_COMMA] > 0
    return certain


def _kind_of(cell: str) -> _Cell:
    return next((kind for kind, pattern in CELLS.items() if pattern.fullmatch(cell)), _Cell.TEXT)
