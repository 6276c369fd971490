"""ALIGNED: log-probabilities of labels at each step, of which the task reads a shorter sequence (CTC)."""

from typing import Any

import torch

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


ALIGNED = OutputKind(
    recurrent_with(AlignedHead), mean_log, evaluate_aligned, export_axes={0: "batch", 1: "steps"}
)
