"""An encoder, and a decoder that looks back at it: sequences to other sequences.

The decoder's stack reads the target alone, so that in training it runs over all steps at once; attention
comes after it (Luong, Pham & Manning 2015, without input feeding, which would ask for a loop over the steps).
"""

from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from workers.nn.attention import ATTENTIONS, attend
from workers.nn.cells import Recurrent
from workers.nn.config import ModelConfig
from workers.nn.dropout import Dropout
from workers.nn.inputs import Tokens, table
from workers.nn.losses import NONE, Penalties, cross_entropy
from workers.nn.pooling import last


class Translator(nn.Module):
    """Remembers a source, then gives the log-probabilities of one target token at a time."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        size, variational = config.hidden_size, config.variational_dropout
        self.embed = Tokens(config)
        stack = partial(
            Recurrent,
            config.cell,
            hidden_size=size,
            layers=config.layers,
            dropout=config.dropout,
            variational=variational,
            weight_drop=config.weight_drop,
        )
        self.recurrent = stack(input_size=self.embed.width, bidirectional=config.bidirectional)
        states = size * self.recurrent.directions
        self.remember = nn.Linear(states, size)
        self.targets = table(config.outputs, config.embedding_size)
        self.drop_targets = Dropout(config.input_dropout, variational=variational)
        self.decoder = stack(input_size=config.embedding_size, bidirectional=False)
        self.bridge = nn.Linear(states, self.decoder.state_rows * size)
        self.attention = ATTENTIONS[config.attention](size)
        width = config.embedding_size if config.tie_weights else size
        self.join = nn.Linear(2 * size, width)
        self.dropout = Dropout(config.dropout, variational=variational)
        self.out = nn.Linear(width, config.outputs)
        if config.tie_weights:
            self.out.weight = self.targets.weight

    @property
    def state_rows(self) -> int:
        """First size of the encoder's state."""
        return self.recurrent.state_rows

    @property
    def decoder_rows(self) -> int:
        """First size of the decoder's state (decoder_rows, batch, hidden)."""
        return self.decoder.state_rows

    steps: ClassVar[bool] = False  # a sequence is learned as a whole

    def losses(
        self,
        inputs: Tensor,
        lengths: Tensor,
        targets: Tensor,
        weights: Tensor,
        *,
        state: Tensor | None = None,
        penalties: Penalties = NONE,
    ) -> tuple[Tensor, Tensor]:
        """Cross-entropy of targets (batch, target time), each from the true ones before it."""
        state = self.initial(len(inputs)) if state is None else state
        seen, _ = self.recurrent(self.embed(inputs), state, lengths)  # (batch, time, states)
        memory, first = self._encoded(seen, lengths)
        read = self.drop_targets(self.targets(targets[:, :-1]))  # (batch, steps, embedding)
        states, _ = self.decoder(read, first)
        logits, _ = self._logits(states, memory, lengths)
        loss = cross_entropy(logits.float(), targets[:, 1:], weights[:, 1:], penalties.label_smoothing)
        return loss, state

    def at_end(self, inputs: Tensor, lengths: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Memory (batch, time, hidden) of a source, and the decoder's first state (rows, batch, hidden)."""
        seen, _ = self.recurrent.forward_ragged(self.embed(inputs), lengths, state)
        return self._encoded(seen, lengths)

    def decode_step(
        self, tokens: Tensor, state: Tensor, memory: Tensor, lengths: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """After tokens (batch, 1): log-probabilities (batch, vocabulary), state, attention (batch, time)."""
        states, state = self.decoder(self.targets(tokens), state)
        logits, weights = self._logits(states, memory, lengths)
        return torch.log_softmax(logits.squeeze(1), dim=-1), state, weights.squeeze(1)

    def _encoded(self, states: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        ends = last(states, lengths, self.recurrent.directions)  # (batch, states)
        first = torch.tanh(self.bridge(ends)).view(-1, self.decoder_rows, self.config.hidden_size)
        return self.remember(states), first.transpose(0, 1).contiguous()

    def _logits(self, states: Tensor, memory: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Decoder states (batch, steps, hidden) to logits (batch, steps, vocabulary) and attention."""
        read, weights = attend(self.attention(states, memory), memory, lengths)
        joined = torch.tanh(self.join(torch.cat([states, read], dim=-1)))
        return self.out(self.dropout(joined)), weights

    def initial(self, batch: int) -> Tensor:
        """The encoder's state before the first step."""
        return self.recurrent.initial(batch)

    def count(self) -> int:
        """Number of trainable parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    def flatten(self) -> None:
        """Lay the recurrent weights out as one block, as cuDNN wants them after loading or copying."""
        self.recurrent.flatten()
        self.decoder.flatten()
