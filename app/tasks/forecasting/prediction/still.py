"""Series that never moved: their forecast is their value, which no network says exactly."""

from collections.abc import Sequence

import numpy as np

from app.tasks.arrays import Array
from app.typedefs import Json

MIN_STILL = 3  # equal values before a series counts as one that does not move
UNMEASURED_STILL = 14  # the same for a model whose state does not say
STILL_SHARE = 0.99  # of the values after so many equal ones that must be equal too


def fit_still(train: Sequence[Array]) -> int:
    """How many equal values in a row show that a series does not move, from the training parts (time,).

    After so many, nearly all values that follow are equal too. Parts in stock that are rarely sold need more
    zeros than measurements of which no two are the same.
    """
    runs, repeated = [np.zeros(0, np.int64)], [np.zeros(0, bool)]
    for values in train:
        observed = values[np.isfinite(values)]
        if len(observed) > 1:
            equal = observed[1:] == observed[:-1]
            position = np.arange(1, len(observed))
            runs.append((position - np.maximum.accumulate(np.where(equal, 0, position)))[:-1] + 1)
            repeated.append(equal[1:])
    run, same = np.concatenate(runs), np.concatenate(repeated)  # (pairs,) run up to a value, and what follows
    total = np.bincount(run, minlength=MIN_STILL + 1)[::-1].cumsum()[::-1]  # of at least so many equal values
    kept = np.bincount(run, same, minlength=MIN_STILL + 1)[::-1].cumsum()[::-1]
    enough = np.flatnonzero(kept >= STILL_SHARE * total)
    return int(min((n for n in enough.tolist() if n >= MIN_STILL), default=len(total)))


def still_value(state: Json, values: Array) -> float | None:
    """The value of a history (time,) that never moved, NaN = missing; None if it moved or is too short."""
    observed = values[np.isfinite(values)]
    enough = len(observed) >= state.get("still", UNMEASURED_STILL)
    return float(observed[0]) if enough and (observed == observed[0]).all() else None
