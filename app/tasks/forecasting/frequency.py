"""Regular time grids: their names, their numbering, and the cycles a point of time lies on."""

import re
from dataclasses import dataclass

import numpy as np

from app.tasks.contract import Array
from app.tasks.shared.timestamps import DAY, parse_stamp, parse_stamps

__all__ = ["Frequency", "parse_stamp", "parse_stamps"]


SECONDS = {"h": 3600, "t": 60, "min": 60, "s": 1}
WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
SPANS = {"M": 1, "Q": 3, "Y": 12, "A": 12}  # months
ALIAS = re.compile(r"(\d*)\s*([A-Za-z]+?)(?:-([A-Za-z]{3}))?")
MONTHLY = re.compile(r"([MQYA])([ES]?)", re.IGNORECASE)
LEAP = 64 * DAY  # more than a month and its longest remainder, so that a phase holds months and seconds

DAILY = 1 / DAY
WEEKLY = 1 / (7 * DAY)


@dataclass(frozen=True)
class Frequency:
    """Every `step` units from `anchor`; a grid point is the unit's start, or for `end` its last day.

    Units are `1` (plain integers), `s` (seconds), `D` (days), `B` (business days) and `M` (months): weeks are
    7 days and quarters 3 months. Between stamps that lie between the grid points of a frequency but equally
    far from them (16:00 each day, the 15th of each month) only the *phase* differs.
    """

    alias: str
    unit: str
    step: int
    anchor: int = 0
    end: bool = False

    @classmethod
    def parse(cls, alias: str | int) -> "Frequency":
        """Read a pandas alias, old or new, or 1 for integer time; raises `ValueError` with a sentence."""
        text = str(alias).strip()
        if re.fullmatch(r"[0-9]{1,9}", text) and int(text):
            return cls(str(int(text)), "1", int(text))
        match = ALIAS.fullmatch(text)
        count = int(match[1] or 1) if match and len(match[1]) < 6 else 0
        found = _named(count, match[2], (match[3] or "").upper()) if match and count else None
        if found is None:
            raise ValueError(
                f"{text[:40]!r} is no frequency; use a pandas alias such as h, 15min, D, B, W, MS, QS or YS."
            )
        return found

    @property
    def seasons(self) -> tuple[int, ...]:
        """Steps in a plausible season, shortest first: a day and a week of hours, a year of months."""
        cycle = {
            "1": (),
            "s": (3600, DAY) if self.step < 60 else (DAY, 7 * DAY),
            "D": (364,) if self.step % 7 == 0 else (7,),
            "B": (5,),
            "M": (12,),
        }[self.unit]
        return tuple(span // self.step for span in cycle if span % self.step == 0 and span // self.step > 1)

    def ordinal(self, stamps: Array) -> Array:
        """Give the number of the grid point at or before each datetime64[s] (or integer), (n,) int64."""
        return (self._ticks(stamps)[0] - self.anchor) // self.step

    def phase(self, stamps: Array) -> Array:
        """Tell how far each stamp lies from its grid point, (n,) int64: the same all along a regular series.

        0 on the grid; seconds beyond it, but for months, where it counts months (as `LEAP`) and seconds.
        """
        ticks, rest = self._ticks(stamps)
        over = (ticks - self.anchor) % self.step  # (n,) units
        if self.unit == "M":
            return (over - self._last) * LEAP + rest
        return over * {"D": DAY}.get(self.unit, 1) + rest

    def locate(self, value: str | int) -> tuple[int, int]:
        """Ordinal and phase of one time as a user writes it; raises `ValueError` with a sentence."""
        if self.unit == "1":
            if not re.fullmatch(r"-?[0-9]{1,15}", str(value)):
                raise ValueError(f"{str(value)[:40]!r} is no integer, which frequency {self.alias} needs.")
            stamp = np.array([int(value)])
        else:
            stamp = np.array([parse_stamp(value)])
        phase = int(self.phase(stamp)[0])
        ordinal = int(self.ordinal(stamp)[0])
        if self.unit == "B" and phase >= DAY:  # a weekend: the next business day
            return ordinal + 1, phase % DAY
        named_by_period = self.end and abs(phase) >= DAY  # "1990-01-01" with ME means January
        return ordinal, 0 if named_by_period else phase

    def times(self, ordinals: Array, phase: int = 0) -> Array:
        """Grid points as (n,) datetime64[s], for integer time as int64."""
        if self.unit == "M":
            months, rest = divmod(phase + LEAP // 2, LEAP)
            ticks = ordinals * self.step + self.anchor + self._last + months
            return _months_to_seconds(ticks, end=self.end, rest=rest - LEAP // 2)
        ticks = ordinals * self.step + self.anchor
        if self.unit == "1":
            return ticks + phase
        if self.unit == "B":
            ticks = ticks // 5 * 7 + ticks % 5 - 3  # day 0 was a Thursday
        return (ticks * (1 if self.unit == "s" else DAY) + phase).astype("datetime64[s]")

    def stamps(self, start: int, n: int, phase: int = 0) -> list[str] | list[int]:
        """Write the `n` grid points from ordinal `start` as ISO 8601 text, or integers for integer time."""
        times = self.times(np.arange(start, start + n, dtype=np.int64), phase)
        if self.unit == "1":
            return [int(time) for time in times]
        if self.unit != "s" and not np.any(times.astype(np.int64) % DAY):
            return [str(time) for time in np.datetime_as_string(times, unit="D")]
        return [f"{time}Z" for time in np.datetime_as_string(times, unit="s")]

    def cycles(self, ordinals: Array) -> Array:
        """Sine and cosine of each grid point's place in its hour, day, week, month, year: (n, k) float32."""
        turns = self._turns(np.asarray(ordinals, np.int64))
        waves = [wave(2 * np.pi * turn) for turn in turns for wave in (np.sin, np.cos)]
        return (
            np.stack(waves, axis=1).astype(np.float32) if waves else np.zeros((len(ordinals), 0), np.float32)
        )

    @property
    def width(self) -> int:
        """How many columns `cycles` has."""
        return int(self.cycles(np.zeros(1, np.int64)).shape[1])

    @property
    def _last(self) -> int:
        """Months from a period's first month to the one that holds its grid point."""
        return self.step - 1 if self.end else 0

    def _turns(self, ordinals: Array) -> list[Array]:
        """Fractions of each cycle, (n,) each; none for yearly and integer time."""
        if self.unit == "1" or (self.unit == "M" and self.step % 12 == 0):
            return []
        if self.unit == "M":
            return [((ordinals * self.step + self.anchor) % 12) / 12]
        times = self.times(ordinals)
        seconds = times.astype(np.int64)
        year, month = times.astype("datetime64[Y]"), times.astype("datetime64[M]")
        of_year = (times - year) / ((year + 1).astype("datetime64[s]") - year.astype("datetime64[s]"))
        of_month = (times - month) / ((month + 1).astype("datetime64[s]") - month.astype("datetime64[s]"))
        of_week = (seconds + 3 * DAY) % (7 * DAY) * WEEKLY
        if self.unit == "s":
            hour = [seconds % 3600 / 3600] if self.step < 3600 else []
            return [*hour, seconds % DAY * DAILY, of_week, of_year]
        return [of_week, of_month, of_year] if self.step < 7 else [of_year]

    def _ticks(self, stamps: Array) -> tuple[Array, Array]:
        """Whole units since the epoch and seconds beyond (`end`: from the last day), (n,) int64 each."""
        if self.unit == "1":
            return stamps.astype(np.int64), np.zeros(len(stamps), np.int64)
        stamps = stamps.astype("datetime64[s]")
        seconds = stamps.astype(np.int64)
        if self.unit == "s":
            return seconds, np.zeros_like(seconds)
        if self.unit == "M":
            ticks = stamps.astype("datetime64[M]").astype(np.int64)
            return ticks, seconds - _months_to_seconds(ticks, end=self.end).astype(np.int64)
        days, rest = np.divmod(seconds, DAY)
        if self.unit == "D":
            return days, rest
        weeks, weekday = np.divmod(days + 3, 7)
        workday = np.minimum(weekday, 4)  # a weekend is its Friday, with a phase
        return weeks * 5 + workday, rest + (weekday - workday) * DAY


def _months_to_seconds(months: Array, *, end: bool, rest: int = 0) -> Array:
    """First (or last) day of each month, (n,) datetime64[s], and `rest` seconds, but no month further."""
    starts = (months + end).astype("datetime64[M]").astype("datetime64[s]")
    if end or rest < 28 * DAY:
        return starts + np.timedelta64(rest - DAY * end, "s")
    days, seconds = divmod(rest, DAY)
    lengths = ((months + 1).astype("datetime64[M]").astype("datetime64[D]") - starts).astype("timedelta64[D]")
    days_in = np.minimum(lengths.astype(np.int64) - 1, days)  # (n,) the 30th of February is its last day
    stamps: Array = starts + (days_in * DAY + seconds).astype("timedelta64[s]")
    return stamps


def _named(count: int, name: str, anchor: str) -> Frequency | None:
    """Give the frequency of an alias taken apart, under its canonical name."""
    upper = name.upper()
    if upper == "W" and (anchor or "SUN") in WEEKDAYS:
        return _weeks(count, WEEKDAYS.index(anchor or "SUN"))
    match = MONTHLY.fullmatch(name)
    if match and name != "m":  # minutes or months? pandas changed its mind
        return _monthly(count, match[1].upper(), anchor, end=match[2].upper() != "S")
    if anchor:
        return None
    if upper in ("D", "B"):
        return _days(count) if upper == "D" else Frequency("B", "B", 1) if count == 1 else None
    seconds = SECONDS.get(name.lower())
    return _seconds(count * seconds) if seconds else None


def _monthly(count: int, letter: str, anchor: str, *, end: bool) -> Frequency | None:
    if anchor and (letter == "M" or anchor not in MONTHS):
        return None
    return _months(count, SPANS[letter], MONTHS.index(anchor or ("DEC" if end else "JAN")), end=end)


def _alias(count: int, name: str) -> str:
    return f"{count}{name}" if count > 1 else name


def _seconds(step: int) -> Frequency:
    if step % DAY == 0:
        return _days(step // DAY)
    name, size = next((name, size) for name, size in (("h", 3600), ("min", 60), ("s", 1)) if step % size == 0)
    return Frequency(_alias(step // size, name), "s", step)


def _days(step: int) -> Frequency:
    return Frequency(_alias(step, "D"), "D", step)


def _weeks(count: int, weekday: int) -> Frequency:
    return Frequency(f"{_alias(count, 'W')}-{WEEKDAYS[weekday]}", "D", 7 * count, (weekday - 3) % 7)


def _months(count: int, span: int, month: int, *, end: bool) -> Frequency:
    """Months, quarters or years that start in (or with `end`: end with) the given month, 0 = January."""
    name = {1: "M", 3: "Q", 12: "Y"}[span] + "SE"[end]
    if span == 3:
        month = month % 3 + 9 * end  # quarters that end in March are those that end in December
    if span > 1:
        name += f"-{MONTHS[month]}"
    anchor = (month + end) % span if span > 1 else 0
    return Frequency(_alias(count, name), "M", span * count, anchor, end)
