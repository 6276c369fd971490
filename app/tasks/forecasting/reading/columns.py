"""Columns of a long table, gathered chunk by chunk into numbers; texts are kept once each."""

from collections.abc import Sequence

import numpy as np

from app.tasks.contract import Array, Faults
from app.tasks.shared.table_cells import (
    LARGEST_FLOAT32,
    MISSING,
    as_texts,
    check_numbers,
    is_text,
    read_numbers,
    shorten,
)
from app.tasks.shared.timestamps import explain, parse_stamps

LONGEST_TEXT = 256  # characters of an id or a level
MOST_LEVELS = 100_000  # different texts a column may have before it is no category
MOST_COUNTED = 2_000  # the same while all of them are numbers


class Levels:
    """Texts as codes in order of first appearance; -1 = missing, if missing is allowed."""

    def __init__(self, *, missing: bool) -> None:
        self.names: list[str] = []
        self._missing = missing
        self._codes: dict[str, int] = dict.fromkeys(MISSING, -1) if missing else {}

    def encode(self, values: Array) -> Array:
        """Codes of (n,) texts or typed values, int32."""
        texts = values.tolist() if is_text(values) else as_texts(values)
        for text in dict.fromkeys(texts):
            if text not in self._codes:
                self._codes[text] = len(self.names)
                self.names.append(text)
        return np.fromiter(map(self._codes.__getitem__, texts), np.int32, len(texts))


def wrong_id(name: str) -> str:
    """Why a text cannot name a series; nothing if it can."""
    if not name.strip():
        return "is missing"
    if "\0" in name:
        return "has a NUL character"  # numpy's texts drop it from their end
    return f"is longer than {LONGEST_TEXT} characters" if len(name) > LONGEST_TEXT else ""


class IdColumn:
    """Which series each row belongs to."""

    def __init__(self) -> None:
        self._levels = Levels(missing=False)
        self._parts: list[Array] = []
        self._checked = 0

    @property
    def names(self) -> list[str]:
        """The series in order of first appearance."""
        return self._levels.names

    def add(self, values: Array, rows: Array, column: str, faults: "Faults") -> None:
        """Take a chunk; an id that is missing or over-long is a fault."""
        codes = self._levels.encode(values)
        for code in range(self._checked, len(self.names)):
            if wrong := wrong_id(self.names[code]):
                faults.add(f"The id of the series {wrong}.", row=int(rows[codes == code][0]), column=column)
        self._checked = len(self.names)
        self._parts.append(codes)

    def codes(self) -> Array:
        """The series number of every row, (rows,) int32."""
        return np.concatenate(self._parts)


class TimeColumn:
    """Stamps as seconds since 1970, or plain integers; what the first chunk holds decides."""

    def __init__(self) -> None:
        self._parts: list[Array] = []
        self._integer: bool | None = None

    def add(self, values: Array, rows: Array, column: str, faults: "Faults") -> None:
        """Take a chunk; what is no date or time (or, with integers, no integer) is a fault."""
        if self._integer is None:
            self._integer = _are_integers(values)
        times, wrong = _as_integers(values) if self._integer else _as_stamps(values)
        for at in np.flatnonzero(wrong).tolist():
            text = values[at] if is_text(values) else as_texts(values[at : at + 1])[0]
            detail = (
                f"{shorten(text)} is not an integer, as the rows before." if text.strip() else explain("")
            )
            faults.add(detail if self._integer else explain(text), row=int(rows[at]), column=column)
        self._parts.append(times.astype(np.int64))

    def times(self) -> Array:
        """All rows, (rows,) int64 for integer time, else datetime64[s]."""
        times = np.concatenate(self._parts)
        return times if self._integer else times.view("datetime64[s]")


def _are_integers(values: Array) -> bool:
    """Whether a column counts steps: mostly integers, and not years, YYYYMM or YYYYMMDD."""
    if np.issubdtype(values.dtype, np.datetime64):
        return False
    integers, wrong = _as_integers(values)
    if 2 * wrong.sum() > len(wrong):
        return False
    integers, values = integers[~wrong], values[~wrong]
    months = (integers % 100 >= 1) & (integers % 100 <= 12) & (integers >= 180001) & (integers <= 220012)
    years = (integers >= 1800) & (integers <= 2200)
    days = (integers >= 18000101) & (integers <= 22001231)
    return not (years.all() or months.all() or (days.all() and not _as_stamps(values)[1].any()))


def _as_integers(values: Array) -> tuple[Array, Array]:
    """Integers and a mask of what is none."""
    numbers, wrong = read_numbers(values)
    wrong |= ~(np.abs(numbers) < 2**53)
    numbers = np.where(wrong, 0, numbers)
    wrong |= numbers != np.trunc(numbers)
    return numbers.astype(np.int64), wrong


def _as_stamps(values: Array) -> tuple[Array, Array]:
    """Stamps and a mask of what is none; equal texts are read once if there are many."""
    if np.issubdtype(values.dtype, np.datetime64):
        stamps = values.astype("datetime64[s]")
        return stamps, np.isnat(stamps)
    texts: Sequence[str] = values.tolist() if is_text(values) else as_texts(values)
    distinct = dict.fromkeys(texts)
    if len(distinct) * 2 > len(texts):
        stamps = parse_stamps(np.array(texts, object))
    else:
        found = parse_stamps(np.array(list(distinct), object)).view(np.int64).tolist()
        known = dict(zip(distinct, found, strict=True))
        stamps = np.fromiter(map(known.__getitem__, texts), np.int64, len(texts)).view("datetime64[s]")
    return stamps, np.isnat(stamps)


class MixedColumn:
    """A column nobody described: numbers as long as all are, and texts as long as they repeat."""

    def __init__(self) -> None:
        self._numbers: list[Array] | None = []
        self._codes: list[Array] | None = []
        self._levels = Levels(missing=True)
        self.odd: str = ""  # the first value that is no number, and where

    def add(self, values: Array, rows: Array, column: str, faults: "Faults") -> None:
        """Take a chunk."""
        if self._numbers is not None:
            numbers, wrong = read_numbers(values)
            if wrong.any():
                at = int(wrong.argmax())
                self.odd, self._numbers = f"{shorten(values[at])} in row {rows[at]}", None
            else:
                if np.any(np.abs(numbers) > LARGEST_FLOAT32):
                    check_numbers(values, rows, column, faults, LARGEST_FLOAT32)
                with np.errstate(over="ignore"):  # what is too large is a fault already
                    self._numbers.append(numbers.astype(np.float32))
        if not is_text(values):
            self._codes = None  # typed numbers are no category
        if self._codes is not None:
            self._codes.append(self._levels.encode(values))
            if len(self._levels.names) > (MOST_LEVELS if self._numbers is None else MOST_COUNTED):
                self._codes = None

    @property
    def levels(self) -> list[str]:
        """The different texts, in order of first appearance."""
        return self._levels.names

    def numbers(self) -> Array | None:
        """(rows,) float32, NaN = missing; None if some value was no number."""
        return None if self._numbers is None else np.concatenate(self._numbers)

    def codes(self) -> Array | None:
        """(rows,) int32 into `levels`, -1 = missing; None if there were too many or too long texts."""
        if self._codes is None or any(len(name) > LONGEST_TEXT for name in self.levels):
            return None
        return np.concatenate(self._codes)
