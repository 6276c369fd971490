"""Aliases of frequencies, old and new, as pandas reads them."""

import re
from fractions import Fraction
from typing import NamedTuple

from app.tasks.forecasting.calendars.month_days import FIRST_DAY, MonthDay
from app.tasks.shared.timestamps import SECONDS_PER_DAY

WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
PERIOD_MONTHS = {"M": 1, "Q": 3, "Y": 12, "A": 12}
SPAN_LETTERS = {1: "M", 3: "Q", 12: "Y"}
UNIT_SECONDS = {"d": SECONDS_PER_DAY, "h": 3600, "t": 60, "min": 60, "s": 1}
FRACTION_SECONDS = {
    name: (Fraction(1, ticks), word)
    for names, ticks, word in (
        (("ms", "l"), 10**3, "milliseconds"),
        (("us", "u"), 10**6, "microseconds"),
        (("ns", "n"), 10**9, "nanoseconds"),
    )
    for name in names
}
REFUSED_CALENDARS = {
    "BH": "business hours are not supported; upload hours (h), the hours between are taken as missing",
    "CBH": "custom business hours are not supported; upload hours (h)",
    "C": "an alias does not say which holidays a custom calendar has; use B",
    "CBMS": "an alias does not say which holidays a custom calendar has; use BMS",
    "CBME": "an alias does not say which holidays a custom calendar has; use BME",
    "CBM": "an alias does not say which holidays a custom calendar has; use BME",
    "RE": "fiscal years of 52 or 53 weeks are not supported",
    "REQ": "fiscal quarters of 13 or 14 weeks are not supported",
}
MAX_COUNT = 99_999
NTH_WEEKS = ("1", "2", "3", "4")
DEFAULT_HALF, MAX_HALF = 15, 27  # day that divides a month
PART_PATTERN = re.compile(r"\s*([+-]?[0-9]*(?:\.[0-9]+)?)\s*([A-Za-z]+)((?:-[A-Za-z0-9]+)*)\s*")
MONTHLY_PATTERN = re.compile(r"(B?)([MQYA])([ES]?)")
USUAL = "use a pandas alias such as h, 15min, D, B, W, MS, BMS, QS or YS"


class FrequencyAlias(NamedTuple):
    """What an alias says: see `Frequency`, which adds the calendar."""

    alias: str  # its canonical name
    unit: str
    step: int
    anchor: int = 0
    rule: MonthDay = FIRST_DAY
    span: int = 1
    half: int = 0


def read_alias(text: str) -> FrequencyAlias:
    """Parse an alias, or the step of integer time; raises `ValueError` with a sentence."""
    text = text.strip()
    shown = repr(text[:40])
    if re.fullmatch(r"[0-9]{1,9}", text) and int(text):
        return FrequencyAlias(str(int(text)), "1", int(text))
    parts = _split_parts(text)
    if not parts:
        raise ValueError(f"{shown} is not a frequency; {USUAL}.")
    for count, name, _ in parts:
        if name == "m":  # pandas changed its meaning
            raise ValueError(f"{shown} is ambiguous (minutes or months?); write min, MS or ME.")
        if name.upper() in REFUSED_CALENDARS:
            raise ValueError(f"{shown} cannot be used: {REFUSED_CALENDARS[name.upper()]}.")
        if count <= 0:
            raise ValueError(f"{shown} is not a frequency that goes forward; its steps must be positive.")
    alias = _from_ticks(parts, shown) or (_from_calendar(*parts[0]) if len(parts) == 1 else None)
    if alias is None:
        raise ValueError(f"{shown} is not a frequency; {USUAL}.")
    return alias


def _split_parts(text: str) -> list[tuple[Fraction, str, str]]:
    """Count, name and anchor of each part, as `1h30min` has two; empty if the text has another form."""
    parts, position = [], 0
    while position < len(text):
        match = PART_PATTERN.match(text, position)
        if not match or len(match[1]) > 12:
            return []
        count = Fraction(match[1] if match[1].strip("+-") else match[1] + "1")
        if abs(count) > MAX_COUNT and match[2].lower() not in FRACTION_SECONDS:
            return []
        parts.append((count, match[2], match[3][1:].upper()))
        position = match.end()
    return parts


def _from_ticks(parts: list[tuple[Fraction, str, str]], shown: str) -> FrequencyAlias | None:
    """The sum of days, hours, minutes, seconds and their fractions; None if a part is another unit."""
    total, fine = Fraction(0), ""
    for count, name, anchor in parts:
        lower = name.lower()
        if anchor or name == "MS":  # pandas: MS is a month's start, and ms, Ms and mS are milliseconds
            return None
        if lower in FRACTION_SECONDS:
            size, fine = FRACTION_SECONDS[lower]
            total += count * size
        elif lower in UNIT_SECONDS:
            total += count * UNIT_SECONDS[lower]
        else:
            return None
    if total.denominator > 1:
        reason = f"it counts {fine}, and " if fine else ""
        raise ValueError(f"{shown} cannot be used: {reason}fractions of a second are not read.")
    return every_seconds(int(total))


def _from_calendar(count: Fraction, name: str, anchor: str) -> FrequencyAlias | None:
    """Weeks, business days, months and longer; None if there is no such frequency."""
    if count.denominator > 1:
        return None
    step, name = int(count), name.upper()
    if name == "W":
        weekday = anchor or "SUN"
        return every_weeks(step, WEEKDAYS.index(weekday)) if weekday in WEEKDAYS else None
    if name == "B":
        return None if anchor else FrequencyAlias(_prefix_count(step, "B"), "B", step)
    if name in ("SM", "SME", "SMS"):
        return _from_half_month(step, anchor, end=name != "SMS")
    return _from_weekday(step, name, anchor) or _from_months(step, name, anchor)


def _from_half_month(step: int, anchor: str, *, end: bool) -> FrequencyAlias | None:
    """Halves of a month; None if the anchor is no day that divides every month."""
    if not re.fullmatch(r"[0-9]{0,2}", anchor):
        return None
    half = int(anchor or DEFAULT_HALF)
    return every_half_month(step, half, end=end) if 2 - end <= half <= MAX_HALF else None


def _from_weekday(step: int, name: str, anchor: str) -> FrequencyAlias | None:
    """The n-th or the last weekday of a month; None for other aliases."""
    week, weekday = (anchor[:1], anchor[1:]) if name == "WOM" else ("0", anchor)
    if name not in ("WOM", "LWOM") or weekday not in WEEKDAYS or (name == "WOM") != (week in NTH_WEEKS):
        return None
    return every_months(step, 1, 0, MonthDay(weekday=WEEKDAYS.index(weekday), week=int(week)))


def _from_months(step: int, name: str, anchor: str) -> FrequencyAlias | None:
    """Months, quarters or years by their letter; None if the anchor is no month, or months have one."""
    match = MONTHLY_PATTERN.fullmatch(name)
    if not match or (anchor and (match[2] == "M" or anchor not in MONTHS)):
        return None
    end = match[3] != "S"
    month = MONTHS.index(anchor or ("DEC" if end else "JAN"))
    return every_months(step, PERIOD_MONTHS[match[2]], month, MonthDay(end=end, business=bool(match[1])))


def _prefix_count(count: int, name: str) -> str:
    return f"{count}{name}" if count > 1 else name


def every_seconds(step: int) -> FrequencyAlias:
    """Steps of whole seconds under the largest unit that divides them."""
    if step % SECONDS_PER_DAY == 0:
        return FrequencyAlias(_prefix_count(step // SECONDS_PER_DAY, "D"), "D", step // SECONDS_PER_DAY)
    name, size = next((name, size) for name, size in (("h", 3600), ("min", 60), ("s", 1)) if step % size == 0)
    return FrequencyAlias(_prefix_count(step // size, name), "s", step)


def every_weeks(count: int, weekday: int) -> FrequencyAlias:
    """Weeks on `weekday`, 0 = Monday."""
    name = f"{_prefix_count(count, 'W')}-{WEEKDAYS[weekday]}"
    return FrequencyAlias(name, "D", 7 * count, (weekday - 3) % 7)


def every_half_month(count: int, day: int, *, end: bool) -> FrequencyAlias:
    """The first day and `day` of each month, or with `end` that day and the last one."""
    name = f"{_prefix_count(count, 'SME' if end else 'SMS')}-{day}"
    return FrequencyAlias(name, "SM", count, rule=MonthDay(end=end), half=day)


def every_months(count: int, span: int, month: int, rule: MonthDay) -> FrequencyAlias:
    """Months, quarters or years that start in `month` (with `rule.end`: end with it), 0 = January."""
    if rule.weekday is not None:
        week = f"WOM-{rule.week}" if rule.week else "LWOM-"
        return FrequencyAlias(_prefix_count(count, week + WEEKDAYS[rule.weekday]), "M", count, rule=rule)
    name = "B" * rule.business + SPAN_LETTERS[span] + "SE"[rule.end]
    if span == 3:
        month = month % 3 + 9 * rule.end  # quarters that end in March also end in December
    if span > 1:
        name += f"-{MONTHS[month]}"
    anchor = (month + rule.end) % span if span > 1 else 0
    return FrequencyAlias(_prefix_count(count, name), "M", span * count, anchor, rule, span)
