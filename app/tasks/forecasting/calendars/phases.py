"""The distance of a regular series from the grid points of its frequency, packed into one integer."""

from enum import IntFlag

import numpy as np

from app.arrays import Array
from app.tasks.shared.timestamps import SECONDS_PER_DAY

STEP_PHASE_SECONDS = 64 * SECONDS_PER_DAY  # one month (or business day) in a phase; over twice what remains
MARKS_UNIT = 1 << 46  # marks of a phase stand above its distance
OFFSET_UNIT = 1 << 4  # and quarters of an hour ahead of UTC above the flags
OFFSET_SECONDS = 900


class PhaseFlag(IntFlag):
    """What a phase says beside a distance; stored, so values never change."""

    LOCAL = 1  # clock time of which the offset from UTC changes
    ROLL_FORWARD = 2  # a day at a weekend moves to the Monday after it
    ROLL_BACKWARD = 4  # … to the Friday before it
    ANY_DAY = 8  # the days of a month, quarter or year follow no rule


ROLLS = PhaseFlag.ROLL_FORWARD | PhaseFlag.ROLL_BACKWARD


def pack_phase(units: Array, seconds: Array) -> Array:
    """Phases of months or business days and seconds, (n,) int64."""
    return units * STEP_PHASE_SECONDS + seconds


def unpack_phase(phases: Array) -> tuple[Array, Array]:
    """Months or business days, and seconds, (n,) int64 each; for phases without marks."""
    units, seconds = np.divmod(phases + STEP_PHASE_SECONDS // 2, STEP_PHASE_SECONDS)
    return units, seconds - STEP_PHASE_SECONDS // 2


def split_marks(phases: Array) -> tuple[Array, Array]:
    """Marks and phases without them, (n,) int64 each."""
    marks, rest = np.divmod(phases + MARKS_UNIT // 2, MARKS_UNIT)
    return marks, rest - MARKS_UNIT // 2


def add_flag(phases: Array, flag: PhaseFlag) -> Array:
    """Phases (n,) without marks, with this flag."""
    return phases + int(flag) * MARKS_UNIT


def add_offsets(phases: Array, offsets: Array) -> Array:
    """Phases (n,) of clock times that are so many seconds (n,) ahead of UTC."""
    odd = offsets % OFFSET_SECONDS > 0
    marks = np.where(odd, int(PhaseFlag.LOCAL), offsets // OFFSET_SECONDS * OFFSET_UNIT)
    result: Array = phases + marks * MARKS_UNIT
    return result


def offset_of(marks: Array) -> Array:
    """Seconds ahead of UTC of marks, (n,) int64; 0 for none."""
    return marks // OFFSET_UNIT * OFFSET_SECONDS
