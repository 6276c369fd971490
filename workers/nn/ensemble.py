"""Several networks of one configuration that answer as one: their outputs are averaged.

Quantiles and emissions are averaged as they are, probabilities as probabilities (Hansen & Salamon 1990,
"Neural network ensembles"). States and memories lie side by side.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from app.tasks.contract import Output
from workers.nn.model import SequenceModel
from workers.nn.translator import Translator


def mean_log(logs: Sequence[Tensor]) -> Tensor:
    """The logarithm of the mean of probabilities given by their logarithms."""
    return torch.logsumexp(torch.stack(list(logs)), dim=0) - math.log(len(logs))


class Ensemble(nn.Module):
    """What a `SequenceModel` or `Translator` does when it predicts, by several of them."""

    def __init__(self, members: Sequence[SequenceModel | Translator]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.config = members[0].config
        self.state_rows = len(members) * members[0].state_rows
        self.state_size = members[0].state_size
        self.decoder_rows = len(members) * getattr(members[0], "decoder_rows", 0)

    def at_end(self, inputs: Tensor, lengths: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """As of a member; states (members * rows, batch, hidden), memory (batch, time, members * hidden)."""
        states = state.chunk(len(self.members))
        both = [one.at_end(inputs, lengths, part) for one, part in self._with(states)]
        return self._averaged([outputs for outputs, _ in both]), torch.cat([state for _, state in both])

    def answers(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """As of a member."""
        found: list[Any] = [one.answers(inputs, lengths) for one in self._all()]
        return self._averaged(found)

    def surprise(self, inputs: Tensor, targets: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """As of a member."""
        states = [None] * len(self.members) if state is None else state.chunk(len(self.members))
        both: list[Any] = [one.surprise(inputs, targets, part) for one, part in self._with(states)]
        return -mean_log([-nats for nats, _ in both]), torch.cat([state for _, state in both])

    def decode_step(
        self, tokens: Tensor, state: Tensor, memory: Tensor, lengths: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As of a member; attention is the mean."""
        count = len(self.members)
        parts = zip(self._all(), state.chunk(count), memory.chunk(count, dim=2), strict=True)
        found = [one.decode_step(tokens, state, memory, lengths) for one, state, memory in parts]
        logs, states, weights = zip(*found, strict=True)
        return mean_log(logs), torch.cat(states), torch.stack(weights).mean(dim=0)

    def transitions(self) -> Tensor | None:
        """As of a member."""
        found = [one.transitions() for one in self._all()]
        return None if found[0] is None else torch.stack(found).mean(dim=0)

    def initial(self, batch: int) -> Tensor:
        """The state before the first step."""
        return torch.cat([one.initial(batch) for one in self._all()])

    def count(self) -> int:
        """Number of trainable parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    def flatten(self) -> None:
        """Lay the recurrent weights out as blocks."""
        for one in self._all():
            one.flatten()

    def _averaged(self, outputs: list[Tensor]) -> Tensor:
        output = self.config.output
        if output == Output.SEQUENCE:
            return torch.cat(outputs, dim=2)  # (batch, time, members * hidden)
        if output == Output.NEXT:
            return mean_log([torch.log_softmax(logits, dim=-1) for logits in outputs])
        return mean_log(outputs) if output == Output.LABEL else torch.stack(outputs).mean(dim=0)

    def _all(self) -> list[Any]:
        return list(self.members)

    def _with(self, states: Sequence[Any]) -> list[tuple[Any, Any]]:
        return list(zip(self.members, states, strict=True))
