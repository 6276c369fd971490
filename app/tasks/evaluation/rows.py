"""Which examples of a data set are evaluated, and which of another a baseline learns from."""

from collections.abc import Sequence
from functools import reduce

import numpy as np

from app.arrays import Array, Ints
from app.errors import Invalid
from app.tasks.evaluation.contract import TrainedVersion
from app.tasks.shared.splits import TEST, partition_rows

KNOWN_TO_ALL = "The versions were trained on this data set, and no example was held out from all of them."


def evaluated_rows(codes: Array, versions: Sequence[TrainedVersion], strata: Array | None = None) -> Ints:
    """The rows (n,) of a data set by the codes of their splits (rows,), rising.

    If a version was trained on it: those that all such versions held out for their own metrics. Otherwise
    those that the file marks for testing, and all if it marks none. Raises `Invalid` if there are none.
    """
    held_out = [partition_rows(codes, one.seed, strata).test for one in versions if one.is_known]
    if held_out:
        rows = reduce(np.intersect1d, held_out)
        if not len(rows):
            raise Invalid(KNOWN_TO_ALL)
        return np.asarray(rows, np.int64)
    marked = np.flatnonzero(np.asarray(codes) == TEST)
    return marked if len(marked) else np.arange(len(codes))


def learned_rows(codes: Array, seed: int, strata: Array | None = None) -> Ints:
    """The rows (n,) for training and validation, by the codes of their splits (rows,), rising."""
    rows = partition_rows(codes, seed, strata)
    return np.union1d(rows.train, rows.valid).astype(np.int64)
