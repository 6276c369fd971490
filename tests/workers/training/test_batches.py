"""The order of training batches: by seed and epoch, and by length in epochs that are sorted."""

import numpy as np

from app.arrays import Ints
from app.tasks.contract import Batch
from workers.training.batches import TrainingBatches


class Numbered:
    """A split whose inputs are the numbers of its rows."""

    carried = False

    def __init__(self, lengths: Ints) -> None:
        self.lengths = lengths

    def batch(self, rows: Ints, rng: np.random.Generator | None) -> Batch:
        empty = np.zeros(0, np.float32)
        return Batch(rows, self.lengths[rows], empty, empty)


LENGTHS = np.random.default_rng(0).integers(1, 100, 37)


def order(epoch: int, *, by_length: bool = False) -> list[int]:
    batches = TrainingBatches(Numbered(LENGTHS), 4, 7, epoch, by_length=by_length)
    return [int(row) for batch in batches for row in batch.inputs]


def test_a_sorted_epoch_goes_from_short_to_long() -> None:
    rows = order(1, by_length=True)
    assert sorted(rows) == list(range(37))
    assert (np.diff(LENGTHS[rows]) >= 0).all()


def test_other_epochs_are_shuffled_by_seed_and_epoch() -> None:
    assert order(2) == order(2)
    assert order(2) != order(3)
    assert sorted(order(2)) == list(range(37))


def test_a_sorted_epoch_continues_from_a_snapshot() -> None:
    whole = list(TrainingBatches(Numbered(LENGTHS), 4, 7, 1, by_length=True))
    first = TrainingBatches(Numbered(LENGTHS), 4, 7, 1, by_length=True)
    next(iter(first))
    again = TrainingBatches(Numbered(LENGTHS), 4, 7, 1, by_length=True)
    again.restore(first.snapshot())
    rest = [row for batch in again for row in batch.inputs.tolist()]
    assert rest == [row for batch in whole[1:] for row in batch.inputs.tolist()]
