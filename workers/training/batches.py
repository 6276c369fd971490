"""Batches from a split: deterministic in seed and epoch, bucketed by length, never packed."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from app.tasks.contract import Batch, Ints, Split
from workers.training.snapshot import Snapshot

BUCKET = 16  # batches whose examples are sorted by length together


def steps_per_epoch(split: Split, size: int) -> int:
    """How many batches `TrainingBatches` gives."""
    return -(-len(split.lengths) // size)


def shuffled(lengths: Ints, size: int, rng: np.random.Generator) -> list[Ints]:
    """Rows in random batches of about equal lengths: shuffled, sorted within buckets, batches shuffled."""
    order = rng.permutation(len(lengths))
    groups: list[Ints] = []
    for start in range(0, len(order), size * BUCKET):
        bucket = order[start : start + size * BUCKET]
        bucket = bucket[np.argsort(lengths[bucket], kind="stable")]
        groups.extend(bucket[k : k + size] for k in range(0, len(bucket), size))
    return [groups[k] for k in rng.permutation(len(groups))]


def streams(count: int, size: int, shift: int = 0) -> list[Ints]:
    """Consecutive rows as up to `size` streams side by side: each goes on in its place of the next batch.

    A batch has as many rows as the one before it, or fewer: those of the streams that have not ended. With
    `shift` the first stream begins there, and the last ones go on with the rows before it.
    """
    long = -(-count // size)  # rows of a stream
    starts = np.arange(0, count, long)
    return [((starts + step)[starts + step < count] + shift) % count for step in range(long)]


class TrainingBatches:
    """Every example once, in an order and with random views that depend on seed and epoch alone.

    `snapshot` tells where it is between two batches; `restore` goes on from there.
    """

    def __init__(self, split: Split, size: int, seed: int, epoch: int) -> None:
        self._split = split
        self._rng = np.random.default_rng([seed, epoch])
        if split.carried:
            count = len(split.lengths)
            self._order = streams(count, size, int(self._rng.integers(count)))
        else:
            self._order = shuffled(split.lengths, size, self._rng)
        self._position = 0

    def __iter__(self) -> Iterator[Batch]:
        while self._position < len(self._order):
            self._position += 1
            yield self._split.batch(self._order[self._position - 1], self._rng)

    def snapshot(self) -> Snapshot:
        """How many batches were given, and the random state after them."""
        return Snapshot({"position": self._position, "random": self._rng.bit_generator.state})

    def restore(self, snapshot: Snapshot) -> None:
        """Go on after the same batch."""
        self._position = snapshot.facts["position"]
        self._rng.bit_generator.state = snapshot.facts["random"]


def plain_rows(split: Split, size: int) -> list[Ints]:
    """Every example once, nothing random; in split order, or as streams where state is carried over."""
    count = len(split.lengths)
    if split.carried:
        return streams(count, size) if count else []
    return [np.arange(start, min(start + size, count)) for start in range(0, count, size)]


def plain_batches(split: Split, size: int) -> list[Batch]:
    """The batches of these rows."""
    return [split.batch(rows, None) for rows in plain_rows(split, size)]


def losses_in(batch: Batch, *, paths: bool) -> float:
    """How many losses the sum over a batch is made of: those of its steps, or of rows where `paths`.

    The likelihood of a path is that of a whole row. Divided by steps instead, rows of a batch of short ones
    would count for more than those of a batch of long ones.
    """
    counts = batch.weights.max(axis=1, initial=0) > 0 if paths else batch.weights
    return float(counts.sum())


def to_device(batch: Batch, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Inputs, lengths, targets and weights as tensors."""
    arrays = (batch.inputs, batch.lengths, batch.targets, batch.weights)
    inputs, lengths, targets, weights = (torch.from_numpy(array).to(device) for array in arrays)
    return inputs, lengths, targets, weights


def kept(state: Tensor | None, rows: int) -> Tensor | None:
    """The state (…, batch, hidden) with which so many streams go on."""
    return None if state is None else state[:, :rows].detach()


class Following:
    """The tokens of a split's examples, with the token that follows each as its target."""

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
