"""Series that never moved: their forecast is their value, which no network says exactly."""

from collections.abc import Sequence

import numpy as np

from app.arrays import Array, Ints
from app.tasks.forecasting.panels.rows import joined
from app.typedefs import Json

MIN_STILL = 3  # equal values before a series counts as one that does not move
UNMEASURED_STILL = 14  # the same for a model whose state does not say
STILL_SHARE = 0.95  # of the points after so many equal values, that must not move within the horizon


def fit_still(train: Sequence[Array], horizon: int) -> int:
    """How many equal values in a row show that a series does not move, from the training parts (time,).

    After so many, nearly no part moves within the horizon. Parts in stock that are rarely sold, or only in
    summer, need more zeros than measurements of which no two are the same.
    """
    size = max((len(values) for values in train), default=0) + MIN_STILL + 1
    counts = np.zeros((2, size), np.int64)  # by the run up to a point: all points, and those that stay
    for values, starts in joined(train):
        run, stays = _runs(values, starts, horizon)
        counts += [np.bincount(run, minlength=size), np.bincount(run[stays], minlength=size)]
    longest = max(int(np.flatnonzero(counts[0]).max(initial=0)), MIN_STILL)
    total, stayed = counts[:, longest::-1].cumsum(axis=1)[:, ::-1]  # of at least so many equal values
    enough = np.flatnonzero(stayed >= STILL_SHARE * total)
    return int(min((n for n in enough.tolist() if n >= MIN_STILL), default=len(total)))


def _runs(values: Array, starts: Ints, horizon: int) -> tuple[Ints, Array]:
    """How many equal values end at each observed point, and whether none moves within the horizon after it.

    Of series that begin at `starts` of `values`, without their last points, which nothing follows.
    """
    owner = np.zeros(len(values), np.int64)
    owner[starts[1:]] = 1
    observed = np.isfinite(values)
    owner, values = owner.cumsum()[observed], values[observed]
    begins = np.ones(len(values) + 1, bool)  # a series, or the end
    begins[1:-1] = owner[1:] != owner[:-1]
    moves = begins.copy()  # what is not equal to the observed value before
    moves[1:-1] |= values[1:] != values[:-1]
    at = np.flatnonzero(moves)
    sizes = np.diff(at)  # of each run
    run = np.arange(len(values)) - np.repeat(at[:-1], sizes) + 1
    following = np.repeat(np.where(begins[at[1:]], at[1:] + horizon, at[1:]), sizes)
    inside = np.flatnonzero(~begins[1:])
    return run[inside], following[inside] - inside > horizon


def still_values(state: Json, history: Array, ascending: Array, counts: Array) -> Array:
    """The value of each history (rows, time) that never moved; NaN of those that moved or are too short.

    Histories have NaN for what is missing, `ascending` (rows, time) is sorted, and `counts` are observed.
    """
    row = np.arange(len(history))
    first = history[row, np.isfinite(history).argmax(axis=1)]
    highest = ascending[row, np.maximum(counts - 1, 0)]
    is_still = (counts >= state.get("still", UNMEASURED_STILL)) & (ascending[:, 0] == highest)
    return np.where(is_still, first, np.nan)
