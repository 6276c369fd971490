"""Parses dates and times in text as seconds since 1970 in UTC, a whole column at a time."""

import re

import numpy as np

from app.tasks.arrays import Array
from app.tasks.shared.table_cells import shorten

MAX_TIMESTAMP_CHARS = 40  # no accepted layout is longer; a longer text is cut to this and matches none
SECONDS_PER_DAY = 86_400

# Layouts are matched on the text with its digits replaced by 0: one match serves all rows that look alike.
LAYOUT_PATTERN = re.compile(
    r"\s*(?:"
    r"(?P<y>0000)(?P<m>00)(?P<d>00)"
    r"|(?P<yq>0000)-?[Qq](?P<q>0)"
    r"|(?P<yi>0000)(?:(?P<sep>[-/])(?P<mi>00?)(?:(?P=sep)(?P<di>00?)"
    r"(?:[Tt ](?P<h>00):(?P<min>00)(?::(?P<s>00)(?:[.,]0+)?)?"
    r"\s?(?:[Zz]|(?P<sign>[+-])(?P<oh>00):?(?P<om>00)?)?)?)?)?"
    r")\s*"
)
AMBIGUOUS_PATTERN = re.compile(r"\s*0{1,2}([-/.])0{1,2}\1(00){1,2}\b.*")
GROUP_FIELDS = {"yq": "y", "yi": "y", "mi": "m", "di": "d"}  # groups of other layouts for the same field


def parse_timestamps(texts: Array) -> Array:
    """Parse an (n,) array of texts as datetime64[s] in UTC; a text that is no date or time becomes NaT."""
    fixed = np.asarray(texts).astype(f"U{MAX_TIMESTAMP_CHARS}")  # (n,)
    timestamps = np.full(len(fixed), np.datetime64("NaT"), "datetime64[s]")
    if not len(fixed):
        return timestamps
    codes = fixed.view(np.uint32).reshape(len(fixed), MAX_TIMESTAMP_CHARS)  # code points, 0 beyond the end
    is_digit = (codes >= ord("0")) & (codes <= ord("9"))
    zeroed = np.where(is_digit, ord("0"), codes).astype(np.uint32)
    layouts = zeroed.view(f"U{MAX_TIMESTAMP_CHARS}").ravel()  # (n,)
    pending = np.arange(len(fixed))
    while len(pending):
        layout = layouts[pending[0]]
        is_alike = layouts[pending] == layout
        if match := LAYOUT_PATTERN.fullmatch(str(layout)):
            rows = pending[is_alike]
            timestamps[rows] = _parse_layout(codes[rows], match)
        pending = pending[~is_alike] if match else pending[~_is_unreadable(layouts[pending])]
    return timestamps


def _is_unreadable(layouts: Array) -> Array:
    """Whether a layout matches no pattern, (n,); each distinct one is tried once, so garbage is cheap too."""
    unreadable = {text: LAYOUT_PATTERN.fullmatch(text) is None for text in set(layouts.tolist())}
    return np.array([unreadable[text] for text in layouts.tolist()])


def _parse_layout(codes: Array, match: re.Match[str]) -> Array:
    """Parse code points (rows, MAX_TIMESTAMP_CHARS) that share one layout."""
    zero = np.zeros(len(codes), np.int64)
    fields = {"m": zero + 1, "d": zero + 1}
    for name, text in match.groupdict().items():
        if text is not None and name not in ("sep", "sign"):
            digits = codes[:, match.start(name) : match.end(name)].astype(np.int64) - ord("0")
            fields[GROUP_FIELDS.get(name, name)] = digits @ 10 ** np.arange(digits.shape[1] - 1, -1, -1)
    if "q" in fields:
        fields["m"] = fields["q"] * 3 - 2
    return _assemble(fields, zero, -1 if match["sign"] == "-" else 1)


def _assemble(fields: dict[str, Array], zero: Array, sign: int) -> Array:
    """Timestamps from year, month, day, time and offset from UTC; NaT where one is out of its range."""
    month = fields["m"]
    hour, minute, second = (fields.get(name, zero) for name in ("h", "min", "s"))
    offset_hour, offset_minute = fields.get("oh", zero), fields.get("om", zero)
    valid = (month >= 1) & (month <= 12) & (hour <= 23) & (minute <= 59) & (second <= 59)
    valid &= (offset_hour <= 23) & (offset_minute <= 59) & (fields["d"] >= 1)
    months = (fields["y"] - 1970) * 12 + np.where(valid, month, 1) - 1
    first_day = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    next_month = (months + 1).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    valid &= fields["d"] <= next_month - first_day
    seconds = (first_day + fields["d"] - 1) * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second
    seconds -= sign * (offset_hour * 3600 + offset_minute * 60)
    timestamps: Array = seconds.astype("datetime64[s]")
    timestamps[~valid] = np.datetime64("NaT")
    return timestamps


def parse_timestamp(value: str | int) -> np.datetime64:
    """Parse one date or time (an integer is a year or YYYYMMDD); raises `ValueError` with a sentence."""
    text = str(value)
    timestamp: np.datetime64 = parse_timestamps(np.array([text], object))[0]
    if np.isnat(timestamp):
        raise ValueError(timestamp_problem(text))
    return timestamp


def timestamp_problem(text: str) -> str:
    """Why `parse_timestamps` gives NaT for this text, as a sentence."""
    if not text.strip():
        return "The date is missing."
    layout = re.sub(r"[0-9]", "0", text[:MAX_TIMESTAMP_CHARS])
    if AMBIGUOUS_PATTERN.fullmatch(layout):
        return f"{shorten(text)} is ambiguous (day or month first?); write dates as YYYY-MM-DD."
    if LAYOUT_PATTERN.fullmatch(layout):
        return f"{shorten(text)} is not a date of the calendar."
    return (
        f"{shorten(text)} is not a date or time; write ISO 8601 such as 2026-01-31 or 2026-01-31T09:00:00Z."
    )
