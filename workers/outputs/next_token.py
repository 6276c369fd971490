"""NEXT_TOKEN: logits of the token that follows each step."""

from typing import Any

import torch
from torch import Tensor

from app.tasks.contract import END, DecodedTokens, Split
from workers.decoding.torch_model import TorchNext
from workers.nn.ensemble import mean_logits
from workers.nn.heads import NextTokenHead
from workers.outputs.kind import MAX_ANSWER_TOKENS, Evaluation, OutputKind, recurrent_with
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


def continuation_score(network: Any, inputs: Tensor, lengths: Tensor, output: DecodedTokens) -> Tensor:
    """The log-probability of the first `MAX_ANSWER_TOKENS` tokens that continue the inputs (1, time, 1)."""
    del lengths
    added = torch.as_tensor(output.tokens[:MAX_ANSWER_TOKENS])  # (tokens,)
    if not len(added):  # the text ends at once
        added = torch.tensor([END])
    read = torch.cat([inputs, added[None, :-1, None]], dim=1)  # (1, time + tokens - 1, 1)
    targets = torch.cat([inputs[0, 1:, 0], added])[None]  # (1, time + tokens - 1)
    nll, _ = network.token_nll(read, targets, None)  # (1, time + tokens - 1)
    score: Tensor = -nll[0, -len(added) :].sum()
    return score


NEXT_TOKEN = OutputKind(
    recurrent_with(NextTokenHead),
    mean_logits,
    evaluate_nll,
    continuation_score,
    step_model=TorchNext,
)
