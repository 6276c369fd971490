"""Dates and times as text become seconds since 1970 in UTC, a whole column at a time."""

import re

import numpy as np

from app.tasks.contract import Array

WIDTH = 40  # no accepted layout is longer; a longer text is cut to this and matches none
DAY = 86_400

# Layouts are matched on the text with its digits replaced by 0: one match serves all rows that look alike.
LAYOUT = re.compile(
    r"\s*(?:"
    r"(?P<y>0000)(?P<m>00)(?P<d>00)"
    r"|(?P<yq>0000)-?[Qq](?P<q>0)"
    r"|(?P<yi>0000)(?:(?P<sep>[-/])(?P<mi>00?)(?:(?P=sep)(?P<di>00?)"
    r"(?:[Tt ](?P<h>00):(?P<min>00)(?::(?P<s>00)(?:[.,]0+)?)?"
    r"\s?(?:[Zz]|(?P<sign>[+-])(?P<oh>00):?(?P<om>00)?)?)?)?)?"
    r")\s*"
)
AMBIGUOUS = re.compile(r"\s*0{1,2}([-/.])0{1,2}\1(00){1,2}\b.*")
FIELDS = {"y": "y", "yq": "y", "yi": "y", "m": "m", "mi": "m", "d": "d", "di": "d"}


def parse_stamps(texts: Array) -> Array:
    """Read an (n,) array of texts as datetime64[s] in UTC; what is no date or time becomes NaT."""
    wide = np.asarray(texts).astype(f"U{WIDTH}")  # (n,)
    found = np.full(len(wide), np.datetime64("NaT"), "datetime64[s]")
    if not len(wide):
        return found
    codes = wide.view(np.uint32).reshape(len(wide), WIDTH)  # (n, WIDTH) code points, 0 beyond the end
    digit = (codes >= ord("0")) & (codes <= ord("9"))
    layouts = np.where(digit, ord("0"), codes).astype(np.uint32).view(f"U{WIDTH}").ravel()  # (n,)
    pending = np.arange(len(wide))
    while len(pending):
        layout = layouts[pending[0]]
        alike = layouts[pending] == layout
        if match := LAYOUT.fullmatch(str(layout)):
            rows = pending[alike]
            found[rows] = _read(codes[rows], match)
        pending = pending[~alike] if match else pending[~_hopeless(layouts[pending])]
    return found


def _hopeless(layouts: Array) -> Array:
    """Which layouts cannot be read; each distinct one is tried once, so garbage costs no more than dates."""
    known = {text: LAYOUT.fullmatch(text) is None for text in set(layouts.tolist())}
    return np.array([known[text] for text in layouts.tolist()])


def _read(codes: Array, match: re.Match[str]) -> Array:
    """Read (rows, WIDTH) code points that share one layout."""
    zero = np.zeros(len(codes), np.int64)
    part = {"m": zero + 1, "d": zero + 1}
    for name, text in match.groupdict().items():
        if text is not None and name not in ("sep", "sign"):
            digits = codes[:, match.start(name) : match.end(name)].astype(np.int64) - ord("0")
            part[FIELDS.get(name, name)] = digits @ 10 ** np.arange(digits.shape[1] - 1, -1, -1)
    if "q" in part:
        part["m"] = part["q"] * 3 - 2
    return _assemble(part, zero, -1 if match["sign"] == "-" else 1)


def _assemble(part: dict[str, Array], zero: Array, sign: int) -> Array:
    """Put year, month, day, time and offset together; NaT where one is out of its range."""
    month = part["m"]
    hour, minute, second = (part.get(name, zero) for name in ("h", "min", "s"))
    off_hour, off_minute = part.get("oh", zero), part.get("om", zero)
    good = (month >= 1) & (month <= 12) & (hour <= 23) & (minute <= 59) & (second <= 59)
    good &= (off_hour <= 23) & (off_minute <= 59) & (part["d"] >= 1)
    months = (part["y"] - 1970) * 12 + np.where(good, month, 1) - 1
    first = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    after = (months + 1).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    good &= part["d"] <= after - first
    seconds = (first + part["d"] - 1) * DAY + hour * 3600 + minute * 60 + second
    seconds -= sign * (off_hour * 3600 + off_minute * 60)
    stamps: Array = seconds.astype("datetime64[s]")
    stamps[~good] = np.datetime64("NaT")
    return stamps


def parse_stamp(value: str | int) -> np.datetime64:
    """Read one date or time (an integer is a year or YYYYMMDD); raises `ValueError` with a sentence."""
    text = str(value)
    stamp: np.datetime64 = parse_stamps(np.array([text], object))[0]
    if np.isnat(stamp):
        raise ValueError(explain(text))
    return stamp


def explain(text: str) -> str:
    """Why `parse_stamps` gave NaT for this text, as a sentence."""
    if not text.strip():
        return "The date is missing."
    short = repr(text if len(text) <= WIDTH else text[:WIDTH] + "…")
    layout = re.sub(r"[0-9]", "0", text[:WIDTH])
    if AMBIGUOUS.fullmatch(layout):
        return f"{short} is ambiguous (day or month first?); write dates as YYYY-MM-DD."
    if LAYOUT.fullmatch(layout):
        return f"{short} is not a date of the calendar."
    return f"{short} is not a date or time; write ISO 8601 such as 2026-01-31 or 2026-01-31T09:00:00Z."
