"""What a network makes of every example of a split, as the task's `score` and `settle` want it."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from app.tasks.base import Batch, Ints, Output, Split
from workers.data import kept, plain_rows, to_device
from workers.nn import Network


def outputs_of(network: Network, split: Split, size: int, device: torch.device) -> list[Any]:
    """One output for each example, in split order; `size` examples at once."""
    network.eval()
    found: list[Any] = [None] * len(split.lengths)
    for rows, outputs in READERS[network.config.output](network, split, size, device):
        for row, output in zip(rows.tolist(), outputs, strict=True):
            found[row] = output
    return found


Outputs = Iterator[tuple[Ints, list[Any]]]


def _batches(split: Split, size: int) -> Iterator[tuple[Ints, Batch]]:
    for rows in plain_rows(split, size):
        yield rows, split.batch(rows, None)


@torch.no_grad()
def _whole(network: Any, split: Split, size: int, device: torch.device) -> Outputs:
    """QUANTILES and LABEL: (width,) for each example."""
    for rows, batch in _batches(split, size):
        inputs, lengths, _, _ = to_device(batch, device)
        yield rows, list(network.answers(inputs, lengths).float().cpu().numpy())


@torch.no_grad()
def _surprises(network: Any, split: Split, size: int, device: torch.device) -> Outputs:
    """NEXT: negative log-likelihoods in nats (time,); state is carried over."""
    state: Tensor | None = None
    for rows, batch in _batches(split, size):
        inputs, _, targets, _ = to_device(batch, device)
        state = kept(state, len(inputs)) if split.carried else None
        nats, state = network.surprise(inputs, targets, state)
        steps = batch.lengths.tolist()
        yield rows, [row[:length] for row, length in zip(nats.float().cpu().numpy(), steps, strict=True)]


READERS = {
    Output.QUANTILES: _whole,
    Output.LABEL: _whole,
    Output.NEXT: _surprises,
}
