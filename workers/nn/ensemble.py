"""Several networks of one configuration that predict as one: their outputs are averaged.

Hansen & Salamon (1990), "Neural network ensembles". States and memories lie side by side.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from workers.nn.model import SequenceModel
from workers.nn.translator import Translator

Average = Callable[[Sequence[Tensor]], Tensor]


def mean_outputs(outputs: Sequence[Tensor]) -> Tensor:
    """The mean of quantiles or emissions (batch, …)."""
    return torch.stack(list(outputs)).mean(dim=0)


def mean_log(logs: Sequence[Tensor]) -> Tensor:
    """The logarithm of the mean of probabilities given by their logarithms."""
    return torch.logsumexp(torch.stack(list(logs)), dim=0) - math.log(len(logs))


def mean_logits(logits: Sequence[Tensor]) -> Tensor:
    """The logarithm of the mean of probabilities given by their logits (batch, vocabulary)."""
    return mean_log([torch.log_softmax(one, dim=-1) for one in logits])


def side_by_side(memories: Sequence[Tensor]) -> Tensor:
    """Memories of encoders in one, (batch, time, members * hidden)."""
    return torch.cat(list(memories), dim=2)


class Ensemble(nn.Module):
    """What a `SequenceModel` or `Translator` does when it predicts, by several of them."""

    def __init__(self, members: Sequence[SequenceModel | Translator], average: Average) -> None:
        super().__init__()
        self._average = average
        self.members = nn.ModuleList(members)
        self.config = members[0].config
        self.state_rows = len(members) * members[0].state_rows
        self.state_size = members[0].state_size
        self.decoder_rows = len(members) * getattr(members[0], "decoder_rows", 0)

    def forward_last(self, inputs: Tensor, lengths: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """As of a member; states (members * rows, batch, hidden), memory (batch, time, members * hidden)."""
        states = state.chunk(len(self.members))
        both = [one.forward_last(inputs, lengths, part) for one, part in self._with(states)]
        return self._average([outputs for outputs, _ in both]), torch.cat([state for _, state in both])

    def predict(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """As of a member."""
        results: list[Any] = [one.predict(inputs, lengths) for one in self._all()]
        return self._average(results)

    def token_nll(self, inputs: Tensor, targets: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """As of a member."""
        states = [None] * len(self.members) if state is None else state.chunk(len(self.members))
        both: list[Any] = [one.token_nll(inputs, targets, part) for one, part in self._with(states)]
        return -mean_log([-nats for nats, _ in both]), torch.cat([state for _, state in both])

    def decode_step(
        self, tokens: Tensor, state: Tensor, memory: Tensor, lengths: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As of a member; attention is the mean."""
        count = len(self.members)
        parts = zip(self._all(), state.chunk(count), memory.chunk(count, dim=2), strict=True)
        results = [one.decode_step(tokens, state, memory, lengths) for one, state, memory in parts]
        logs, states, weights = zip(*results, strict=True)
        return mean_log(logs), torch.cat(states), torch.stack(weights).mean(dim=0)

    def transitions(self) -> Tensor | None:
        """As of a member."""
        results = [one.transitions() for one in self._all()]
        return None if results[0] is None else torch.stack(results).mean(dim=0)

    def initial_state(self, batch: int) -> Tensor:
        """The state before the first step."""
        return torch.cat([one.initial_state(batch) for one in self._all()])

    def count(self) -> int:
        """Number of trainable parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    def flatten(self) -> None:
        """Lay the recurrent weights out as blocks."""
        for one in self._all():
            one.flatten()

    def _all(self) -> list[Any]:
        return list(self.members)

    def _with(self, states: Sequence[Any]) -> list[tuple[Any, Any]]:
        return list(zip(self.members, states, strict=True))
