"""Parses dates and times in text as seconds since 1970, a whole column at a time."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.arrays import Array
from app.tasks.shared.table_cells import shorten

MAX_TIMESTAMP_CHARS = 40  # no accepted layout is longer; a longer text is cut to this and matches none
SECONDS_PER_DAY = 86_400

# Layouts are matched on the text with its digits replaced by 0: one match serves all rows that look alike.
LAYOUT_PATTERN = re.compile(
    r"\s*(?:"
    r"(?P<number>0{9,10}|0{12,16}|0{18,19})(?:\.(?P<fn>0+))?"
    r"|(?P<y>0000)(?P<m>00)(?P<d>00)(?:[Tt](?P<hc>00)(?P<minc>00)(?P<sc>00)?[Zz]?)?"
    r"|(?P<yq>0000)-?[Qq](?P<q>0)"
    r"|(?P<dd>00?)\.(?P<md>00?)\.(?P<yd>0000)(?:[Tt ](?P<hd>00):(?P<mind>00)(?::(?P<sd>00))?)?"
    r"|(?P<yi>0000)(?:(?P<sep>[-/])(?P<mi>00?)(?:(?P=sep)(?P<di>00?)"
    r"(?:[Tt ](?P<h>00):(?P<min>00)(?::(?P<s>00)(?:[.,](?P<f>0+))?)?"
    r"\s?(?:[Zz]|(?P<sign>[+-])(?P<oh>00):?(?P<om>00)?)?)?)?)?"
    r")\s*"
)
DAY_FIRST = re.compile(r"\s*[0-9]{1,2}\.[0-9]{1,2}\.[0-9]{4}\b")  # dots are between day, month and year
AMBIGUOUS_PATTERN = re.compile(r"\s*0{1,2}([-/.])0{1,2}\1(00){1,2}\b.*")
# Groups of other layouts for the same field.
GROUP_FIELDS = {
    "yq": "y", "yi": "y", "mi": "m", "di": "d", "hc": "h", "minc": "min", "sc": "s",
    "yd": "y", "md": "m", "dd": "d", "hd": "h", "mind": "min", "sd": "s",
}  # fmt: skip
NOT_DIGITS = ("sep", "sign", "number", "f", "fn")

TICKS_BY_DIGITS = {9: 1, 10: 1, 12: 10**3, 13: 10**3, 15: 10**6, 16: 10**6, 18: 10**9, 19: 10**9}
EPOCH_SECONDS = (473_385_600, 4_102_444_800)  # 1985 to 2099: numbers that count from 1970
COMPACT_DIGITS = {10: ("h",), 12: ("h", "min"), 14: ("h", "min", "s")}  # behind YYYYMMDD
COMPACT_YEARS = (1900, 2200)  # of numbers that are dates; no number is both a date and an epoch


@dataclass(frozen=True)
class Timestamps:
    """Moments as they were written, (n,) each; NaT where a text is no date or time."""

    utc: Array  # datetime64[s]
    offsets: Array  # int64, seconds that local time is ahead of UTC; 0 where the text names no offset
    fractional: Array  # bool, a fraction of a second was cut off
    ticks: Array  # int64, ticks a second of a number since 1970, 0 for other texts

    @property
    def local(self) -> Array:
        """What a clock on the wall showed, (n,) datetime64[s]."""
        local: Array = self.utc + self.offsets.astype("timedelta64[s]")
        return local

    def take(self, rows: Array) -> "Timestamps":
        """The moments of these rows, (m,)."""
        return Timestamps(self.utc[rows], self.offsets[rows], self.fractional[rows], self.ticks[rows])


def join_timestamps(parts: Sequence[Timestamps]) -> Timestamps:
    """All moments, one part behind the other."""
    empty = Timestamps(*(np.zeros(0, kind) for kind in ("datetime64[s]", np.int64, bool, np.int64)))
    columns = zip(
        *((part.utc, part.offsets, part.fractional, part.ticks) for part in (empty, *parts)), strict=True
    )
    return Timestamps(*(np.concatenate(column) for column in columns))


def parse_timestamps(texts: Array) -> Timestamps:
    """Parse an (n,) array of texts; a text that is no date or time becomes NaT."""
    fixed = np.asarray(texts).astype(f"U{MAX_TIMESTAMP_CHARS}")  # (n,)
    count = len(fixed)
    parsed = Timestamps(
        np.full(count, np.datetime64("NaT"), "datetime64[s]"),
        np.zeros(count, np.int64),
        np.zeros(count, bool),
        np.zeros(count, np.int64),
    )
    if not count:
        return parsed
    codes = fixed.view(np.uint32).reshape(count, MAX_TIMESTAMP_CHARS)  # code points, 0 beyond the end
    is_digit = (codes >= ord("0")) & (codes <= ord("9"))
    zeroed = np.where(is_digit, ord("0"), codes).astype(np.uint32)
    layouts = zeroed.view(f"U{MAX_TIMESTAMP_CHARS}").ravel()  # (n,)
    pending = np.arange(count)
    while len(pending):
        layout = layouts[pending[0]]
        is_alike = layouts[pending] == layout
        if match := LAYOUT_PATTERN.fullmatch(str(layout)):
            _parse_layout(codes, pending[is_alike], match, parsed)
        pending = pending[~is_alike] if match else pending[~_is_unreadable(layouts[pending])]
    return parsed


def _is_unreadable(layouts: Array) -> Array:
    """Whether a layout matches no pattern, (n,); each distinct one is tried once, so garbage is cheap too."""
    unreadable = {text: LAYOUT_PATTERN.fullmatch(text) is None for text in set(layouts.tolist())}
    return np.array([unreadable[text] for text in layouts.tolist()])


def _parse_layout(codes: Array, rows: Array, match: re.Match[str], parsed: Timestamps) -> None:
    """Parse the code points (n, MAX_TIMESTAMP_CHARS) of those rows that share one layout into `parsed`."""
    digits = codes[rows].astype(np.int64) - ord("0")  # (rows, chars), of digits only
    zero = np.zeros(len(rows), np.int64)
    for name in ("f", "fn"):
        if match[name] is not None:
            parsed.fractional[rows] = digits[:, match.start(name) : match.end(name)].any(axis=1)
    if match["number"] is not None:
        _parse_numbers(digits[:, match.start("number") : match.end("number")], rows, parsed)
        return
    fields = {"m": zero + 1, "d": zero + 1}
    for name, text in match.groupdict().items():
        if text is not None and name not in NOT_DIGITS:
            fields[GROUP_FIELDS.get(name, name)] = _to_number(digits[:, match.start(name) : match.end(name)])
    if "q" in fields:
        fields["m"] = fields["q"] * 3 - 2
    offsets, is_offset = _read_offsets(fields, zero, -1 if match["sign"] == "-" else 1)
    local = _assemble(fields, zero)
    parsed.utc[rows] = np.where(is_offset, local - offsets.astype("timedelta64[s]"), np.datetime64("NaT"))
    parsed.offsets[rows] = offsets


def _parse_numbers(digits: Array, rows: Array, parsed: Timestamps) -> None:
    """Numbers of (rows, width) digits: YYYYMMDDhh, …mm and …ss, or seconds and their parts since 1970."""
    width = digits.shape[1]
    times = np.full(len(rows), np.datetime64("NaT"), "datetime64[s]")
    if ticks := TICKS_BY_DIGITS.get(width):
        seconds, rest = np.divmod(_to_number(digits), ticks)
        is_epoch = (seconds >= EPOCH_SECONDS[0]) & (seconds < EPOCH_SECONDS[1])
        times[is_epoch] = seconds[is_epoch].astype("datetime64[s]")
        parsed.fractional[rows] |= is_epoch & (rest > 0)
        parsed.ticks[rows] = np.where(is_epoch, ticks, 0)
    if names := COMPACT_DIGITS.get(width):
        parts = [_to_number(digits[:, start : start + 2]) for start in range(4, width, 2)]
        fields = dict(zip(("m", "d", *names), parts, strict=True)) | {"y": _to_number(digits[:, :4])}
        dates = _assemble(fields, np.zeros(len(rows), np.int64))
        is_date = (fields["y"] >= COMPACT_YEARS[0]) & (fields["y"] < COMPACT_YEARS[1]) & ~np.isnat(dates)
        times[is_date] = dates[is_date]
        parsed.ticks[rows] *= ~is_date
    parsed.utc[rows] = times


def _to_number(digits: Array) -> Array:
    """The numbers of (rows, width) digits, (rows,) int64."""
    numbers: Array = digits @ 10 ** np.arange(digits.shape[1] - 1, -1, -1)
    return numbers


def _read_offsets(fields: dict[str, Array], zero: Array, sign: int) -> tuple[Array, Array]:
    """Seconds ahead of UTC, and whether they are an offset that a clock can have, (rows,) each."""
    hour, minute = fields.get("oh", zero), fields.get("om", zero)
    return sign * (hour * 3600 + minute * 60), (hour <= 23) & (minute <= 59)


def _assemble(fields: dict[str, Array], zero: Array) -> Array:
    """Timestamps of year, month, day and time, (rows,) datetime64[s]; NaT where one is out of its range."""
    month = fields["m"]
    hour, minute, second = (fields.get(name, zero) for name in ("h", "min", "s"))
    valid = (month >= 1) & (month <= 12) & (hour <= 23) & (minute <= 59) & (second <= 59)
    valid &= fields["d"] >= 1
    months = (fields["y"] - 1970) * 12 + np.where(valid, month, 1) - 1
    first_day = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    next_month = (months + 1).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    valid &= fields["d"] <= next_month - first_day
    seconds = (first_day + fields["d"] - 1) * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second
    timestamps: Array = seconds.astype("datetime64[s]")
    timestamps[~valid] = np.datetime64("NaT")
    return timestamps


def parse_times(values: Sequence[str | int]) -> Timestamps:
    """Parse dates or times, (n,); raises `ValueError` with a sentence about the first that is none.

    An integer is a year, YYYYMMDD, or a number since 1970.
    """
    texts = [str(value) for value in values]
    timestamps = parse_timestamps(np.array(texts, object))
    unreadable = np.isnat(timestamps.utc)
    if unreadable.any():
        raise ValueError(timestamp_problem(texts[int(unreadable.argmax())]))
    return timestamps


def has_fraction(value: str | int) -> bool:
    """Whether a time that `parse_times` takes has a fraction of a second, which is not read."""
    if isinstance(value, str) and "." not in value and "," not in value and not value.isdecimal():
        return False  # which is fast
    return bool(parse_times([value]).fractional[0])


def is_day_first(text: str) -> bool:
    """Whether a date is written as day.month.year; with slashes and dashes nobody knows."""
    return "." in text and DAY_FIRST.match(text) is not None


def timestamp_problem(text: str) -> str:
    """Why `parse_timestamps` gives NaT for this text, as a sentence."""
    if not text.strip():
        return "The date is missing."
    layout = re.sub(r"[0-9]", "0", text[:MAX_TIMESTAMP_CHARS])
    if LAYOUT_PATTERN.fullmatch(layout):
        order = ", which has the day first" if is_day_first(text) else ""
        return f"{shorten(text)} is not a date of the calendar{order}."
    if AMBIGUOUS_PATTERN.fullmatch(layout):
        return f"{shorten(text)} is ambiguous (day or month first?); write dates as YYYY-MM-DD."
    return (
        f"{shorten(text)} is not a date or time; write ISO 8601 such as 2026-01-31 or 2026-01-31T09:00:00Z."
    )
