"""Finding the frequency that time stamps were taken at."""

import math
from collections.abc import Sequence

import numpy as np

from app.tasks.contract import Array
from app.tasks.forecasting.frequency import MONTHS, WEEKDAYS, Frequency
from app.tasks.shared.timestamps import DAY


def infer(series: Sequence[Array]) -> Frequency:
    """Tell the frequency of series of sorted stamps, gaps allowed: the most usual step, by the calendar.

    Integers give integer time. Raises `ValueError` with a sentence when no series has two different stamps.
    """
    kept = [stamps for stamps in series if len(stamps) > 1]
    steps = np.concatenate([np.diff(stamps).astype(np.int64) for stamps in kept] or [np.zeros(0, np.int64)])
    steps = steps[steps > 0]
    if not len(steps):
        raise ValueError("The frequency cannot be told: no series has two different time stamps.")
    usual = _mode(steps)
    if not np.issubdtype(kept[0].dtype, np.datetime64):
        return Frequency.parse(usual if not np.any(steps % usual) else math.gcd(*np.unique(steps).tolist()))
    if usual >= 28 * DAY and (monthly := _monthly(kept)):
        return monthly
    if usual == DAY and _only_business_days(kept):
        return Frequency.parse("B")
    if usual % (7 * DAY) == 0:
        weekday = WEEKDAYS[(int(kept[0][0].astype(np.int64)) // DAY + 3) % 7]
        return Frequency.parse(f"{usual // (7 * DAY)}W-{weekday}")
    return Frequency.parse(f"{usual}s" if usual < DAY or usual % DAY else f"{usual // DAY}D")


def _mode(steps: Array) -> int:
    """Give the most frequent value, the smallest of several."""
    values, counts = np.unique(steps, return_counts=True)
    return int(values[counts.argmax()])


def _monthly(series: Sequence[Array]) -> Frequency | None:
    """Months, quarters or years when each series keeps to one day of the month, or all to the last."""
    days = [stamps.astype("datetime64[D]") for stamps in series]
    months = [day.astype("datetime64[M]") for day in days]
    pairs = list(zip(days, months, strict=True))
    last = all(bool(np.all((day + 1).astype("datetime64[M]") > month)) for day, month in pairs)
    if not (last or all(int(np.ptp((day - month).astype(np.int64))) == 0 for day, month in pairs)):
        return None
    steps = np.concatenate([np.diff(month).astype(np.int64) for month in months])
    usual = _mode(steps[steps > 0])
    span = next(span for span in (12, 3, 1) if usual % span == 0)
    name = {1: "M", 3: "Q", 12: "Y"}[span] + "SE"[last]
    month = MONTHS[int(months[0][0].astype(np.int64)) % 12]
    return Frequency.parse(f"{usual // span}{name}" + (f"-{month}" if span > 1 else ""))


def _only_business_days(series: Sequence[Array]) -> bool:
    """Whether weekends passed and no stamp lies on one."""
    weekdays = [(stamps.astype("datetime64[D]").astype(np.int64) + 3) % 7 for stamps in series]
    passed = any(bool(np.any(np.diff(days) < 0)) for days in weekdays)
    return passed and all(int(days.max()) <= 4 for days in weekdays)
