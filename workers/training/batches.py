"""Batches from a split: deterministic in seed and epoch, bucketed by length, never packed."""

from collections.abc import Iterator

import numpy as np

from app.arrays import Ints
from app.tasks.contract import Batch, Split
from workers.outputs.split_order import streams
from workers.training.snapshot import Snapshot

BUCKET_BATCHES = 16  # batches whose examples are sorted by length together


def steps_per_epoch(split: Split, size: int) -> int:
    """The number of batches of `TrainingBatches`."""
    return -(-len(split.lengths) // size)


def shuffled(lengths: Ints, size: int, rng: np.random.Generator) -> list[Ints]:
    """Rows in random batches of similar lengths: shuffled, sorted within buckets, batches shuffled."""
    order = rng.permutation(len(lengths))
    groups: list[Ints] = []
    for start in range(0, len(order), size * BUCKET_BATCHES):
        bucket = order[start : start + size * BUCKET_BATCHES]
        bucket = bucket[np.argsort(lengths[bucket], kind="stable")]
        groups.extend(bucket[k : k + size] for k in range(0, len(bucket), size))
    return [groups[k] for k in rng.permutation(len(groups))]


def sorted_by_length(lengths: Ints, size: int) -> list[Ints]:
    """Rows in batches from the shortest to the longest (SortaGrad: Amodei et al. 2016, "Deep Speech 2")."""
    order = np.argsort(lengths, kind="stable")
    return [order[start : start + size] for start in range(0, len(order), size)]


class TrainingBatches:
    """Every example once, in an order and with random views that depend on seed and epoch alone.

    With `by_length` the shortest come first; streams, whose state is carried over, are never sorted.
    `snapshot` has the position between two batches; `restore` continues from there.
    """

    def __init__(self, split: Split, size: int, seed: int, epoch: int, *, by_length: bool = False) -> None:
        self._split = split
        self._rng = np.random.default_rng([seed, epoch])
        if split.carried:
            count = len(split.lengths)
            self._order = streams(count, size, int(self._rng.integers(count)))
        elif by_length:
            self._order = sorted_by_length(split.lengths, size)
        else:
            self._order = shuffled(split.lengths, size, self._rng)
        self._position = 0

    def __iter__(self) -> Iterator[Batch]:
        while self._position < len(self._order):
            self._position += 1
            yield self._split.batch(self._order[self._position - 1], self._rng)

    def snapshot(self) -> Snapshot:
        """The number of batches so far, and the random state after them."""
        return Snapshot({"position": self._position, "random": self._rng.bit_generator.state})

    def restore(self, snapshot: Snapshot) -> None:
        """Continue after the same batch."""
        self._position = snapshot.facts["position"]
        self._rng.bit_generator.state = snapshot.facts["random"]


def count_losses(batch: Batch, *, row_loss: bool) -> float:
    """Number of losses that the sum over a batch is made of: weights of its targets, or rows.

    With `row_loss` a row has one loss. Divided by targets instead, rows of a batch of short ones would count
    for more than those of a batch of long ones.
    """
    counts = batch.weights.max(axis=1, initial=0) > 0 if row_loss else batch.weights
    return float(counts.sum())


class NextTokenSplit:
    """A split's inputs, with the token that follows each as its target."""

    carried = False

    def __init__(self, split: Split) -> None:
        self._split = split
        self.lengths = split.lengths

    def batch(self, rows: Ints, rng: np.random.Generator | None) -> Batch:
        """Targets and weights (batch, time); nothing follows a row's last token."""
        batch = self._split.batch(rows, rng)
        tokens = batch.inputs[:, :, 0]  # (batch, time)
        targets = np.zeros_like(tokens)
        targets[:, :-1] = tokens[:, 1:]
        weights = np.arange(1, tokens.shape[1] + 1) < batch.lengths[:, None]  # (batch, time)
        return Batch(batch.inputs, batch.lengths, targets, weights.astype(np.float32))
