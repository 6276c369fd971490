"""The outputs of a network for every example of a split, as the task's metrics want them."""

from typing import Any

import torch

from app.tasks.contract import Split
from workers.nn import Network
from workers.outputs import OUTPUTS


def outputs_of(network: Network, split: Split, size: int, device: torch.device) -> list[Any]:
    """One output for each example, in split order; `size` examples are computed at once."""
    network.eval()
    outputs: list[Any] = [None] * len(split.lengths)
    for rows, row_outputs in OUTPUTS[network.config.output].evaluate(network, split, size, device):
        for row, output in zip(rows.tolist(), row_outputs, strict=True):
            outputs[row] = output
    return outputs
