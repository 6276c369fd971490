"""Columns of a long table, read chunk by chunk into numbers; each distinct text is stored once."""

import re
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from app.arrays import Array
from app.tasks.shared.table_cells import (
    MAX_EXACT_FLOAT,
    MAX_FLOAT32_MAGNITUDE,
    MISSING_TEXTS,
    as_texts,
    check_numbers,
    is_text,
    read_numbers,
    shorten,
)
from app.tasks.shared.timestamps import (
    EPOCH_SECONDS,
    Timestamps,
    is_day_first,
    join_timestamps,
    parse_timestamps,
    timestamp_problem,
)
from app.tasks.source import Faults

MAX_NAME_CHARS = 256  # of an id or a level
MAX_LEVELS = 100_000  # distinct texts of a category column
MAX_NUMERIC_LEVELS = 2_000  # distinct texts of a column in which every text is a number
PLAINLY_MISSING = ("", "NaN", "nan")
MAX_TYPO_SHARE = 0.05  # of the cells of a numeric column that are no numbers
MIN_CELLS_FOR_TYPO = 8  # a column with fewer cells is numeric only if all of them are numbers
FEW_NUMBERS = 10  # distinct ones; beside no more of them, a text that repeats is a category
# A number as people write it, with a currency, thousands, a decimal comma or a percent sign.
NUMBER_LIKE = re.compile(r"[-+$€£¥]*\s?\d+([.,'’\s]\d+)*\s?[%$€£¥]?", re.ASCII)
MAX_TYPOS_KEPT = 1_000  # of a chunk


class Levels:
    """Numbers texts in order of first appearance; with `missing`, a missing value is -1."""

    def __init__(self, *, missing: bool) -> None:
        self.names: list[str] = []
        self._missing = missing
        self._codes: dict[str, int] = {}

    def encode(self, values: Array) -> Array:
        """Codes of (n,) texts or typed values, (n,) int32; new texts are added to `names`."""
        texts = values.tolist() if is_text(values) else as_texts(values)
        for text in dict.fromkeys(texts):
            if text not in self._codes:
                if self._missing and text.strip() in MISSING_TEXTS:
                    self._codes[text] = -1
                    continue
                self._codes[text] = len(self.names)
                self.names.append(text)
        return np.fromiter(map(self._codes.__getitem__, texts), np.int32, len(texts))


def id_problem(name: str) -> str:
    """What is wrong with the id of a series, as the end of a sentence; empty if nothing is."""
    if not name.strip():
        return "is missing"
    if "\0" in name:
        return "has a NUL character"  # numpy drops it from the end of a text
    return f"is longer than {MAX_NAME_CHARS} characters" if len(name) > MAX_NAME_CHARS else ""


def split_problem(value: object) -> str:
    """The message about a value that names no split."""
    return f"{shorten(value)} is no split; it must be train, valid or test."


class IdColumn:
    """The series of each row, by the ids in the table."""

    def __init__(self) -> None:
        self._levels = Levels(missing=False)
        self._parts: list[Array] = []
        self._checked = 0

    @property
    def names(self) -> list[str]:
        """Ids of the series in order of first appearance."""
        return self._levels.names

    def add(self, values: Array, rows: Array, column: str, faults: "Faults") -> None:
        """Add a chunk; an id that is missing or too long is a fault."""
        codes = self._levels.encode(values)
        for code in range(self._checked, len(self.names)):
            if problem := id_problem(self.names[code]):
                faults.add(f"The id of the series {problem}.", row=int(rows[codes == code][0]), column=column)
        self._checked = len(self.names)
        self._parts.append(codes)

    def codes(self) -> Array:
        """Index into `names` of every row, (rows,) int32."""
        return np.concatenate(self._parts)


class TimeColumn:
    """Time stamps, or plain integers; the first chunk decides which."""

    def __init__(self) -> None:
        self.dotted = ""  # the first date that is written as day.month.year, quoted
        self._parts: list[Timestamps] = []
        self._integers: list[Array] | None = None
        self._wrong: list[Array] = []

    def add(self, values: Array, rows: Array, column: str, faults: "Faults") -> None:
        """Add a chunk; a cell that is no date or time (or, for integer time, no integer) is a fault."""
        if not self._parts and self._integers is None and _are_integers(values):
            self._integers = []
        if self._integers is not None:
            integers, wrong = _as_integers(values)
            self._integers.append(integers)
        else:
            self._parts.append(_as_stamps(values))
            wrong = np.isnat(self._parts[-1].utc)
            if is_text(values) and not self.dotted:
                dotted = next((text for text in values.tolist() if is_day_first(text)), None)
                self.dotted = "" if dotted is None else shorten(dotted)
        self._wrong.append(wrong)
        none_read = bool(wrong.all()) and len(wrong) > 1
        for index in np.flatnonzero(wrong).tolist()[: 1 if none_read else None]:
            text = values[index] if is_text(values) else as_texts(values[index : index + 1])[0]
            if self._integers is not None and text.strip():
                detail = f"{shorten(text)} is not an integer, unlike the rows before."
            else:
                detail = timestamp_problem(text)
            if none_read:
                detail += f" None of the {len(wrong):,} rows from here on can be read."
            faults.add(detail, row=int(rows[index]), column=column)

    def times(self) -> Array:
        """Times of all rows, (rows,) int64 for integer time, else datetime64[s] in UTC."""
        return np.concatenate(self._integers) if self._integers is not None else self.stamps.utc

    def readable(self) -> Array:
        """Whether the time of each row could be read, (rows,) bool."""
        return ~np.concatenate(self._wrong)

    @cached_property
    def stamps(self) -> Timestamps:
        """The time stamps of all rows, once all are added; of none for integer time."""
        return join_timestamps(self._parts)


def _are_integers(values: Array) -> bool:
    """Whether a column is integer time: mostly integers, but not all years, YYYYMM, YYYYMMDD or epochs."""
    if np.issubdtype(values.dtype, np.datetime64):
        return False
    integers, wrong = _as_integers(values)
    if 2 * wrong.sum() > len(wrong):
        return False
    integers, values = integers[~wrong], values[~wrong]
    months = (integers % 100 >= 1) & (integers % 100 <= 12) & (integers >= 180001) & (integers <= 220012)
    years = (integers >= 1800) & (integers <= 2200)
    days = (integers >= 18000101) & (integers <= 22001231)
    numbers = integers >= EPOCH_SECONDS[0]  # of a date with its hours, or since 1970
    is_date = days.all() or numbers.all()
    return not (years.all() or months.all() or (is_date and not np.isnat(_as_stamps(values).utc).any()))


def _as_integers(values: Array) -> tuple[Array, Array]:
    """Cells as (n,) int64, and a mask of those that are no integers."""
    if np.issubdtype(values.dtype, np.signedinteger):
        return values.astype(np.int64), np.zeros(len(values), bool)
    numbers, wrong = read_numbers(values)
    wrong |= ~(np.abs(numbers) < 2**63)
    numbers = np.where(wrong, 0, numbers)
    wrong |= numbers != np.trunc(numbers)
    integers = numbers.astype(np.int64)
    for index in np.flatnonzero(np.abs(integers) >= 2**53).tolist():  # a float does not have its last digits
        digits = str(values[index]).strip() if is_text(values) else ""
        wrong[index] |= not re.fullmatch(r"[+-]?[0-9]{1,19}", digits)
        integers[index] = 0 if wrong[index] else int(digits)
    return integers, wrong


def _as_stamps(values: Array) -> Timestamps:
    """Cells as time stamps, NaT where they are none; if most repeat, each distinct text is parsed once."""
    if np.issubdtype(values.dtype, np.datetime64):
        stamps = values.astype("datetime64[s]")
        zeros = np.zeros(len(stamps), np.int64)
        return Timestamps(stamps, zeros, ~np.isnat(values) & (stamps != values), zeros)
    texts: Sequence[str] = values.tolist() if is_text(values) else as_texts(values)
    distinct = dict.fromkeys(texts)
    if len(distinct) * 2 > len(texts):
        return parse_timestamps(np.array(texts, object))
    positions = dict(zip(distinct, range(len(distinct)), strict=True))
    parsed = parse_timestamps(np.array(list(distinct), object))
    return parsed.take(np.fromiter(map(positions.__getitem__, texts), np.int64, len(texts)))


class MissingTexts:
    """The first text in a column that was read as a missing value, for a warning."""

    def __init__(self) -> None:
        self._first = ""

    def note(self, values: Array, missing: Array, rows: Array) -> None:
        """Look at a chunk's cells (n,) that are `missing`, (n,) bool; empty ones and NaN are no texts."""
        if self._first or not is_text(values):
            return
        for index in np.flatnonzero(missing).tolist():
            if values[index].strip() not in PLAINLY_MISSING:
                self._first = f"{shorten(values[index])} (first in row {rows[index]})"
                return

    def warnings(self, column: str) -> list[str]:
        """At most one warning."""
        if not self._first:
            return []
        return [f"In the column {column[:40]!r} the text {self._first} is read as a missing value."]


class MixedColumn:
    """A column of unknown kind: numeric if its cells are numbers, a category if its texts repeat.

    Some cells of a numeric column may be no numbers. Whole numbers beyond `MAX_EXACT_FLOAT` are names.
    """

    def __init__(self) -> None:
        self.missing_texts = MissingTexts()
        self._numbers: list[Array] | None = []
        self._codes: list[Array] | None = []
        self._levels = Levels(missing=True)
        self._typos = set[str]()  # distinct cells that are no numbers
        self._typo_count = self._number_count = 0  # cells
        self._is_name = False
        self.first_text = ""  # the first cell that is no number, and its row

    def add(
        self, values: Array, rows: Array, column: str, faults: "Faults", *, decimal_comma: bool = False
    ) -> None:
        """Add a chunk; a number beyond float32 is a fault as long as the column is numeric."""
        if self._numbers is not None:
            self._add_numbers(values, rows, column, faults, decimal_comma=decimal_comma)
        if not is_text(values) and not self._is_name:
            self._codes = None  # typed numbers are not a category
        if self._codes is not None:
            codes = self._levels.encode(values)
            self.missing_texts.note(values, codes < 0, rows)
            self._codes.append(codes)
            names = self._typos or self._is_name
            if len(self._levels.names) > (MAX_LEVELS if names else MAX_NUMERIC_LEVELS):
                self._codes = None

    def _add_numbers(
        self, values: Array, rows: Array, column: str, faults: "Faults", *, decimal_comma: bool
    ) -> None:
        numbers, wrong = read_numbers(values, decimal_comma=decimal_comma)
        self.missing_texts.note(values, np.isnan(numbers) & ~wrong, rows)
        is_large = np.abs(numbers) >= MAX_EXACT_FLOAT
        if is_large.any() and not self.first_text and _are_integers_as_written(values[is_large]):
            self.first_text = f"{shorten(values[is_large][0])} in row {rows[is_large][0]}"
            self._is_name, self._numbers = True, None
            return
        if wrong.any():
            index = int(wrong.argmax())
            self.first_text = self.first_text or f"{shorten(values[index])} in row {rows[index]}"
            self._typo_count += int(wrong.sum())
            self._typos.update(values[wrong][:MAX_TYPOS_KEPT].tolist())
        elif not self._typos and np.any(np.abs(numbers) > MAX_FLOAT32_MAGNITUDE):
            limit = MAX_FLOAT32_MAGNITUDE
            check_numbers(values, rows, column, faults, limit, decimal_comma=decimal_comma)
        self._number_count += int((~np.isnan(numbers) & ~wrong).sum())
        if self._typo_count > max(self._number_count, MIN_CELLS_FOR_TYPO):
            self._numbers = None
        if self._numbers is not None:
            with np.errstate(over="ignore"):  # a number that is too large is a fault already
                self._numbers.append(numbers.astype(np.float32))

    @property
    def levels(self) -> list[str]:
        """The distinct texts in order of first appearance."""
        return self._levels.names

    def numbers(self) -> Array | None:
        """Numbers (rows,) float32, NaN = missing; None if a cell was no number."""
        return None if self._numbers is None or self._typos else np.concatenate(self._numbers)

    def numbers_with_typos(self) -> Array | None:
        """The same with NaN for the cells that are no numbers; None if these are too many, or are levels."""
        count = self._typo_count + self._number_count
        few = self._typo_count <= max(1, MAX_TYPO_SHARE * count)
        if self._numbers is None or count < MIN_CELLS_FOR_TYPO or not few:
            return None
        numbers = np.concatenate(self._numbers)
        distinct = len(np.unique(numbers[~np.isnan(numbers)]))
        are_levels = self._typo_count > len(self._typos) and distinct <= FEW_NUMBERS
        return None if distinct < 2 or are_levels or np.isinf(numbers).any() else numbers

    def looks_numeric(self) -> bool:
        """Whether the column seems to hold numbers although it is read as a category."""
        written = sum(NUMBER_LIKE.fullmatch(text.strip()) is not None for text in self._typos)
        return self._number_count > self._typo_count > 0 or 2 * written > len(self._typos)

    def codes(self) -> Array | None:
        """Indices (rows,) int32 into `levels`, -1 = missing; None if texts are too many or too long."""
        if self._codes is None or any(len(name) > MAX_NAME_CHARS for name in self.levels):
            return None
        return np.concatenate(self._codes)


def _are_integers_as_written(values: Array) -> bool:
    """Whether cells (n,) are whole numbers, in text without a fraction or an exponent."""
    if is_text(values):
        return all(text.strip().lstrip("+-").isdecimal() for text in values.tolist())
    return bool(np.issubdtype(values.dtype, np.integer))
