"""Series that never moved: their forecast is their value, which no network says exactly."""

from collections.abc import Sequence

import numpy as np

from app.arrays import Array
from app.typedefs import Json

MIN_STILL = 3  # equal values before a series counts as one that does not move
UNMEASURED_STILL = 14  # the same for a model whose state does not say
STILL_SHARE = 0.95  # of the points after so many equal values, that must not move within the horizon


def fit_still(train: Sequence[Array], horizon: int) -> int:
    """How many equal values in a row show that a series does not move, from the training parts (time,).

    After so many, nearly no part moves within the horizon. Parts in stock that are rarely sold, or only in
    summer, need more zeros than measurements of which no two are the same.
    """
    runs, stays = [np.zeros(0, np.int64)], [np.zeros(0, bool)]
    for values in train:
        observed = values[np.isfinite(values)]
        moves = np.flatnonzero(observed[1:] != observed[:-1]) + 1
        position = np.arange(len(observed) - 1)
        last = np.concatenate([[0], moves])[np.searchsorted(moves, position, "right")]
        following = np.append(moves, len(observed) + horizon)[np.searchsorted(moves, position, "right")]
        runs.append(position - last + 1)
        stays.append(following - position > horizon)
    run, still = np.concatenate(runs), np.concatenate(stays)  # (points,) run up to a point, and what follows
    total = np.bincount(run, minlength=MIN_STILL + 1)[::-1].cumsum()[::-1]  # of at least so many equal values
    stayed = np.bincount(run, still, minlength=MIN_STILL + 1)[::-1].cumsum()[::-1]
    enough = np.flatnonzero(stayed >= STILL_SHARE * total)
    return int(min((n for n in enough.tolist() if n >= MIN_STILL), default=len(total)))


def still_values(state: Json, history: Array, ascending: Array, counts: Array) -> Array:
    """The value of each history (rows, time) that never moved; NaN of those that moved or are too short.

    Histories have NaN for what is missing, `ascending` (rows, time) is sorted, and `counts` are observed.
    """
    row = np.arange(len(history))
    first = history[row, np.isfinite(history).argmax(axis=1)]
    highest = ascending[row, np.maximum(counts - 1, 0)]
    is_still = (counts >= state.get("still", UNMEASURED_STILL)) & (ascending[:, 0] == highest)
    return np.where(is_still, first, np.nan)
