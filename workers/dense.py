"""A network's outputs at each row's last real step, on padded batches: what cuDNN is fast at.

Packed sequences take cuDNN's slowest path and bring the lengths back to the CPU.
"""

import torch
from torch import Tensor, nn

from workers.nn.cells import Recurrent
from workers.nn.model import SequenceModel


class DenseEnds(nn.Module):
    """`SequenceModel.at_end` from a state of zeros, without packing; its shapes are fixed, as graphs need."""

    def __init__(self, model: SequenceModel) -> None:
        super().__init__()
        self.embed, self.head = model.embed, model.head
        bidirectional = model.recurrent.directions == 2
        self.recurrent = BothWays(model.recurrent) if bidirectional else OneWay(model.recurrent)

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Inputs (batch, time, features) and true lengths (batch,) to outputs (batch, width)."""
        embedded = self.embed(inputs)  # (batch, time, input)
        last = at(embedded, lengths - 1)  # (batch, 1, input)
        outputs: Tensor = self.head(self.recurrent(embedded, lengths), last).squeeze(1)
        return outputs


class OneWay(nn.Module):
    """A stack that reads forwards: padding comes after the end and cannot reach it."""

    def __init__(self, recurrent: Recurrent) -> None:
        super().__init__()
        self.module = recurrent.module
        self.module.flatten_parameters()

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Top states (batch, 1, hidden) at the last real steps."""
        states, _ = self.module(inputs)  # (batch, time, hidden)
        return at(states, lengths - 1)


class BothWays(nn.Module):
    """A bidirectional stack as layers of two forward readers; one gets each row turned round by length."""

    def __init__(self, recurrent: Recurrent) -> None:
        super().__init__()
        depth = recurrent.module.num_layers
        self.forwards = nn.ModuleList(layer(recurrent, number, "") for number in range(depth))
        self.backwards = nn.ModuleList(layer(recurrent, number, "_reverse") for number in range(depth))

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Top states (batch, 1, 2 * hidden) at the last real steps."""
        turn = turned(lengths, inputs.shape[1])  # (batch, time)
        *lower, (ahead, back) = zip(self.forwards, self.backwards, strict=True)
        for each_ahead, each_back in lower:
            there, _ = each_ahead(inputs)  # (batch, time, hidden)
            again, _ = each_back(pick(inputs, turn))
            inputs = torch.cat([there, pick(again, turn)], dim=-1)  # (batch, time, 2 * hidden)
        there, _ = ahead(inputs)
        again, _ = back(at(inputs, lengths - 1))  # the last real step is the first that it reads
        return torch.cat([at(there, lengths - 1), again], dim=-1)


def layer(recurrent: Recurrent, number: int, suffix: str) -> nn.Module:
    """One direction of one layer as a module of its own, with copies of the weights."""
    stack, weights = recurrent.module, {}
    for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        weights[f"{kind}_l0"] = getattr(stack, f"{kind}_l{number}{suffix}").detach()
    width = weights["weight_ih_l0"].shape[1]
    made = recurrent.cell.module(width, recurrent.hidden_size, batch_first=True)
    made.load_state_dict(weights)
    made.to(weights["weight_ih_l0"].device).eval()
    made.flatten_parameters()
    return made


def turned(lengths: Tensor, time: int) -> Tensor:
    """Which step to read where (batch, time) so that each row runs backwards from its end; padding stays."""
    steps = torch.arange(time, device=lengths.device)[None]  # (1, time)
    ends = lengths[:, None]  # (batch, 1)
    return torch.where(steps < ends, ends - 1 - steps, steps)


def pick(sequence: Tensor, steps: Tensor) -> Tensor:
    """Steps (batch, n) of a sequence (batch, time, width), as (batch, n, width)."""
    return sequence.gather(1, steps[:, :, None].expand(-1, -1, sequence.shape[2]))


def at(sequence: Tensor, steps: Tensor) -> Tensor:
    """One step (batch,) of each row of a sequence (batch, time, width), as (batch, 1, width)."""
    return pick(sequence, steps[:, None])
