"""The time stamps of a past whose start is known, counted back from the first step of a forecast."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

MONTHS_OF_YEAR = 12
DATE_CHARS = len("2020-01-01")
SATURDAY = 5  # of datetime.weekday()

StepsBack = Callable[[int], datetime]  # the time so many steps before the forecast


def past_stamps(start: str | int, steps: int, ahead: Sequence[str | int]) -> list[str] | None:
    """Time stamps of all `steps` from `start` to the one before those `ahead`; None where no grid fits.

    The grid has equal distances, months of equal days, or working days.
    """
    if steps < 1 or not ahead:
        return None
    if isinstance(start, int) and isinstance(ahead[0], int):
        distance, rest = divmod(ahead[0] - start, steps)
        return None if rest else [str(start + step * distance) for step in range(steps)]
    try:
        stamps = [datetime.fromisoformat(str(stamp)) for stamp in (start, *ahead[:2])]
        past = _on_a_grid(stamps[0], stamps[1:], steps)
    except (ValueError, TypeError, OverflowError):  # no dates, or only one with a zone
        return None
    has_time = len(str(ahead[0])) > DATE_CHARS
    if past is None:
        return None
    return [stamp.isoformat() if has_time else stamp.date().isoformat() for stamp in past]


def _on_a_grid(begin: datetime, ahead: Sequence[datetime], steps: int) -> list[datetime] | None:
    end, *following = ahead
    months, rest = divmod((end.year - begin.year) * MONTHS_OF_YEAR + end.month - begin.month, steps)
    ways: list[StepsBack] = []
    if months > 0 and not rest:
        ways.append(lambda count: _months_before(end, count * months))
    if end.weekday() < SATURDAY:
        ways.append(lambda count: _working_days_before(end, count))
    if not (end - begin) % timedelta(microseconds=steps):
        ways.append(lambda count: end - count * ((end - begin) // steps))
    for way in ways:
        if way(steps) == begin and all(way(-1) == stamp for stamp in following):
            return [way(count) for count in range(steps, 0, -1)]
    return None


def _months_before(end: datetime, months: int) -> datetime:
    """The same day of an earlier month; the last day stays the last one."""
    year, month = divmod(end.year * MONTHS_OF_YEAR + end.month - 1 - months, MONTHS_OF_YEAR)
    is_last = (end + timedelta(days=1)).month != end.month
    if not is_last:
        return end.replace(year=year, month=month + 1)
    years, months_on = divmod(month + 1, MONTHS_OF_YEAR)
    return end.replace(year=year + years, month=months_on + 1, day=1) - timedelta(days=1)


def _working_days_before(end: datetime, days: int) -> datetime:
    weeks, rest = divmod(days, SATURDAY)
    stamp = end - timedelta(weeks=weeks, days=rest)
    return stamp - timedelta(days=2) if rest > end.weekday() else stamp
