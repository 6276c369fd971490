"""Rows of tab-separated values, with or without the quotes of RFC 4180: many writers of TSV quote nothing."""

import csv
from collections import deque
from collections.abc import Iterator
from io import StringIO

MAX_LINES_OF_ROW = 1_000  # that a quoted field may reach over
QUOTE, TAB = '"', "\t"


class TabSeparatedRows:
    """Rows of fields, as `csv.reader` gives them; raises `csv.Error` as it does.

    A field is unquoted where it is quoted as a whole and each quote within is written twice; any other quote
    is part of the text. A tab or a line break is within a quoted field only where the line has another number
    of fields than the first, and the quotes are balanced.
    """

    def __init__(self, lines: Iterator[str], max_field_chars: int) -> None:
        self.line_num = 0  # lines read so far
        self._lines = lines
        self._ahead = deque[str]()  # lines that were looked at, but are not read yet
        self._max_field_chars = max_field_chars
        self._width = 0  # fields of the first row

    def __iter__(self) -> "TabSeparatedRows":
        return self

    def __next__(self) -> list[str]:
        line = self._ahead.popleft() if self._ahead else next(self._lines)
        self.line_num += 1
        content = _without_end(line)
        if not content:
            return []
        fields = content.split(TAB)
        if QUOTE in content:
            row = self._quoted_row(line) if self._is_cut(fields) else None
            fields = [_unquoted(field) for field in fields] if row is None else row
        elif "\r" in content:
            raise csv.Error("new-line character seen in unquoted field")
        if max(map(len, fields)) > self._max_field_chars:
            raise csv.Error("field larger than field limit")
        self._width = self._width or len(fields)
        return fields

    def _is_cut(self, fields: list[str]) -> bool:
        """Whether a quoted field seems to go on behind a tab or in the next line."""
        if self._width and len(fields) != self._width:
            return True
        last = fields[-1]
        if not last.startswith(QUOTE) or _unquoted(last) != last:
            return False
        following = self._look_ahead(0)
        return following is not None and len(_without_end(following).split(TAB)) != len(fields)

    def _look_ahead(self, index: int) -> str | None:
        """The line at this distance from the next one; None behind the end."""
        while len(self._ahead) <= index:
            line = next(self._lines, None)
            if line is None:
                return None
            self._ahead.append(line)
        return self._ahead[index]

    def _quoted_row(self, line: str) -> list[str] | None:
        """The row that begins with this line by RFC 4180; None if it has none of the first row's width."""
        text, size = [line], len(line)
        for count in range(MAX_LINES_OF_ROW):
            if sum(part.count(QUOTE) for part in text) % 2 == 0:
                row = _parse_strictly("".join(text))
                if row is None or (self._width and len(row) != self._width):
                    return None
                for _ in range(count):
                    self._ahead.popleft()
                self.line_num += count
                return row
            following = self._look_ahead(count)
            size += len(following or "")
            if following is None or size > self._max_field_chars:
                return None
            text.append(following)
        return None


def _without_end(line: str) -> str:
    return line.removesuffix("\n").removesuffix("\r")


def _unquoted(field: str) -> str:
    """The text of a field that is quoted as a whole; any other field as it is."""
    if len(field) < 2 or field[0] != QUOTE or field[-1] != QUOTE:
        return field
    inner = field[1:-1].replace(QUOTE * 2, "")
    return field if QUOTE in inner else field[1:-1].replace(QUOTE * 2, QUOTE)


def _parse_strictly(text: str) -> list[str] | None:
    """The one row of a text by RFC 4180; None where it has another number of rows, or stray quotes."""
    try:
        rows = list(csv.reader(StringIO(text, newline="\n"), delimiter=TAB, strict=True))
    except csv.Error:
        return None
    return rows[0] if len(rows) == 1 else None
