"""ALIGNED: log-probabilities of labels at each step, of which the task reads a shorter sequence (CTC)."""

from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from app.arrays import Floats
from app.tasks.contract import Split, strided_lengths
from workers.nn.ensemble import mean_log
from workers.nn.heads import AlignedHead
from workers.outputs.kind import Evaluation, OutputKind, recurrent_with
from workers.outputs.split_order import ordered_batches, to_device


@torch.no_grad()
def evaluate_aligned(network: Any, split: Split, size: int, device: torch.device) -> Evaluation:
    """Log-probabilities (steps, labels) of each example."""
    for rows, batch in ordered_batches(split, size):
        inputs, lengths, _, _ = to_device(batch, device)
        outputs = network.predict(inputs, lengths).float().cpu().numpy()  # (batch, steps, labels)
        steps = strided_lengths(batch.lengths, network.config.stride).tolist()
        yield rows, [row[:count] for row, count in zip(outputs, steps, strict=True)]


def transcript_score(network: Any, inputs: Tensor, lengths: Tensor, output: Floats) -> Tensor:
    """The log-probability, in any alignment, of the labels of the best path through (steps, labels)."""
    path = output.argmax(axis=1).tolist()
    labels = [label for label, _ in groupby(path) if label]  # 0 is the blank
    logs: Tensor = network.predict(inputs, lengths)  # (1, steps, labels)
    targets, steps = torch.tensor([labels], dtype=torch.int64), torch.tensor([logs.shape[1]])
    counts = torch.tensor([len(labels)])
    return -nn.functional.ctc_loss(logs.transpose(0, 1), targets, steps, counts, reduction="sum")


ALIGNED = OutputKind(
    recurrent_with(AlignedHead),
    mean_log,
    evaluate_aligned,
    transcript_score,
    export_axes={0: "batch", 1: "steps"},
)
