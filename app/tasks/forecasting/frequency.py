"""Frequencies of time series: pandas aliases, the ordinals of grid points, and calendar features."""

import re
from dataclasses import dataclass

import numpy as np

from app.tasks.arrays import Array
from app.tasks.shared.timestamps import SECONDS_PER_DAY, parse_timestamp

UNIT_SECONDS = {"h": 3600, "t": 60, "min": 60, "s": 1}
WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
PERIOD_MONTHS = {"M": 1, "Q": 3, "Y": 12, "A": 12}
ALIAS_PATTERN = re.compile(r"(\d*)\s*([A-Za-z]+?)(?:-([A-Za-z]{3}))?")
MONTHLY_PATTERN = re.compile(r"([MQYA])([ES]?)", re.IGNORECASE)
MONTH_PHASE_SECONDS = 64 * SECONDS_PER_DAY  # one month in a phase; over twice the seconds that may remain

DAYS_PER_SECOND = 1 / SECONDS_PER_DAY
WEEKS_PER_SECOND = 1 / (7 * SECONDS_PER_DAY)


@dataclass(frozen=True)
class Frequency:
    """A regular grid: a point every `step` units from `anchor`, or with `end` on the last day of each.

    Units are `1` (plain integers), `s` (seconds), `D` (days), `B` (business days) and `M` (months): weeks are
    7 days and quarters 3 months. A regular series may lie beside the grid points (16:00 each day, the 15th of
    each month); its constant distance from them is its *phase*.
    """

    alias: str
    unit: str
    step: int
    anchor: int = 0
    end: bool = False

    @classmethod
    def parse(cls, alias: str | int) -> "Frequency":
        """Parse a pandas alias, old or new, or 1 for integer time; raises `ValueError` with a sentence."""
        text = str(alias).strip()
        if re.fullmatch(r"[0-9]{1,9}", text) and int(text):
            return cls(str(int(text)), "1", int(text))
        match = ALIAS_PATTERN.fullmatch(text)
        count = int(match[1] or 1) if match and len(match[1]) < 6 else 0
        frequency = _from_alias(count, match[2], (match[3] or "").upper()) if match and count else None
        if frequency is None:
            aliases = "h, 15min, D, B, W, MS, QS or YS"
            raise ValueError(f"{text[:40]!r} is not a frequency; use a pandas alias such as {aliases}.")
        return frequency

    @property
    def seasons(self) -> tuple[int, ...]:
        """Usual season lengths in steps, shortest first: a day and a week for hours, a year for months."""
        cycle = {
            "1": (),
            "s": (3600, SECONDS_PER_DAY) if self.step < 60 else (SECONDS_PER_DAY, 7 * SECONDS_PER_DAY),
            "D": (364,) if self.step % 7 == 0 else (7,),
            "B": (5,),
            "M": (12,),
        }[self.unit]
        return tuple(span // self.step for span in cycle if span % self.step == 0 and span // self.step > 1)

    def ordinal(self, stamps: Array) -> Array:
        """Ordinal of the grid point at or before each datetime64[s] (or integer), (n,) int64."""
        return (self._ticks(stamps)[0] - self.anchor) // self.step

    def phase(self, stamps: Array) -> Array:
        """Distance of each stamp from its grid point, (n,) int64; constant along a regular series.

        0 on the grid, otherwise seconds after it; for the unit `M` also months, `MONTH_PHASE_SECONDS` each.
        """
        ticks, rest = self._ticks(stamps)
        over = (ticks - self.anchor) % self.step  # (n,) units
        if self.unit == "M":
            return (over - self._last) * MONTH_PHASE_SECONDS + rest
        return over * {"D": SECONDS_PER_DAY}.get(self.unit, 1) + rest

    def locate(self, value: str | int) -> tuple[int, int]:
        """Ordinal and phase of one time, text or integer; raises `ValueError` with a sentence."""
        if self.unit == "1":
            if not re.fullmatch(r"-?[0-9]{1,15}", str(value)):
                raise ValueError(
                    f"{str(value)[:40]!r} is not an integer, which frequency {self.alias} needs."
                )
            stamp = np.array([int(value)])
        else:
            stamp = np.array([parse_timestamp(value)])
        phase = int(self.phase(stamp)[0])
        ordinal = int(self.ordinal(stamp)[0])
        if self.unit == "B" and phase >= SECONDS_PER_DAY:  # a weekend: the next business day
            return ordinal + 1, phase % SECONDS_PER_DAY
        named_by_period = self.end and abs(phase) >= SECONDS_PER_DAY  # "1990-01-01" with ME means January
        return ordinal, 0 if named_by_period else phase

    def times(self, ordinals: Array, phase: int = 0) -> Array:
        """Times of grid points, (n,) datetime64[s], or int64 for integer time."""
        if self.unit == "M":
            months, rest = divmod(phase + MONTH_PHASE_SECONDS // 2, MONTH_PHASE_SECONDS)
            ticks = ordinals * self.step + self.anchor + self._last + months
            return _months_to_seconds(ticks, end=self.end, rest=rest - MONTH_PHASE_SECONDS // 2)
        ticks = ordinals * self.step + self.anchor
        if self.unit == "1":
            return ticks + phase
        if self.unit == "B":
            ticks = ticks // 5 * 7 + ticks % 5 - 3  # day 0 was a Thursday
        return (ticks * (1 if self.unit == "s" else SECONDS_PER_DAY) + phase).astype("datetime64[s]")

    def stamps(self, start: int, n: int, phase: int = 0) -> list[str] | list[int]:
        """The `n` grid points from ordinal `start` as ISO 8601 text, or as integers for integer time."""
        times = self.times(np.arange(start, start + n, dtype=np.int64), phase)
        if self.unit == "1":
            return [int(time) for time in times]
        if self.unit != "s" and not np.any(times.astype(np.int64) % SECONDS_PER_DAY):
            return [str(time) for time in np.datetime_as_string(times, unit="D")]
        return [f"{time}Z" for time in np.datetime_as_string(times, unit="s")]

    def calendar_features(self, ordinals: Array) -> Array:
        """Sine and cosine of each point's position in its hour, day, week, month, year: (n, k) float32."""
        fractions = self._cycle_fractions(np.asarray(ordinals, np.int64))
        waves = [wave(2 * np.pi * fraction) for fraction in fractions for wave in (np.sin, np.cos)]
        return (
            np.stack(waves, axis=1).astype(np.float32) if waves else np.zeros((len(ordinals), 0), np.float32)
        )

    @property
    def calendar_width(self) -> int:
        """Number of columns of `calendar_features`."""
        return int(self.calendar_features(np.zeros(1, np.int64)).shape[1])

    @property
    def _last(self) -> int:
        """Months from the first month of a period to the month of its grid point."""
        return self.step - 1 if self.end else 0

    def _cycle_fractions(self, ordinals: Array) -> list[Array]:
        """Elapsed fraction of each calendar cycle, (n,) each; no cycle for yearly and integer time."""
        if self.unit == "1" or (self.unit == "M" and self.step % 12 == 0):
            return []
        if self.unit == "M":
            return [((ordinals * self.step + self.anchor) % 12) / 12]
        times = self.times(ordinals)
        seconds = times.astype(np.int64)
        year, month = times.astype("datetime64[Y]"), times.astype("datetime64[M]")
        of_year = (times - year) / ((year + 1).astype("datetime64[s]") - year.astype("datetime64[s]"))
        of_month = (times - month) / ((month + 1).astype("datetime64[s]") - month.astype("datetime64[s]"))
        of_week = (seconds + 3 * SECONDS_PER_DAY) % (7 * SECONDS_PER_DAY) * WEEKS_PER_SECOND
        if self.unit == "s":
            hour = [seconds % 3600 / 3600] if self.step < 3600 else []
            return [*hour, seconds % SECONDS_PER_DAY * DAYS_PER_SECOND, of_week, of_year]
        return [of_week, of_month, of_year] if self.step < 7 else [of_year]

    def _ticks(self, stamps: Array) -> tuple[Array, Array]:
        """Units since the epoch and remaining seconds (with `end` from the last day), (n,) int64 each."""
        if self.unit == "1":
            return stamps.astype(np.int64), np.zeros(len(stamps), np.int64)
        stamps = stamps.astype("datetime64[s]")
        seconds = stamps.astype(np.int64)
        if self.unit == "s":
            return seconds, np.zeros_like(seconds)
        if self.unit == "M":
            ticks = stamps.astype("datetime64[M]").astype(np.int64)
            return ticks, seconds - _months_to_seconds(ticks, end=self.end).astype(np.int64)
        days, rest = np.divmod(seconds, SECONDS_PER_DAY)
        if self.unit == "D":
            return days, rest
        weeks, weekday = np.divmod(days + 3, 7)
        workday = np.minimum(weekday, 4)  # a weekend is its Friday, with a phase
        return weeks * 5 + workday, rest + (weekday - workday) * SECONDS_PER_DAY


def _months_to_seconds(months: Array, *, end: bool, rest: int = 0) -> Array:
    """First (or last) day of each month plus `rest` seconds, (n,) datetime64[s]; stays within the month."""
    starts = (months + end).astype("datetime64[M]").astype("datetime64[s]")
    if end or rest < 28 * SECONDS_PER_DAY:
        return starts + np.timedelta64(rest - SECONDS_PER_DAY * end, "s")
    days, seconds = divmod(rest, SECONDS_PER_DAY)
    lengths = ((months + 1).astype("datetime64[M]").astype("datetime64[D]") - starts).astype("timedelta64[D]")
    days_in = np.minimum(lengths.astype(np.int64) - 1, days)  # (n,) the 30th of February is its last day
    stamps: Array = starts + (days_in * SECONDS_PER_DAY + seconds).astype("timedelta64[s]")
    return stamps


def _from_alias(count: int, name: str, anchor: str) -> Frequency | None:
    """Frequency of an alias in its parts, under its canonical name; None if there is no such frequency."""
    upper = name.upper()
    if upper == "W" and (anchor or "SUN") in WEEKDAYS:
        return _every_weeks(count, WEEKDAYS.index(anchor or "SUN"))
    match = MONTHLY_PATTERN.fullmatch(name)
    if match and name != "m":  # minutes or months? pandas changed its meaning
        return _from_monthly_alias(count, match[1].upper(), anchor, end=match[2].upper() != "S")
    if anchor:
        return None
    if upper in ("D", "B"):
        return _every_days(count) if upper == "D" else Frequency("B", "B", 1) if count == 1 else None
    seconds = UNIT_SECONDS.get(name.lower())
    return _every_seconds(count * seconds) if seconds else None


def _from_monthly_alias(count: int, letter: str, anchor: str, *, end: bool) -> Frequency | None:
    """Months, quarters or years by their letter; None if the anchor is no month, or months have one."""
    if anchor and (letter == "M" or anchor not in MONTHS):
        return None
    return _every_months(
        count, PERIOD_MONTHS[letter], MONTHS.index(anchor or ("DEC" if end else "JAN")), end=end
    )


def _prefix_count(count: int, name: str) -> str:
    return f"{count}{name}" if count > 1 else name


def _every_seconds(step: int) -> Frequency:
    if step % SECONDS_PER_DAY == 0:
        return _every_days(step // SECONDS_PER_DAY)
    name, size = next((name, size) for name, size in (("h", 3600), ("min", 60), ("s", 1)) if step % size == 0)
    return Frequency(_prefix_count(step // size, name), "s", step)


def _every_days(step: int) -> Frequency:
    return Frequency(_prefix_count(step, "D"), "D", step)


def _every_weeks(count: int, weekday: int) -> Frequency:
    return Frequency(f"{_prefix_count(count, 'W')}-{WEEKDAYS[weekday]}", "D", 7 * count, (weekday - 3) % 7)


def _every_months(count: int, span: int, month: int, *, end: bool) -> Frequency:
    """Months, quarters or years that start in `month` (with `end`: end with it), 0 = January."""
    name = {1: "M", 3: "Q", 12: "Y"}[span] + "SE"[end]
    if span == 3:
        month = month % 3 + 9 * end  # quarters that end in March also end in December
    if span > 1:
        name += f"-{MONTHS[month]}"
    anchor = (month + end) % span if span > 1 else 0
    return Frequency(_prefix_count(count, name), "M", span * count, anchor, end)
