"""The day that stands for a month: its first or last, its first or last business day, or its n-th Friday."""

from dataclasses import dataclass

import numpy as np

from app.arrays import Array

EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday; 0 = Monday


def weekdays(days: Array) -> Array:
    """Weekdays of days since 1970, (n,) int64, 0 = Monday."""
    result: Array = (days + EPOCH_WEEKDAY) % 7
    return result


def roll_forward(days: Array) -> Array:
    """Days since 1970, (n,) int64, those at a weekend moved to the Monday after it."""
    result: Array = days + np.maximum(7 - weekdays(days), 0) * (weekdays(days) > 4)
    return result


def roll_backward(days: Array) -> Array:
    """Days since 1970, (n,) int64, those at a weekend moved to the Friday before it."""
    result: Array = days - np.maximum(weekdays(days) - 4, 0)
    return result


def first_days(months: Array) -> Array:
    """First days of months since 1970-01, as days since 1970, (n,) int64."""
    return months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)


def last_days(months: Array) -> Array:
    """Last days of months since 1970-01, as days since 1970, (n,) int64."""
    return first_days(months + 1) - 1


@dataclass(frozen=True)
class MonthDay:
    """A rule that names one day of each month.

    With `weekday` (0 = Monday) it is the `week`-th such day, 0 for the last; otherwise the first day, with
    `end` the last one, and with `business` the nearest business day within the month.
    """

    end: bool = False
    business: bool = False
    weekday: int | None = None
    week: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this is plainly the first day, from which every other day of the month is counted."""
        return self == FIRST_DAY

    def days(self, months: Array) -> Array:
        """The day of each month since 1970-01, as days since 1970, (n,) int64."""
        if self.weekday is not None:
            first, last = first_days(months), last_days(months)
            if self.week:
                nth: Array = first + (self.weekday - weekdays(first)) % 7 + 7 * (self.week - 1)
                return nth
            latest: Array = last - (weekdays(last) - self.weekday) % 7
            return latest
        if self.end:
            last = last_days(months)
            return roll_backward(last) if self.business else last
        first = first_days(months)
        return roll_forward(first) if self.business else first


FIRST_DAY = MonthDay()
LAST_DAY = MonthDay(end=True)
FIRST_BUSINESS_DAY = MonthDay(business=True)
LAST_BUSINESS_DAY = MonthDay(end=True, business=True)
