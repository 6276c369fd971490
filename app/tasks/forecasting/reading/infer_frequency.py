"""Infers the frequency of time stamps."""

import math
from collections.abc import Sequence

import numpy as np

from app.tasks.arrays import Array
from app.tasks.forecasting.frequency import MONTHS, WEEKDAYS, Frequency
from app.tasks.shared.timestamps import SECONDS_PER_DAY


def infer_frequency(series: Sequence[Array]) -> Frequency:
    """Frequency of series of sorted time stamps with gaps: the most frequent step, by the calendar.

    Integers are integer time. Raises `ValueError` with a sentence if no series has two different time stamps.
    """
    usable = [stamps for stamps in series if len(stamps) > 1]
    steps = np.concatenate([np.diff(stamps).astype(np.int64) for stamps in usable] or [np.zeros(0, np.int64)])
    steps = steps[steps > 0]
    if not len(steps):
        raise ValueError("The frequency cannot be inferred: no series has two different time stamps.")
    step = _most_frequent(steps)
    if not np.issubdtype(usable[0].dtype, np.datetime64):
        return Frequency.parse(step if not np.any(steps % step) else math.gcd(*np.unique(steps).tolist()))
    if step >= 28 * SECONDS_PER_DAY and (monthly := _infer_monthly(usable)):
        return monthly
    if step == SECONDS_PER_DAY and _are_business_days(usable):
        return Frequency.parse("B")
    if step % (7 * SECONDS_PER_DAY) == 0:
        weekday = WEEKDAYS[(int(usable[0][0].astype(np.int64)) // SECONDS_PER_DAY + 3) % 7]
        return Frequency.parse(f"{step // (7 * SECONDS_PER_DAY)}W-{weekday}")
    whole_days = step % SECONDS_PER_DAY == 0
    return Frequency.parse(f"{step // SECONDS_PER_DAY}D" if whole_days else f"{step}s")


def _most_frequent(steps: Array) -> int:
    """The most frequent value; the smallest of several."""
    values, counts = np.unique(steps, return_counts=True)
    return int(values[counts.argmax()])


def _infer_monthly(series: Sequence[Array]) -> Frequency | None:
    """Months, quarters or years, if each series is on one day of the month, or all on the last day."""
    days = [stamps.astype("datetime64[D]") for stamps in series]
    months = [day.astype("datetime64[M]") for day in days]
    pairs = list(zip(days, months, strict=True))
    last = all(bool(np.all((day + 1).astype("datetime64[M]") > month)) for day, month in pairs)
    if not (last or all(int(np.ptp((day - month).astype(np.int64))) == 0 for day, month in pairs)):
        return None
    steps = np.concatenate([np.diff(month).astype(np.int64) for month in months])
    step = _most_frequent(steps[steps > 0])
    span = next(span for span in (12, 3, 1) if step % span == 0)
    name = {1: "M", 3: "Q", 12: "Y"}[span] + "SE"[last]
    month = MONTHS[int(months[0][0].astype(np.int64)) % 12]
    return Frequency.parse(f"{step // span}{name}" + (f"-{month}" if span > 1 else ""))


def _are_business_days(series: Sequence[Array]) -> bool:
    """Whether the stamps span a weekend and none lies on one."""
    weekdays = [(stamps.astype("datetime64[D]").astype(np.int64) + 3) % 7 for stamps in series]
    passed = any(bool(np.any(np.diff(days) < 0)) for days in weekdays)
    return passed and all(int(days.max()) <= 4 for days in weekdays)
