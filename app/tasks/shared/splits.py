"""Assignment of rows to training, validation and test data: as a file says, or at random by a seed."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from app.arrays import Ints
from app.tasks.preview import SplitName
from app.tasks.shared.table_cells import MISSING_TEXTS, shorten
from app.tasks.source import Faults
from app.typedefs import Json

SPLIT = "split"  # the field or column that assigns a row to a split
SPLIT_NAMES: tuple[str, ...] = get_args(SplitName)
UNASSIGNED = -1  # the code of a row that the file assigns to no split
TRAIN, VALID, TEST = range(3)  # codes: indices of `SPLIT_NAMES`
HELD_OUT_SHARE = 0.1  # of the training rows, for each of validation and test
TRAINING_CODES = (UNASSIGNED, TRAIN)  # of rows that a training split may be drawn from


@dataclass(frozen=True)
class SplitRows:
    """Row numbers of each split, in rising order."""

    train: Ints
    valid: Ints
    test: Ints


def split_code(value: object) -> int | None:
    """The code of a row's field `split`, `UNASSIGNED` if it is missing; None if it names no split."""
    if value is None or value != value or (isinstance(value, str) and value.strip() in MISSING_TEXTS):  # noqa: PLR0124 - NaN
        return UNASSIGNED
    return SPLIT_NAMES.index(value) if isinstance(value, str) and value in SPLIT_NAMES else None


def split_name(code: int) -> str | None:
    """The name of a split by its code; None for `UNASSIGNED`."""
    return None if code == UNASSIGNED else SPLIT_NAMES[code]


def count_splits(codes: Iterable[int]) -> Json:
    """How many rows the file assigns to each split, and how many are `open`, assigned to none."""
    counts = Counter(codes)
    named = {name: counts[code] for code, name in enumerate(SPLIT_NAMES)}
    return {**named, "open": counts[UNASSIGNED]}


def read_split(value: object, row: int, faults: "Faults") -> int | None:
    """The code of a row's field `split`; if it names no split: None, and a fault at that row."""
    code = split_code(value)
    if code is None:
        faults.add(f"{shorten(value)} is no split; it must be train, valid or test.", row=row, column=SPLIT)
    return code


def partition_rows(codes: npt.NDArray[Any], seed: int, strata: npt.NDArray[Any] | None = None) -> SplitRows:
    """Assign rows to splits by their codes (rows,).

    Splits named in the file are kept, and unassigned rows are for training. A missing validation or test
    split is sampled from the training rows with `seed`, in equal shares from each stratum that is large
    enough if there are `strata` (rows,). Each split has a row when there are three or more.
    """
    assigned = np.asarray(codes, np.int64).copy()
    assigned[assigned == UNASSIGNED] = TRAIN
    rng = np.random.default_rng([seed, len(assigned)])
    count = round(HELD_OUT_SHARE * int((assigned == TRAIN).sum()))
    groups = np.zeros(len(assigned), np.int64) if strata is None else np.asarray(strata)
    for missing in (TEST, VALID):
        if not (assigned == missing).any():
            assigned[_sample(np.flatnonzero(assigned == TRAIN), groups, rng, count)] = missing
    return SplitRows(*(np.flatnonzero(assigned == split) for split in (TRAIN, VALID, TEST)))


def _sample(rows: Ints, groups: Ints, rng: "np.random.Generator", count: int) -> Ints:
    """About `count` of the rows, at least one and at most half, evenly over the groups."""
    count = min(max(1, count), len(rows) // 2)
    shuffled = rng.permutation(rows)
    order = shuffled[np.argsort(groups[shuffled], kind="stable")]  # group after group
    picks = (np.arange(count) + 0.5) * len(order) / max(count, 1)  # spread over all groups by their size
    return np.sort(order[picks.astype(np.int64)])
