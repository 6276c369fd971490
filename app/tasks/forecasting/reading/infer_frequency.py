"""Infers the frequency of time stamps: the grid on which most of them lie."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from app.arrays import Array
from app.tasks.forecasting.calendars.aliases import (
    MAX_HALF,
    every_half_month,
    every_months,
    every_seconds,
    every_weeks,
)
from app.tasks.forecasting.calendars.month_days import (
    FIRST_BUSINESS_DAY,
    FIRST_DAY,
    LAST_BUSINESS_DAY,
    LAST_DAY,
    MonthDay,
    first_days,
    weekdays,
)
from app.tasks.forecasting.calendars.phases import (
    PhaseFlag,
    add_flag,
    pack_phase,
    split_marks,
    unpack_phase,
)
from app.tasks.forecasting.frequency import Frequency
from app.tasks.shared.timestamps import SECONDS_PER_DAY

MIN_MONTH_DAYS = 26  # between values that stand for months; the first Monday to the last of a month are 28
LAST_OF_MONTH = 31  # whatever day it is
MAX_OFF_GRID_SHARE = 0.2  # of the rows, as long as they are mistakes; with more there is no rule
FEW_STAMPS = 3  # lie on half months by chance
MAX_HOLIDAY_DAYS = 10  # that a value moves from the first or last business day


@dataclass(frozen=True)
class FrequencyFit:
    """A frequency, with the grid of each series; rows are sorted by series and time."""

    frequency: Frequency
    ordinals: Array  # (rows,) int64
    phases: Array  # (series,) int64
    off_grid: Array  # (rows,) bool, beside the grid points of their series
    shifted: Array  # (rows,) bool, on another day than the rule's, but in a period of their own


@dataclass(frozen=True)
class SeriesTimes:
    """The time stamps of series, one behind the other."""

    times: Array  # (rows,) int64 or datetime64[s], ascending in each series
    firsts: Array  # (series,) first row of each

    @cached_property
    def owners(self) -> Array:
        """Series of each row, (rows,)."""
        return np.repeat(np.arange(len(self.firsts)), np.diff(self.firsts, append=len(self.times)))

    @cached_property
    def days(self) -> Array:
        """Days since 1970, (rows,) int64."""
        days: Array = self.times.astype("datetime64[D]").astype(np.int64)
        return days

    @cached_property
    def months(self) -> Array:
        """Months since 1970-01, (rows,) int64."""
        months: Array = self.times.astype("datetime64[M]").astype(np.int64)
        return months

    def steps(self, values: Array) -> Array:
        """Differences of values (rows,) within each series, without zeros."""
        steps = np.diff(values)[np.diff(self.owners) == 0].astype(np.int64)
        kept: Array = steps[steps > 0]
        return kept

    def all_of(self, mask: Array) -> Array:
        """Whether a mask (rows,) holds in all rows of each series, (series,)."""
        every: Array = np.logical_and.reduceat(mask, self.firsts)
        return every


def fit_frequency(series: SeriesTimes) -> FrequencyFit:
    """The first frequency of the usual ones on which all time stamps lie, else that on which most do.

    A value a month, quarter or year may lie on any day, where its days follow no rule or holidays move it.
    Integers are integer time. Raises `ValueError` with a sentence if no series has two different times.
    """
    if not len(series.steps(series.times)):
        raise ValueError("The frequency cannot be inferred: no series has two different time stamps.")
    fits = []
    for fit in _candidate_fits(series):
        fits.append(fit)
        if not fit.off_grid.any():
            return fit
    best = min(fits, key=lambda fit: int(fit.off_grid.sum()))  # the first of several
    return _accept_shifted(series, best) if best.frequency.unit in ("M", "SM") else best


def _candidate_fits(series: SeriesTimes) -> Iterator[FrequencyFit]:
    """Fits of the frequencies whose step is the usual one, the simplest first.

    Few stamps lie on many calendars by chance: theirs is a fixed step, if it fits.
    """
    steps = series.steps(series.times)
    step = _most_frequent(steps)
    if not np.issubdtype(series.times.dtype, np.datetime64):
        fit = _fit(Frequency.parse(step), series)
        if np.mean(fit.off_grid) > MAX_OFF_GRID_SHARE / 2:
            fit = _fit(Frequency.parse(math.gcd(*np.unique(steps).tolist())), series)
        yield fit
        return
    usual_days = float(np.median(steps)) / SECONDS_PER_DAY
    if usual_days >= MIN_MONTH_DAYS:
        yield from _month_fits(series, by_weekday=bool(np.any(steps != step)))
    halves: list[FrequencyFit] = []
    if step >= SECONDS_PER_DAY and np.mean(steps) < MIN_MONTH_DAYS * SECONDS_PER_DAY:
        halves.extend(_half_month_fits(series))
    are_few = len(np.unique(series.times)) <= FEW_STAMPS
    if not are_few:
        yield from halves
    yield from _business_fits(series, step)
    if step % (7 * SECONDS_PER_DAY) == 0:
        weekday = _most_frequent(weekdays(series.days))
        yield _fit(Frequency(*every_weeks(step // (7 * SECONDS_PER_DAY), weekday)), series)
    else:
        yield _fit(Frequency(*every_seconds(step)), series)
    if are_few:
        yield from halves


def _month_fits(series: SeriesTimes, *, by_weekday: bool) -> Iterator[FrequencyFit]:
    """Fits of months, quarters and years by the day that stands for them; a weekday only `by_weekday`."""
    step = max(1, _most_frequent(series.steps(series.months)))
    for rule in (FIRST_DAY, LAST_DAY, FIRST_BUSINESS_DAY, LAST_BUSINESS_DAY):
        yield _fit(_every_months(series, step, rule), series, on_day=True)
    if _mixes_first_and_last(series):
        return
    plain = _fit(_every_months(series, step, FIRST_DAY), series)
    yield plain
    day_of_month = series.days - first_days(series.months)  # (rows,) 0 = the first
    week = _most_frequent(day_of_month // 7) + 1
    weekday = _most_frequent(weekdays(series.days))
    for nth in ((week, 0) if week < 5 else (0,)) if by_weekday else ():
        yield _fit(_every_months(series, step, MonthDay(weekday=weekday, week=nth)), series, on_day=True)
    months, _ = unpack_phase(plain.phases)
    seconds = day_of_month * SECONDS_PER_DAY + series.times.astype(np.int64) % SECONDS_PER_DAY  # (rows,)
    earliest, latest = (way.reduceat(seconds, series.firsts) for way in (np.minimum, np.maximum))
    for flag, rest in ((PhaseFlag.ROLL_FORWARD, earliest), (PhaseFlag.ROLL_BACKWARD, latest)):
        yield _fit_phases(plain.frequency, series, add_flag(pack_phase(months, rest), flag))


def _half_month_fits(series: SeriesTimes) -> Iterator[FrequencyFit]:
    """Fits of the first day of a month and another one, or of another one and the last; if two are usual."""
    is_last = LAST_DAY.days(series.months) == series.days
    day_of_month = np.where(is_last, LAST_OF_MONTH, series.days - first_days(series.months) + 1)  # (rows,)
    usual, counts = np.unique(day_of_month, return_counts=True)
    most = np.argsort(-counts, kind="stable")[:2]
    if len(most) < 2 or counts[most].sum() < (1 - MAX_OFF_GRID_SHARE) * len(day_of_month):
        return
    first, second = np.sort(usual[most]).tolist()
    if second == LAST_OF_MONTH and first <= MAX_HALF:
        yield _fit(Frequency(*every_half_month(1, first, end=True)), series, on_day=True)
    elif first == 1 < second <= MAX_HALF:
        yield _fit(Frequency(*every_half_month(1, second, end=False)), series, on_day=True)


def _business_fits(series: SeriesTimes, step: int) -> Iterator[FrequencyFit]:
    """Fits of business days; several a step only if their distances vary, as weekends make them."""
    if step < SECONDS_PER_DAY or step % (7 * SECONDS_PER_DAY) == 0 or not _are_business_days(series, step):
        return
    count = 1
    if step > SECONDS_PER_DAY:
        count = _most_frequent(series.steps(Frequency.parse("B").ordinal(series.times)))
    if count == 1 or np.any(series.steps(series.times) != step):
        yield _fit(Frequency.parse(f"{count}B"), series)


def _fit(frequency: Frequency, series: SeriesTimes, *, on_day: bool = False) -> FrequencyFit:
    """A frequency with the most frequent phase of each series; `on_day` only on the day of its rule."""
    fit = _fit_phases(frequency, series, _most_frequent_phases(frequency.phase(series.times), series))
    if on_day:
        rest = unpack_phase(fit.phases)[1]
        beside = (rest < 0) | (rest >= SECONDS_PER_DAY)  # (series,)
        fit = replace(fit, off_grid=fit.off_grid | beside[series.owners])
    return fit


def _fit_phases(frequency: Frequency, series: SeriesTimes, phases: Array) -> FrequencyFit:
    """A frequency with a phase for each series (series,)."""
    ordinals = frequency.ordinal(series.times)
    off_grid = frequency.times(ordinals, phases[series.owners]) != series.times
    return FrequencyFit(frequency, ordinals, phases, off_grid, np.zeros(len(ordinals), bool))


def _most_frequent_phases(phases: Array, series: SeriesTimes) -> Array:
    """The most frequent of the rows' phases (rows,) in each series, (series,); the largest of several."""
    expected = phases[series.firsts]  # (series,)
    if np.array_equal(phases, expected[series.owners]):
        return expected
    order = np.lexsort((phases, series.owners))
    owners, sorted_phases = series.owners[order], phases[order]
    is_new = (np.diff(owners, prepend=-1) != 0) | (np.diff(sorted_phases, prepend=0) != 0)
    starts = np.flatnonzero(is_new)  # (runs,)
    counts = np.diff(starts, append=len(order))
    by_count = np.lexsort((sorted_phases[starts], counts, owners[starts]))  # the last of each series is it
    last = np.append(np.diff(owners[starts][by_count]) != 0, [True])
    result: Array = sorted_phases[starts][by_count][last]
    return result


def _accept_shifted(series: SeriesTimes, fit: FrequencyFit) -> FrequencyFit:
    """Take rows beside the grid for their periods where holidays, or no rule at all, put them there.

    They stay off the grid if two of them share a period, if they are few, as mistakes are, or if the series
    has a rule of its own.
    """
    distinct = ~_repeats(series.owners, fit.ordinals)
    if fit.frequency.rule.business:
        late = (series.days - fit.frequency.rule.days(series.months)) * (-1) ** fit.frequency.rule.end
        moved = (weekdays(series.days) < 5) & (late >= 0) & (late <= MAX_HOLIDAY_DAYS)
        moved &= series.times.astype(np.int64) % SECONDS_PER_DAY == unpack_phase(fit.phases)[1][series.owners]
        regular = series.all_of((moved & distinct) | ~fit.off_grid)[series.owners]
        shifted = fit.off_grid & regular
        fit = replace(fit, off_grid=fit.off_grid & ~shifted, shifted=shifted)
    counts = np.diff(series.firsts, append=len(series.times))  # (series,)
    share = np.add.reduceat(fit.off_grid, series.firsts, dtype=np.int64) / counts
    whole = np.ones(len(series.times), bool)
    whole[1:] = (np.diff(fit.ordinals) == 1) | (np.diff(series.owners) > 0)
    gaps = 1 - np.add.reduceat(whole, series.firsts, dtype=np.int64) / counts
    accepted = series.all_of(distinct) & (share > MAX_OFF_GRID_SHARE) & (gaps <= MAX_OFF_GRID_SHARE)
    for rule in (FIRST_DAY, LAST_DAY):
        accepted &= ~series.all_of(rule.days(series.months) == series.days)
    if not accepted.any():
        return fit
    if accepted.all() and fit.frequency.unit == "M":
        fit = _fit(_every_months(series, fit.frequency.step, FIRST_DAY), series)
    months = pack_phase(unpack_phase(split_marks(fit.phases)[1])[0], np.zeros(len(counts), np.int64))
    phases = np.where(accepted, add_flag(months, PhaseFlag.ANY_DAY), fit.phases)
    return replace(
        fit,
        phases=phases,
        off_grid=fit.off_grid & ~accepted[series.owners],
        shifted=fit.shifted | accepted[series.owners],
    )


def _repeats(owners: Array, ordinals: Array) -> Array:
    """Whether another row of the series is in the same period, (rows,)."""
    same = (np.diff(ordinals) == 0) & (np.diff(owners) == 0)
    repeated: Array = np.append(same, [False]) | np.append([False], same)
    return repeated


def _mixes_first_and_last(series: SeriesTimes) -> bool:
    """Whether some series are on the first days of months and all others on the last ones."""
    first, last = (series.all_of(rule.days(series.months) == series.days) for rule in (FIRST_DAY, LAST_DAY))
    return bool(last.any() and np.all(first | last))


def _every_months(series: SeriesTimes, step: int, rule: MonthDay) -> Frequency:
    """Years, quarters or months of that step, anchored in the usual month."""
    span = 1 if rule.weekday is not None else next(span for span in (12, 3, 1) if step % span == 0)
    month = _most_frequent(series.months % span) if span > 1 else 0
    return Frequency(*every_months(step // span, span, month, rule))


def _most_frequent(values: Array) -> int:
    """The most frequent value; the smallest of several."""
    distinct, counts = np.unique(values, return_counts=True)
    return int(distinct[counts.argmax()])


def _are_business_days(series: SeriesTimes, step: int) -> bool:
    """Whether the stamps pass over a weekend, within a week of their usual step, and none lies on one."""
    days = weekdays(series.days)
    near = np.diff(series.days) < step / SECONDS_PER_DAY + 7
    passed = (np.diff(days) < 0) & (np.diff(series.owners) == 0) & near
    return bool(passed.any() and days.max() <= 4)
