"""A split's examples in a fixed order, batch by batch, as tensors on a device."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from app.arrays import Ints
from app.tasks.contract import Batch, Split


def streams(count: int, size: int, shift: int = 0) -> list[Ints]:
    """Consecutive rows as up to `size` streams side by side: each goes on at its index of the next batch.

    A batch has as many rows as the one before it, or fewer: those of the streams that have not ended. `shift`
    rotates the rows before they are divided into streams.
    """
    long = -(-count // size)  # rows of a stream
    starts = np.arange(0, count, long)
    return [((starts + step)[starts + step < count] + shift) % count for step in range(long)]


def ordered_rows(split: Split, size: int) -> list[Ints]:
    """Every example once, nothing random: in split order, or as streams where state is carried over."""
    count = len(split.lengths)
    if split.carried:
        return streams(count, size) if count else []
    return [np.arange(start, min(start + size, count)) for start in range(0, count, size)]


def ordered_batches(split: Split, size: int) -> Iterator[tuple[Ints, Batch]]:
    """The rows of each batch, and the batch."""
    for rows in ordered_rows(split, size):
        yield rows, split.batch(rows, None)


def to_device(batch: Batch, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Inputs, lengths, targets and weights of a batch as tensors on a device."""
    arrays = (batch.inputs, batch.lengths, batch.targets, batch.weights)
    inputs, lengths, targets, weights = (torch.from_numpy(array).to(device) for array in arrays)
    return inputs, lengths, targets, weights


def carried_state(state: Tensor | None, rows: int) -> Tensor | None:
    """The state (…, rows, hidden) from which the first `rows` streams go on, without its gradient."""
    return None if state is None else state[:, :rows].detach()
