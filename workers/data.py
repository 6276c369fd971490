"""Batches from a split: deterministic in seed and epoch, bucketed by length, never packed."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from app.tasks.base import Batch, Floats, Ints, Split
from workers.nn.model import SequenceModel
from workers.snapshot import Snapshot

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


class TrainingBatches:
    """Every example once, in an order and with random views that depend on seed and epoch alone.

    `snapshot` tells where it is between two batches; `restore` goes on from there.
    """

    def __init__(self, split: Split, size: int, seed: int, epoch: int) -> None:
        self._split = split
        self._rng = np.random.default_rng([seed, epoch])
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


def plain_batches(split: Split, size: int) -> Iterator[Batch]:
    """Every example once, in split order, nothing random."""
    for start in range(0, len(split.lengths), size):
        yield split.batch(np.arange(start, min(start + size, len(split.lengths))), None)


def to_device(batch: Batch, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Inputs, lengths, targets and weights as tensors."""
    arrays = (batch.inputs, batch.lengths, batch.targets, batch.weights)
    inputs, lengths, targets, weights = (torch.from_numpy(array).to(device) for array in arrays)
    return inputs, lengths, targets, weights


@torch.no_grad()
def outputs_at_end(model: SequenceModel, split: Split, size: int, device: torch.device) -> list[Floats]:
    """The network's outputs (width,) at the last step of each example, in split order."""
    model.eval()
    found: list[Floats] = []
    for batch in plain_batches(split, size):
        inputs, lengths, _, _ = to_device(batch, device)
        outputs, _ = model.at_end(inputs, lengths, model.initial(len(inputs)))
        found.extend(outputs.float().cpu().numpy())
    return found
