"""Which clock time stamps are regular by: UTC, or the clock on the wall, which daylight saving moves."""

from dataclasses import replace

import numpy as np

from app.arrays import Array
from app.tasks.forecasting.calendars.phases import PhaseFlag, add_flag, add_offsets
from app.tasks.forecasting.reading.infer_frequency import FrequencyFit, SeriesTimes, fit_frequency
from app.tasks.forecasting.reading.rows import TableRows
from app.tasks.shared.timestamps import SECONDS_PER_DAY

DAYLIGHT_SAVING_SECONDS = 3600
CHANGE_MONTHS = (3, 4, 9, 10, 11)
MIN_SEASON_SECONDS = 100 * SECONDS_PER_DAY


def fit_clock(rows: TableRows, firsts: Array, warnings: list[str]) -> FrequencyFit:
    """The frequency of rows that are sorted by series and time; `firsts` (series,) are each one's first row.

    Days and longer steps are those of the clock on the wall, shorter ones those of UTC. Raises `ValueError`
    with a sentence if no series has two different times.
    """
    if rows.local is not None:
        fit = fit_frequency(SeriesTimes(rows.local, firsts))
        if fit.frequency.is_calendar:
            by_utc = fit_frequency(SeriesTimes(rows.times, firsts)) if fit.off_grid.any() else fit
            if by_utc is fit or fit.off_grid.sum() <= by_utc.off_grid.sum():
                return _warn_of_shifted(_mark_local(fit, rows, firsts), warnings)
            return _warn_of_shifted(by_utc, warnings)
    fit = fit_frequency(SeriesTimes(rows.times, firsts))
    if fit.frequency.is_calendar and fit.off_grid.any():
        times = _undo_daylight_saving(rows.times, firsts)
        moved = fit_frequency(SeriesTimes(times, firsts))
        if moved.frequency.is_calendar and not moved.off_grid.any():
            warnings.append(
                "The time of day moves by an hour, as daylight saving does; the days are counted."
            )
            return _warn_of_shifted(moved, warnings)
    return _warn_of_shifted(fit, warnings)


def _mark_local(fit: FrequencyFit, rows: TableRows, firsts: Array) -> FrequencyFit:
    """The same fit; series with a time of day have the offset of their clock, if it has only one."""
    local = rows.times if rows.local is None else rows.local
    offsets = (local - rows.times).astype(np.int64)  # (rows,) seconds ahead of UTC
    lowest, highest = np.minimum.reduceat(offsets, firsts), np.maximum.reduceat(offsets, firsts)
    marked = np.where(
        lowest == highest, add_offsets(fit.phases, lowest), add_flag(fit.phases, PhaseFlag.LOCAL)
    )
    has_time = local[firsts].astype(np.int64) % SECONDS_PER_DAY > 0
    return replace(fit, phases=np.where(has_time, marked, fit.phases))


def _undo_daylight_saving(times: Array, firsts: Array) -> Array:
    """Times (rows,) of two times of day an hour apart at the later one; other times as they are.

    They change in the months in which clocks are changed, with at least a season between two changes.
    """
    seconds = times.astype(np.int64)
    distinct = np.unique(seconds % SECONDS_PER_DAY)
    if len(distinct) != 2:
        return times
    starts = np.zeros(len(times), bool)
    starts[firsts] = True
    changes = np.flatnonzero((np.diff(seconds % SECONDS_PER_DAY) != 0) & ~starts[1:]) + 1  # rows
    months = times[changes].astype("datetime64[M]").astype(np.int64) % 12 + 1
    owners = np.cumsum(starts)[changes]
    spans = np.diff(seconds[changes])[np.diff(owners) == 0]
    if not np.isin(months, CHANGE_MONTHS).all() or np.any(spans < MIN_SEASON_SECONDS):
        return times
    for earlier, later in (distinct, distinct[::-1]):
        if (later - earlier) % SECONDS_PER_DAY == DAYLIGHT_SAVING_SECONDS:
            is_summer = seconds % SECONDS_PER_DAY == earlier
            moved: Array = (seconds + is_summer * DAYLIGHT_SAVING_SECONDS).astype("datetime64[s]")
            return moved
    return times


def _warn_of_shifted(fit: FrequencyFit, warnings: list[str]) -> FrequencyFit:
    """The same fit; warns of rows that are taken for their month although they are on another day."""
    if count := int(fit.shifted.sum()):
        warnings.append(
            f"{count:,} time stamps are not on the day of {fit.frequency.alias}; each stands for its month "
            "(quarter, year), and forecasts are dated by that day."
        )
    return fit
