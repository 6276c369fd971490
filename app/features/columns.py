"""Columns of a long table, gathered chunk by chunk into numbers; texts are kept once each."""

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from app.features.stamps import WIDTH, explain, parse_stamps

if TYPE_CHECKING:
    from app.tasks.base import Faults

Array = npt.NDArray[Any]

MISSING = frozenset(("", "NaN", "nan", "NA", "N/A", "null", "NULL", "None", "<NA>"))
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
UNUSUAL = re.compile(r"[^0-9eE+.\s-]")  # float() takes 1_000 and ١٢, a data file should not
LARGEST = 1e300
LARGEST_FLOAT32 = 1e38
LONGEST_TEXT = 256  # characters of an id or a level
MOST_LEVELS = 100_000  # different texts a column may have before it is no category


def shorten(value: object) -> str:
    """Show a value in a message."""
    text = str(value)
    return repr(text if len(text) <= WIDTH else text[:WIDTH] + "…")


def is_text(values: Array) -> bool:
    """Whether a chunk's column holds texts rather than typed values."""
    return values.dtype == object


def read_numbers(values: Array) -> tuple[Array, Array]:
    """Turn (n,) texts or typed values into float64, NaN = missing, and a mask of what is no number."""
    if not is_text(values):
        timely = np.issubdtype(values.dtype, np.datetime64)
        return (
            (np.zeros(len(values)), ~np.isnat(values))
            if timely
            else (values.astype(np.float64), _none(values))
        )
    try:
        if not UNUSUAL.search("".join(values.tolist())):
            return values.astype(np.float64), _none(values)
    except ValueError:
        pass  # at least one is missing or wrong: look at each
    texts = [text.strip() for text in values.tolist()]
    wrong = np.zeros(len(texts), bool)
    numbers = np.full(len(texts), np.nan)
    for at, text in enumerate(texts):
        if NUMBER.fullmatch(text):
            numbers[at] = float(text)
        elif text.lstrip("+-").lower() in ("inf", "infinity"):
            numbers[at] = math.inf
        else:
            wrong[at] = text not in MISSING
    return numbers, wrong


def check_numbers(values: Array, rows: Array, column: str, faults: "Faults", limit: float = LARGEST) -> Array:
    """Read float64 numbers, NaN = missing; what is no number, not finite or beyond `limit` is a fault."""
    numbers, wrong = read_numbers(values)
    for at in np.flatnonzero(wrong | (np.abs(numbers) > limit)).tolist():
        shown = shorten(values[at])
        if wrong[at]:
            faults.add(f"{shown} is not a number.", row=int(rows[at]), column=column)
        elif math.isinf(numbers[at]) and (not is_text(values) or "inf" in values[at].lower()):
            faults.add(f"{shown} is not finite.", row=int(rows[at]), column=column)
        else:
            faults.add(f"{shown} is too large a number.", row=int(rows[at]), column=column)
    return numbers


def _none(values: Array) -> Array:
    return np.zeros(len(values), bool)


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


def as_texts(values: Array) -> list[str]:
    """Typed values as a person would write them: no fraction on whole numbers, "" for missing."""
    if np.issubdtype(values.dtype, np.floating):
        return ["" if math.isnan(v) else str(int(v)) if v.is_integer() else repr(v) for v in values.tolist()]
    if np.issubdtype(values.dtype, np.datetime64):
        return ["" if np.isnat(v) else str(v) for v in values]
    return [str(v) for v in values.tolist()]


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
            name = self.names[code]
            if not name.strip() or len(name) > LONGEST_TEXT:
                told = "is missing" if not name.strip() else f"is longer than {LONGEST_TEXT} characters"
                faults.add(f"The id of the series {told}.", row=int(rows[codes == code][0]), column=column)
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
                check_numbers(values, rows, column, faults, LARGEST_FLOAT32)
                self._numbers.append(numbers.astype(np.float32))
        if not is_text(values):
            self._codes = None  # typed numbers are no category
        if self._codes is not None:
            self._codes.append(self._levels.encode(values))
            if len(self._levels.names) > MOST_LEVELS:
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
