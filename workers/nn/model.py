"""One network for every task: an input layer, a recurrent stack, a head."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from app.tasks.base import Input, Output
from workers.nn.cells import Recurrent
from workers.nn.heads import HEADS, HeadSize
from workers.nn.inputs import INPUTS
from workers.nn.losses import LOSSES


@dataclass(frozen=True)
class ModelConfig:
    """All that is needed to build the network again; every field is JSON."""

    input: Input
    output: Output
    features: int  # width of an input vector, or size of the vocabulary
    outputs: int  # width of the head
    cell: str = "lstm"
    layers: int = 1
    hidden_size: int = 64
    bidirectional: bool = False
    dropout: float = 0.0
    quantiles: tuple[float, ...] = ()  # of a QUANTILES head

    def to_json(self) -> dict[str, Any]:
        """As JSON for the manifest."""
        return asdict(self) | {"quantiles": list(self.quantiles)}

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> "ModelConfig":
        """The inverse of `to_json`; raises `TypeError` on an unknown field."""
        kinds = {"input": Input(found["input"]), "output": Output(found["output"])}
        return cls(**found | kinds | {"quantiles": tuple(found["quantiles"])})


class SequenceModel(nn.Module):
    """Outputs at every position, and a state from which the next call goes on."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = INPUTS[config.input](config.features)
        self.recurrent = Recurrent(
            config.cell,
            self.embed.width,
            config.hidden_size,
            layers=config.layers,
            bidirectional=config.bidirectional,
            dropout=config.dropout,
        )
        states = config.hidden_size * self.recurrent.directions
        size = HeadSize(states, self.embed.width, config.hidden_size, config.outputs, config.dropout)
        self.head = HEADS[config.output](size)

    @property
    def state_rows(self) -> int:
        """First size of the state (state_rows, batch, hidden)."""
        return self.recurrent.state_rows

    def forward(self, inputs: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Inputs (batch, time, features) to outputs (batch, time, width) and the state after them."""
        embedded = self.embed(inputs)  # (batch, time, width)
        states, state = self.recurrent(embedded, self.initial(len(inputs)) if state is None else state)
        return self.head(states, embedded), state

    def at_end(self, inputs: Tensor, lengths: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs (batch, width) at each row's last real step, and the state there; padding is never read."""
        embedded = self.embed(inputs)
        states, state = self.recurrent.forward_ragged(embedded, lengths, state)
        last = (lengths - 1).view(-1, 1, 1)
        ends = [part.gather(1, last.expand(-1, 1, part.shape[2])) for part in (states, embedded)]
        return self.head(*ends).squeeze(1), state

    def initial(self, batch: int) -> Tensor:
        """The state before the first step, (state_rows, batch, hidden)."""
        return self.recurrent.initial(batch)

    def loss(self, outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """The weighted sum this kind of output minimises."""
        return LOSSES[self.config.output](outputs, targets, weights, self.config.quantiles)

    def count(self) -> int:
        """Number of trainable parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    def flatten(self) -> None:
        """Lay the recurrent weights out as one block, as cuDNN wants them after loading or copying."""
        self.recurrent.module.flatten_parameters()


def build(config: ModelConfig, seed: int) -> SequenceModel:
    """A freshly initialised network; the same seed gives the same weights."""
    torch.manual_seed(seed)
    return SequenceModel(config)
