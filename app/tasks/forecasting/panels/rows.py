"""Operations along the rows of padded arrays (rows, time), the same for a row alone and among longer ones.

Sums go from left to right: numpy's own sum adds in an order that depends on how long the padding is.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from app.arrays import Array, Ints

MAX_JOINED_POINTS = 1 << 18  # of series that are looked at together: the arrays stay small


def joined(series: Sequence[Array]) -> Iterator[tuple[Array, Ints]]:
    """Series (time,) end to end in groups: values (points,), and where each series begins that has some."""
    group, points = list[Array](), 0
    for values in [one for one in series if len(one)]:
        if group and points + len(values) > MAX_JOINED_POINTS:
            yield _end_to_end(group)
            group, points = [], 0
        group.append(values)
        points += len(values)
    if group:
        yield _end_to_end(group)


def _end_to_end(group: Sequence[Array]) -> tuple[Array, Ints]:
    ends = np.cumsum([len(values) for values in group])
    return np.concatenate(group), np.concatenate([[0], ends[:-1]])


def end_aligned(series: Sequence[Array]) -> Iterator[tuple[Ints, Array]]:
    """Series (time,) of similar lengths together: their indices (rows,), and the values (rows, time).

    Each row ends with the last value of its series; before its first there is NaN.
    """
    lengths = np.array([len(values) for values in series], np.int64)
    order = np.argsort(lengths, kind="stable")
    start = 0
    while start < len(order):
        part = order[start : start + max(1, MAX_JOINED_POINTS // max(int(lengths[order[start]]), 1))]
        part = part[: max(1, MAX_JOINED_POINTS // max(int(lengths[part[-1]]), 1))]  # the last is the longest
        padded = np.full((len(part), int(lengths[part[-1]])), np.nan)
        for row, index in zip(padded, part.tolist(), strict=True):
            row[len(row) - len(series[index]) :] = series[index]
        yield part, padded
        start += len(part)


def windows(values: Array, width: int) -> Array:
    """Each `width` neighbours of contiguous rows (rows, time): (rows, time - width + 1, width), a view.

    The same as numpy's `sliding_window_view`, which takes ten times longer for a short row.
    """
    rows, time = values.shape
    strides = (*values.strides, values.strides[1])
    return np.ndarray((rows, time - width + 1, width), values.dtype, values, strides=strides)


def row_sums(values: Array) -> Array:
    """The sum of each row, (rows,); zeros at its end change nothing."""
    return np.asarray(np.cumsum(values, axis=1)[:, -1])


def latest(known: Array) -> Array:
    """The column of the last true entry up to each one, (rows, time); -1 where none precedes."""
    return np.asarray(np.maximum.accumulate(np.where(known, np.arange(known.shape[1]), -1), axis=1))


def latest_or_first(known: Array) -> Array:
    """The same, but the column of the first true entry where none precedes, 0 in a row without any."""
    columns = latest(known)
    return np.where(columns < 0, known.argmax(axis=1)[:, None], columns)


def fill_gaps(values: Array, known: Array) -> Array:
    """Values (rows, time) with straight lines over the gaps; constant before the first and after the last."""
    time = known.shape[1]
    before = latest(known)
    after = time - 1 - latest(known[:, ::-1])[:, ::-1]  # `time` where none follows
    left = np.take_along_axis(values, np.where(before < 0, np.minimum(after, time - 1), before), axis=1)
    right = np.take_along_axis(values, np.where(after >= time, np.maximum(before, 0), after), axis=1)
    inside = (before >= 0) & (after < time) & (after > before)
    slope = (right - left) / np.where(inside, after - before, 1)
    return np.where(inside, slope * (np.arange(time) - before) + left, left)


def by_phase(values: Array, season: int) -> Array:
    """Values (rows, time) as (rows, cycles, season), with zeros at the end."""
    rows, time = values.shape
    cycles = -(-time // season)
    padded = np.zeros((rows, cycles * season), values.dtype)
    padded[:, :time] = values
    return padded.reshape(rows, cycles, season)


def phase_sums(values: Array, season: int) -> Array:
    """The sum over all cycles at each step of the season, (rows, season)."""
    return np.asarray(np.add.reduce(by_phase(values, season), axis=1, initial=0))
