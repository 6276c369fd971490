"""What a network makes of every example of a split, as the task's `score` and `settle` want it."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from app.tasks.contract import Batch, Ints, Output, Split
from workers.decoding import viterbi
from workers.decoding.scheduler import decode_all
from workers.decoding.sequence import Decoder
from workers.decoding.torch_model import stepper
from workers.nn import Network
from workers.training.batches import kept, plain_rows, to_device


def outputs_of(network: Network, split: Split, size: int, device: torch.device) -> list[Any]:
    """One output for each example, in split order; `size` examples at once."""
    network.eval()
    found: list[Any] = [None] * len(split.lengths)
    for rows, outputs in READERS[network.config.output](network, split, size, device):
        for row, output in zip(rows.tolist(), outputs, strict=True):
            found[row] = output
    return found


CHUNK = 256  # sources that are translated together
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


@torch.no_grad()
def _paths(network: Any, split: Split, size: int, device: torch.device) -> Outputs:
    """LABELS: the best tags (time,)."""
    transitions = network.transitions()
    scores = None if transitions is None else transitions.float().cpu().numpy()
    for rows, batch in _batches(split, size):
        inputs, lengths, _, _ = to_device(batch, device)
        emissions = network.answers(inputs, lengths).float().cpu().numpy()  # (batch, time, tags)
        found = viterbi.best(emissions, batch.lengths, scores)
        yield rows, [tags[:length] for tags, length in zip(found, batch.lengths.tolist(), strict=True)]


def _searched(network: Any, split: Any, _: int, device: torch.device) -> Outputs:
    """SEQUENCE: what is `Found` for each source, looked for as a request without parameters would.

    That is what the split's `search` of a row says.
    """
    decoder = Decoder(stepper(network, device))
    order = np.argsort(split.lengths, kind="stable")
    for start in range(0, len(order), CHUNK):
        rows = order[start : start + CHUNK]
        batch = split.batch(rows, None)
        lengths = batch.lengths.tolist()
        inputs = [row[:length] for row, length in zip(batch.inputs, lengths, strict=True)]
        yield rows, decode_all(decoder, inputs, [split.search(int(row)) for row in rows])


READERS = {
    Output.QUANTILES: _whole,
    Output.LABEL: _whole,
    Output.LABELS: _paths,
    Output.NEXT: _surprises,
    Output.SEQUENCE: _searched,
}
