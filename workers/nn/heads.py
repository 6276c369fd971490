"""What turns recurrent states into outputs: a table by kind of output."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from app.tasks.base import Output


@dataclass(frozen=True)
class HeadSize:
    """What a head is built for."""

    states: int  # width of the recurrent states
    inputs: int  # width of an embedded input step
    hidden: int
    outputs: int
    dropout: float


class Quantiles(nn.Module):
    """A dense layer over state and input of a step, then all quantiles of all lead times at once.

    A straight way past the recurrence carries what is linear in the input (as the autoregression of LSTNet,
    Lai et al. 2018). Both last layers start at zero: an untrained network answers 0, where targets centre.
    """

    def __init__(self, size: HeadSize) -> None:
        super().__init__()
        self.dropout = nn.Dropout(size.dropout)
        self.hidden = nn.Linear(size.states + size.inputs, size.hidden)
        self.out = nn.Linear(size.hidden, size.outputs)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.direct = nn.Linear(size.inputs, size.outputs, bias=False)
        nn.init.zeros_(self.direct.weight)

    def forward(self, states: Tensor, inputs: Tensor) -> Tensor:
        """States (batch, time, states) and inputs (batch, time, inputs) to (batch, time, outputs)."""
        joined = torch.cat([self.dropout(states), inputs], dim=-1)  # (batch, time, states + inputs)
        curved: Tensor = self.out(nn.functional.silu(self.hidden(joined)))  # (batch, time, outputs)
        straight: Tensor = self.direct(inputs)
        return curved + straight


HEADS: dict[Output, Callable[[HeadSize], nn.Module]] = {Output.QUANTILES: Quantiles}
