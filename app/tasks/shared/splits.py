"""Training, validation and test rows: as the file says, or by seed."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from app.tasks.contract import Faults, Ints
from app.tasks.shared.table_cells import shorten

NAMES = ("train", "valid", "test")
OPEN = -1  # the code of a row whose split the file does not say
TRAIN, VALID, TEST = range(3)
SHARE = 0.1  # of the rows that may be drawn from, for each of validation and test


@dataclass(frozen=True)
class Rows:
    """Row numbers of each split, rising."""

    train: Ints
    valid: Ints
    test: Ints


def code(value: object) -> int | None:
    """The code of what a row's `split` says; None if that is no split."""
    if value is None or value == "":
        return OPEN
    return NAMES.index(value) if isinstance(value, str) and value in NAMES else None


def read(value: object, row: int, faults: "Faults") -> int | None:
    """The code of what a row says in its field `split`; None, and a fault, if that is no split."""
    found = code(value)
    if found is None:
        faults.add(f"{shorten(value)} is no split; it must be train, valid or test.", row=row, column="split")
    return found


def partition(codes: npt.NDArray[Any], seed: int, strata: npt.NDArray[Any] | None = None) -> Rows:
    """Split rows by their codes (rows,); what no row is said to be in is drawn by seed from the others.

    A row without a code beside rows with one is for training. With `strata` (rows,) a draw takes the same
    share of each stratum that has rows enough. Each split has a row when there are three or more.
    """
    found = np.asarray(codes, np.int64).copy()
    if (found == OPEN).all():
        found[:] = TRAIN
    found[found == OPEN] = TRAIN
    rng = np.random.default_rng([seed, len(found)])
    count = round(SHARE * int((found == TRAIN).sum()))  # of the rows that nobody has said to hold out
    groups = np.zeros(len(found), np.int64) if strata is None else np.asarray(strata)
    for missing in (TEST, VALID):
        if not (found == missing).any():
            found[_draw(np.flatnonzero(found == TRAIN), groups, rng, count)] = missing
    return Rows(*(np.flatnonzero(found == split) for split in (TRAIN, VALID, TEST)))


def _draw(rows: Ints, groups: Ints, rng: "np.random.Generator", count: int) -> Ints:
    """About `count` of the rows, at least one and at most half, evenly over the groups."""
    count = min(max(1, count), len(rows) // 2)
    shuffled = rng.permutation(rows)
    order = shuffled[np.argsort(groups[shuffled], kind="stable")]  # group after group
    picks = (np.arange(count) + 0.5) * len(order) / max(count, 1)  # spread over all groups by their size
    return np.sort(order[picks.astype(np.int64)])
