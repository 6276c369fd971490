"""Reads cells of a table, text or typed, as numbers, and writes typed values as text."""

import math
import re

import numpy as np

from app.arrays import Array
from app.tasks.source import Faults

# What pandas reads as missing, in every column where a value may be missing.
MISSING_TEXTS = frozenset(
    (
        *("", "<NA>", "#N/A", "#N/A N/A", "#NA", "N/A", "NA", "n/a", "NULL", "null", "None"),
        *("NaN", "nan", "-NaN", "-nan", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
    )
)
NUMBER_PATTERN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
# A number with a decimal comma, perhaps with points between thousands.
DECIMAL_COMMA_PATTERN = re.compile(r"[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+([eE][+-]?\d+)?", re.ASCII)
NON_NUMERIC = re.compile(r"[^0-9eE+.\s-]")  # float() takes 1_000 and ١٢, a data file should not
MAX_MAGNITUDE = 1e300
MAX_FLOAT32_MAGNITUDE = 1e38
MAX_EXACT_FLOAT = 2**53  # whole numbers beyond it are not all exact in a float
MAX_SHOWN_CHARS = 40  # of a value in a message
MAX_FIELDS_SHOWN = 12  # fields or columns that are named in a message or in warnings


def shorten(value: object) -> str:
    """A value as quoted text for a message, cut if it is long."""
    text = str(value)
    return repr(text if len(text) <= MAX_SHOWN_CHARS else text[:MAX_SHOWN_CHARS] + "…")


def is_text(values: Array) -> bool:
    """Whether a chunk's column holds texts rather than typed values."""
    return values.dtype == object


def read_numbers(values: Array, *, decimal_comma: bool = False) -> tuple[Array, Array]:
    """Convert (n,) texts or typed values to float64, NaN = missing; and whether each is no number, (n,).

    With `decimal_comma` texts such as `1.234,5` are numbers, too.
    """
    if not is_text(values):
        if np.issubdtype(values.dtype, np.datetime64):
            return np.zeros(len(values)), ~np.isnat(values)
        return values.astype(np.float64), _all_false(values)
    texts = values.tolist()
    if decimal_comma:
        texts = [_with_point(text) for text in texts]
    present = [text for text in texts if text not in MISSING_TEXTS]
    try:
        if not NON_NUMERIC.search("".join(present)):
            has_missing = len(present) < len(texts)
            filled = ["nan" if text in MISSING_TEXTS else text for text in texts] if has_missing else texts
            return np.array(filled, object).astype(np.float64), _all_false(values)
    except ValueError:
        pass  # at least one is no number: read them one by one
    return _read_one_by_one([text.strip() for text in texts])


def _with_point(text: str) -> str:
    """A number with a decimal comma as it is with a point; any other text as it is."""
    if "," not in text or not DECIMAL_COMMA_PATTERN.fullmatch(text.strip()):
        return text
    return text.replace(".", "").replace(",", ".")


def _read_one_by_one(texts: list[str]) -> tuple[Array, Array]:
    """The result of `read_numbers` where at least one text is no number."""
    wrong = np.zeros(len(texts), bool)
    numbers = np.full(len(texts), np.nan)
    for index, text in enumerate(texts):
        if NUMBER_PATTERN.fullmatch(text):
            numbers[index] = float(text)
        elif text.lstrip("+-").lower() in ("inf", "infinity"):
            numbers[index] = math.inf
        else:
            wrong[index] = text not in MISSING_TEXTS
    return numbers, wrong


def check_numbers(
    values: Array,
    rows: Array,
    column: str,
    faults: "Faults",
    limit: float = MAX_MAGNITUDE,
    *,
    decimal_comma: bool = False,
) -> Array:
    """Read (n,) cells as float64, NaN = missing.

    A cell that is no number, not finite or beyond `limit` is a fault; `rows` has the cells' lines, (n,).
    """
    numbers, wrong = read_numbers(values, decimal_comma=decimal_comma)
    for index in np.flatnonzero(wrong | (np.abs(numbers) > limit)).tolist():
        if wrong[index]:
            problem = "is not a number"
            if is_text(values) and DECIMAL_COMMA_PATTERN.fullmatch(values[index].strip()):
                problem += "; a comma is no decimal mark here, write a point"
        elif math.isinf(numbers[index]) and (not is_text(values) or "inf" in values[index].lower()):
            problem = "is not finite"
        else:
            problem = "is too large a number"
        faults.add(f"{shorten(values[index])} {problem}.", row=int(rows[index]), column=column)
    return numbers


def _all_false(values: Array) -> Array:
    return np.zeros(len(values), bool)


def as_texts(values: Array) -> list[str]:
    """Typed values as a person would write them: no fraction on whole numbers, "" for missing."""
    if np.issubdtype(values.dtype, np.floating):
        return ["" if math.isnan(v) else str(int(v)) if v.is_integer() else repr(v) for v in values.tolist()]
    if np.issubdtype(values.dtype, np.datetime64):
        return ["" if np.isnat(v) else str(v) for v in values]
    return [str(v) for v in values.tolist()]
