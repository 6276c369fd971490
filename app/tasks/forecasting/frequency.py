"""Frequencies of time series: the ordinals of grid points, and calendar features."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from app.arrays import Array
from app.tasks.forecasting.calendars.aliases import FrequencyAlias, read_alias
from app.tasks.forecasting.calendars.month_days import (
    first_days,
    last_days,
    roll_backward,
    roll_forward,
    weekdays,
)
from app.tasks.forecasting.calendars.phases import (
    ROLLS,
    PhaseFlag,
    add_offsets,
    offset_of,
    pack_phase,
    split_marks,
    unpack_phase,
)
from app.tasks.shared.timestamps import SECONDS_PER_DAY, parse_times

DAYS_PER_SECOND = 1 / SECONDS_PER_DAY
WEEKS_PER_SECOND = 1 / (7 * SECONDS_PER_DAY)
CLIPPED_SECONDS = 28 * SECONDS_PER_DAY  # a later day than the 28th does not exist in every month
STEPS_A_YEAR = {"M": 12, "SM": 24}


class Frequency(FrequencyAlias):
    """A regular grid: a point every `step` units from `anchor`; `rule` names the day that stands for a month.

    Units are `1` (plain integers), `s` (seconds), `D` (days), `B` (business days), `M` (months) and `SM`
    (halves of a month, divided at day `half`): weeks are 7 days and quarters 3 months; `span` is the months
    in a period of the alias. A regular series may lie beside the grid points (16:00 each day, the 15th of
    each month); its constant distance from them is its *phase*.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, alias: str | int) -> "Frequency":
        """Parse a pandas alias, old or new, or 1 for integer time; raises `ValueError` with a sentence."""
        return cls(*read_alias(str(alias)))

    @property
    def is_calendar(self) -> bool:
        """Whether the steps are days or longer, which are those of a clock on the wall."""
        return self.unit not in ("1", "s")

    def is_like(self, other: "Frequency") -> bool:
        """Whether both count the same steps, months by their first day or by their first business day."""
        if self.unit != "M" or self.rule.end != other.rule.end:
            return self == other
        return (self.unit, self.step, self.anchor) == (other.unit, other.step, other.anchor)

    @property
    def seasons(self) -> tuple[int, ...]:
        """Usual season lengths in steps, shortest first: a day and a week for hours, a year for months."""
        cycle = {
            "1": (),
            "s": (3600, SECONDS_PER_DAY) if self.step < 60 else (SECONDS_PER_DAY, 7 * SECONDS_PER_DAY),
            "D": (364,) if self.step % 7 == 0 else (7,),
            "B": (260,) if self.step % 5 == 0 else (5,),
            "M": (12,),
            "SM": (24,),
        }[self.unit]
        return tuple(span // self.step for span in cycle if span % self.step == 0 and span // self.step > 1)

    def ordinal(self, stamps: Array) -> Array:
        """Ordinal of the grid point at or before each datetime64[s] (or integer), (n,) int64."""
        return (self._ticks(stamps)[0] - self.anchor) // self.step

    def phase(self, stamps: Array) -> Array:
        """Distance of each stamp from its grid point, (n,) int64; constant along a regular series.

        0 on the grid, otherwise seconds after it; for months and business days also these (`pack_phase`).
        """
        return self._place(*self._ticks(stamps))[1]

    def _place(self, ticks: Array, rest: Array) -> tuple[Array, Array]:
        """Ordinals and phases of units since the epoch and the seconds that remain, (n,) each."""
        ordinals, over = np.divmod(ticks - self.anchor, self.step)
        if self.unit in ("M", "SM", "B"):
            return ordinals, pack_phase(over - self._last, rest)
        return ordinals, over * {"D": SECONDS_PER_DAY}.get(self.unit, 1) + rest

    def locate(self, value: str | int, usual_phases: Sequence[int] = ()) -> tuple[int, int]:
        """Ordinal and phase of one time, text or integer; raises `ValueError` with a sentence.

        A time that a series of one of the `usual_phases` has gets that phase: the 28th of February may stand
        for the 30th of each month.
        """
        ordinals, phases = self.locate_all([value], usual_phases)
        return int(ordinals[0]), int(phases[0])

    def locate_all(
        self, values: Sequence[str | int], usual_phases: Sequence[int] = ()
    ) -> tuple[Array, Array]:
        """The same for many times, (n,) int64 each."""
        if self.unit == "1":
            wrong = [value for value in values if not re.fullmatch(r"-?[0-9]{1,15}", str(value))]
            if wrong:
                raise ValueError(
                    f"{str(wrong[0])[:40]!r} is not an integer, which frequency {self.alias} needs."
                )
            return self._place(*self._ticks(np.array([int(value) for value in values], np.int64)))
        parsed = parse_times(values)
        if not self.is_calendar:
            return self._place(*self._ticks(parsed.utc))
        local = parsed.local
        ordinals, phases = self._locate_periods(local)
        has_clock = local.astype(np.int64) % SECONDS_PER_DAY > 0
        if has_clock.any():
            phases = np.where(has_clock, add_offsets(phases, parsed.offsets), phases)
        if usual_phases:
            for row in np.flatnonzero(~np.isin(phases, usual_phases)).tolist():
                one = local[row : row + 1]
                for usual in usual_phases:
                    if self._has_phase(one, int(parsed.offsets[row]), usual):
                        ordinals[row], phases[row] = self.ordinal(one)[0], usual
                        break
        return ordinals, phases

    def _has_phase(self, stamp: Array, offset: int, phase: int) -> bool:
        """Whether a clock time, (1,) and seconds ahead of UTC, is one of a series with that phase."""
        marks = split_marks(np.array([phase]))[0]
        if marks[0] & PhaseFlag.ANY_DAY:
            return True
        same_clock = bool(marks[0] & PhaseFlag.LOCAL) or offset_of(marks)[0] in (offset, 0)
        return same_clock and np.array_equal(self.times(self.ordinal(stamp), phase), stamp)

    def _locate_periods(self, stamps: Array) -> tuple[Array, Array]:
        """Ordinals and phases of clock times, (n,) each; a day beside the rule names the period it is in.

        "1990-01-01" with ME means January, and a weekend with B the next business day.
        """
        ticks, rest = self._ticks(stamps)
        if self.unit == "B":
            weekend = rest >= SECONDS_PER_DAY
            ticks, rest = ticks + weekend, np.where(weekend, rest % SECONDS_PER_DAY, rest)
        if self.unit in ("M", "SM") and not (self.unit == "M" and self.rule.is_first):
            behind = (self.anchor - 1 - ticks) % self.span if self.rule.end else 0 * ticks
            beside = (rest < 0) | (rest >= SECONDS_PER_DAY) | (behind != 0)
            if beside.any():
                others = self._ticks(self._stamps_of(ticks + behind))
                ticks, rest = (np.where(beside, *pair) for pair in zip(others, (ticks, rest), strict=True))
        return self._place(ticks, rest)

    def times(self, ordinals: Array, phase: int | Array = 0) -> Array:
        """Times of grid points, (n,) datetime64[s], or int64 for integer time; `phase` of each or of all."""
        ticks = ordinals * self.step + self.anchor
        marks, phases = split_marks(np.asarray(phase, np.int64))
        if self.unit == "1":
            return ticks + phases
        if self.unit in ("M", "SM", "B"):
            units, rest = unpack_phase(phases)
            if np.any(marks):
                rest = np.where(marks & PhaseFlag.ANY_DAY, 0, rest)
            return self._stamps_of(ticks + self._last + units, rest, marks)
        return (ticks * (1 if self.unit == "s" else SECONDS_PER_DAY) + phases).astype("datetime64[s]")

    def stamps(self, start: int, n: int, phase: int = 0) -> list[str] | list[int]:
        """The `n` grid points from ordinal `start` as ISO 8601 text, or as integers for integer time.

        Days have no time; other times are in UTC and end with Z, unless their offset from UTC changes.
        """
        (stamps,) = self.stamps_of([start], n, [phase])
        return stamps

    def stamps_of(self, starts: Sequence[int], n: int, phases: Sequence[int]) -> list[list[str] | list[int]]:
        """The same for many series, a list each, from their `starts` on and with their `phases`."""
        distinct = dict.fromkeys(zip(starts, phases, strict=True))  # many series end at the same time
        table = np.array(list(distinct), np.int64)  # (series, 2)
        times = self.times(table[:, :1] + np.arange(n, dtype=np.int64), table[:, 1:])  # (series, n)
        if self.unit == "1":
            texts: Array = times
        else:
            texts = np.empty(times.shape, object)
            is_day = np.asarray(~(times.astype(np.int64) % SECONDS_PER_DAY).any(axis=1) & (self.unit != "s"))
            marks = split_marks(table[:, 1])[0]
            in_zone = (marks & PhaseFlag.LOCAL) == 0
            ahead = np.where(is_day, 0, offset_of(marks)).astype("timedelta64[s]")
            times = times - ahead[:, None]
            forms: tuple[tuple[Array, Any, Any], ...] = (
                (is_day, "D", "naive"),
                (~is_day & in_zone, "s", "UTC"),
                (~is_day & ~in_zone, "s", "naive"),
            )
            for rows, unit, zone in forms:
                if rows.any():
                    texts[rows] = np.datetime_as_string(times[rows], unit=unit, timezone=zone)
        by_start = dict(zip(distinct, texts.tolist(), strict=True))
        return [by_start[key] for key in zip(starts, phases, strict=True)]

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
        return self.step - 1 if self.rule.end and self.unit == "M" else 0

    def _cycle_fractions(self, ordinals: Array) -> list[Array]:
        """Elapsed fraction of each calendar cycle, (n,) each; no cycle for yearly and integer time."""
        if self.unit == "1" or (self.unit == "M" and self.step % 12 == 0):
            return []
        if year_steps := STEPS_A_YEAR.get(self.unit):
            return [((ordinals * self.step + self.anchor) % year_steps) / year_steps]
        times = self.times(ordinals)
        seconds = times.astype(np.int64)
        year, month = times.astype("datetime64[Y]"), times.astype("datetime64[M]")
        of_year = (times - year) / ((year + 1).astype("datetime64[s]") - year.astype("datetime64[s]"))
        of_month = (times - month) / ((month + 1).astype("datetime64[s]") - month.astype("datetime64[s]"))
        of_week = (seconds + 3 * SECONDS_PER_DAY) % (7 * SECONDS_PER_DAY) * WEEKS_PER_SECOND
        if self.unit == "s":
            hour = [seconds % 3600 / 3600] if self.step < 3600 else []
            return [*hour, seconds % SECONDS_PER_DAY * DAYS_PER_SECOND, of_week, of_year]
        is_long = self.step >= {"B": 5}.get(self.unit, 7)
        return [of_year] if is_long else [of_week, of_month, of_year]

    def _ticks(self, stamps: Array) -> tuple[Array, Array]:
        """Units since the epoch and remaining seconds (from the day of the rule), (n,) int64 each."""
        if self.unit == "1":
            return stamps.astype(np.int64), np.zeros(len(stamps), np.int64)
        stamps = stamps.astype("datetime64[s]")
        seconds = stamps.astype(np.int64)
        if self.unit == "s":
            return seconds, np.zeros_like(seconds)
        if self.unit in ("M", "SM"):
            ticks = stamps.astype("datetime64[M]").astype(np.int64)
            if self.unit == "SM":
                day = (stamps.astype("datetime64[D]").astype(np.int64) - first_days(ticks)) + 1
                ticks = 2 * ticks + (day > self.half - (not self.rule.end))
            return ticks, seconds - self._stamps_of(ticks).astype(np.int64)
        days, rest = np.divmod(seconds, SECONDS_PER_DAY)
        if self.unit == "D":
            return days, rest
        workday = np.minimum(weekdays(days), 4)  # a weekend is its Friday, with a phase
        return (days + 3) // 7 * 5 + workday, rest + (weekdays(days) - workday) * SECONDS_PER_DAY

    def _stamps_of(self, ticks: Array, rest: Array | int = 0, marks: Array | int = 0) -> Array:
        """Times `rest` seconds after the days of months, halves or business days, (n,) datetime64[s].

        A day that a month does not have is its last one; `marks` may move a weekend.
        """
        days, seconds = self._days(ticks), np.asarray(rest)
        if self.unit == "M" and self.rule.is_first and np.any(seconds >= CLIPPED_SECONDS):
            later, seconds = np.divmod(seconds, SECONDS_PER_DAY)
            days = np.minimum(days + later, last_days(ticks))
        if np.any(np.asarray(marks) & ROLLS):
            later, seconds = np.divmod(seconds, SECONDS_PER_DAY)
            days = days + later
            days = np.where(np.asarray(marks) & PhaseFlag.ROLL_FORWARD, roll_forward(days), days)
            days = np.where(np.asarray(marks) & PhaseFlag.ROLL_BACKWARD, roll_backward(days), days)
        stamps: Array = (days * SECONDS_PER_DAY + seconds).astype("datetime64[s]")
        return stamps

    def _days(self, ticks: Array) -> Array:
        """Days since 1970 of months, halves or business days, (n,) int64."""
        if self.unit == "B":
            days: Array = ticks // 5 * 7 + ticks % 5 - 3  # day 0 was a Thursday
            return days
        if self.unit == "M":
            return self.rule.days(ticks)
        months, second = ticks // 2, ticks % 2 == 1
        at_half = first_days(months) + self.half - 1
        first, later = (at_half, last_days(months)) if self.rule.end else (first_days(months), at_half)
        return np.asarray(np.where(second, later, first))
