"""Evaluation of networks that answer a sequence with one row of numbers."""

from typing import Any

import torch

from app.tasks.contract import Split
from workers.outputs.kind import Evaluation
from workers.outputs.split_order import ordered_batches, to_device


@torch.no_grad()
def evaluate_rows(network: Any, split: Split, size: int, device: torch.device) -> Evaluation:
    """One output (width,) for each example."""
    for rows, batch in ordered_batches(split, size):
        inputs, lengths, _, _ = to_device(batch, device)
        yield rows, list(network.predict(inputs, lengths).float().cpu().numpy())
