"""NEXT_TOKEN: logits of the token that follows each step."""

from typing import Any

import torch
from torch import Tensor

from app.tasks.contract import Split
from workers.decoding.torch_model import TorchNext
from workers.nn.ensemble import mean_logits
from workers.nn.heads import NextTokenHead
from workers.outputs.kind import Evaluation, OutputKind, recurrent_with
from workers.outputs.split_order import carried_state, ordered_batches, to_device


@torch.no_grad()
def evaluate_nll(network: Any, split: Split, size: int, device: torch.device) -> Evaluation:
    """Negative log-likelihoods in nats (time,) of each example's targets; state is carried over."""
    state: Tensor | None = None
    for rows, batch in ordered_batches(split, size):
        inputs, _, targets, _ = to_device(batch, device)
        state = carried_state(state, len(inputs)) if split.carried else None
        nll, state = network.token_nll(inputs, targets, state)  # (batch, time)
        lengths = batch.lengths.tolist()
        yield rows, [row[:length] for row, length in zip(nll.float().cpu().numpy(), lengths, strict=True)]


NEXT_TOKEN = OutputKind(recurrent_with(NextTokenHead), mean_logits, evaluate_nll, step_model=TorchNext)
