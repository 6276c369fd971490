"""Cells of a table, text or typed, as numbers; and numbers as text again."""

import math
import re

import numpy as np

from app.tasks.contract import Array, Faults
from app.tasks.shared.timestamps import WIDTH

MISSING = frozenset(("", "NaN", "nan", "NA", "N/A", "null", "NULL", "None", "<NA>"))
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
UNUSUAL = re.compile(r"[^0-9eE+.\s-]")  # float() takes 1_000 and ١٢, a data file should not
LARGEST = 1e300
LARGEST_FLOAT32 = 1e38


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
    texts = values.tolist()
    given = [text for text in texts if text not in MISSING]
    try:
        if not UNUSUAL.search("".join(given)):
            filled = texts if len(given) == len(texts) else ["nan" if t in MISSING else t for t in texts]
            return np.array(filled, object).astype(np.float64), _none(values)
    except ValueError:
        pass  # at least one is wrong: look at each
    return _read_each([text.strip() for text in texts])


def _read_each(texts: list[str]) -> tuple[Array, Array]:
    """What `read_numbers` gives, one text at a time."""
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


def as_texts(values: Array) -> list[str]:
    """Typed values as a person would write them: no fraction on whole numbers, "" for missing."""
    if np.issubdtype(values.dtype, np.floating):
        return ["" if math.isnan(v) else str(int(v)) if v.is_integer() else repr(v) for v in values.tolist()]
    if np.issubdtype(values.dtype, np.datetime64):
        return ["" if np.isnat(v) else str(v) for v in values]
    return [str(v) for v in values.tolist()]


def odd_text(text: str, longest: int) -> str | None:
    """What is wrong with a text of some characters, as the end of a sentence about it."""
    if not text.strip():
        return "is empty."
    if len(text) > longest:
        return f"has {len(text):,} characters; at most {longest:,} are read."
    if "\0" in text:
        return "has a NUL character."
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"is no Unicode text: character {error.start} is half of a surrogate pair."
    return None
