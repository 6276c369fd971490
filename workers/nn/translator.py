"""An encoder, and a decoder that looks back at it: sequences to other sequences.

The decoder's stack reads the target alone, so that in training it runs over all steps at once; attention
comes after it (Luong, Pham & Manning 2015, without input feeding, which would ask for a loop over the steps).
Two things help where pairs are few: places are expected to agree, as far as training does not find otherwise
(after Luong et al.'s local attention), and a dictionary is weighed in (Arthur, Neubig & Nakamura 2016,
"Incorporating discrete translation lexicons into neural machine translation").
"""

from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from workers.nn.attention import ATTENTIONS, attend
from workers.nn.config import ModelConfig
from workers.nn.inputs import TokensInput, table
from workers.nn.losses import NONE, Penalties, cross_entropy
from workers.nn.pooling import mean
from workers.nn.recurrent.cells import Recurrent
from workers.nn.recurrent.dropout import Dropout

NEAR = 3.0  # source tokens that a place may be off without much loss
FLOOR = 1e-3  # of what the dictionary says: what it does not know is unlikely, not impossible


class Translator(nn.Module):
    """Remembers a source, then gives the log-probabilities of one target token at a time."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        size, variational = config.hidden_size, config.variational_dropout
        self.embed = TokensInput(config)
        stack = partial(
            Recurrent, config.cell, layers=config.layers, dropout=config.dropout,
            variational=variational, weight_drop=config.weight_drop,
        )  # fmt: skip
        side = -(-size // 2) if config.bidirectional else size
        self.recurrent = stack(self.embed.width, side, bidirectional=config.bidirectional)
        self.remember = nn.Linear(side * self.recurrent.directions, size)
        self.targets = table(config.outputs, config.embedding_size)
        self.drop_targets = Dropout(config.input_dropout, variational=variational)
        self.decoder = stack(config.embedding_size, size, bidirectional=False)
        self.bridge = nn.Linear(size, self.decoder.state_rows * size)
        self.attention = ATTENTIONS[config.attention](size)
        self.agreement = nn.Parameter(torch.ones(())) if config.alignment else None
        if config.lexicon:
            sizes = (config.vocabularies[0], config.lexicon)
            self.register_buffer("lexicon_words", torch.zeros(sizes, dtype=torch.int64))
            self.register_buffer("lexicon_shares", torch.zeros(sizes))
        self.lexicon_words: Tensor
        self.lexicon_shares: Tensor
        width = config.embedding_size if config.tie_weights else size
        self.join = nn.Linear(2 * size, width)
        self.dropout = Dropout(config.dropout, variational=variational)
        self.out = nn.Linear(width, config.outputs)
        if config.tie_weights:
            self.out.weight = self.targets.weight
        self.scale = (
            float(config.embedding_size) ** 0.5
        )  # vectors of about unit length, as softmax wants them

    @property
    def state_rows(self) -> int:
        """First size of the encoder's state."""
        return self.recurrent.state_rows

    @property
    def state_size(self) -> int:
        """Last size of the encoder's state."""
        return self.recurrent.hidden_size

    @property
    def decoder_rows(self) -> int:
        """First size of the decoder's state (decoder_rows, batch, hidden)."""
        return self.decoder.state_rows + bool(self.config.alignment)

    step_loss: ClassVar[bool] = False  # a sequence is learned as a whole
    row_loss: ClassVar[bool] = False  # but each of its target tokens has a loss

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
        state = self.initial_state(len(inputs)) if state is None else state
        embedded, lengths = self.recurrent_inputs(inputs, lengths)  # (batch, time, width)
        seen, _ = self.recurrent(embedded, state, lengths)  # (batch, time, states)
        memory, first = self._encoded(inputs, seen, lengths)
        read = self.drop_targets(self.scale * self.targets(targets[:, :-1]))  # (batch, steps, embedding)
        states, _ = self.decoder(read, first[: self.decoder.state_rows])
        places = torch.arange(states.shape[1], device=states.device)[None]  # (1, steps)
        logits, _ = self._logits(states, memory, lengths, places)
        loss = cross_entropy(logits.float(), targets[:, 1:], weights[:, 1:], penalties.label_smoothing)
        return loss, state

    def recurrent_inputs(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """What the encoder's stack reads of a source (batch, time, width), and its lengths (batch,)."""
        return self.scale * self.embed(inputs, lengths), lengths

    def forward_last(self, inputs: Tensor, lengths: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Memory (batch, time, width) of a source, and the decoder's first state (rows, batch, hidden)."""
        embedded, lengths = self.recurrent_inputs(inputs, lengths)  # (batch, time, width)
        seen, _ = self.recurrent.forward_ragged(embedded, lengths, state)  # (batch, time, states)
        return self._encoded(inputs, seen, lengths)

    def decode_step(
        self, tokens: Tensor, state: Tensor, memory: Tensor, lengths: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """After tokens (batch, 1): log-probabilities (batch, vocabulary), state, attention (batch, time)."""
        rows = self.decoder.state_rows
        states, last = self.decoder(self.scale * self.targets(tokens), state[:rows])
        place = state[-1, :, :1]  # (batch, 1): the last row counts the steps, if there is one
        logits, weights = self._logits(states, memory, lengths, place)
        if self.agreement is not None:
            last = torch.cat([last, state[rows:] + 1])
        return torch.log_softmax(logits.squeeze(1), dim=-1), last, weights.squeeze(1)

    def _encoded(self, inputs: Tensor, seen: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        memory = self.remember(seen).to(self.bridge.weight.dtype)  # (batch, time, hidden); ids follow
        first = torch.tanh(self.bridge(mean(memory, lengths))).view(
            -1, self.decoder.state_rows, self.config.hidden_size
        )
        first = first.transpose(0, 1).contiguous()
        if self.agreement is not None:
            first = torch.cat([first, torch.zeros_like(first[:1])])
        if self.config.lexicon:  # the tokens themselves lie behind what is remembered of them
            memory = torch.cat([memory, inputs[:, :, :1].to(memory.dtype)], dim=-1)
        return memory, first

    def _logits(
        self, states: Tensor, memory: Tensor, lengths: Tensor, places: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Decoder states (batch, steps, hidden) to logits (batch, steps, vocabulary) and attention.

        Places (1 or batch, steps) are the numbers of the steps.
        """
        seen = memory[..., : self.config.hidden_size]
        scores = self.attention(states, seen)  # (batch, steps, time)
        if self.agreement is not None:
            there = torch.arange(memory.shape[1], device=memory.device)
            off = (there - self.config.alignment * places[:, :, None]) / NEAR  # (…, steps, time)
            scores = scores - self.agreement * torch.log1p(off * off)
        read, weights = attend(scores, seen, lengths)
        joined = torch.tanh(self.join(torch.cat([states, read], dim=-1)))
        logits: Tensor = self.out(self.dropout(joined))
        if self.config.lexicon:
            logits = logits + torch.log(self._looked_up(memory[..., -1].long(), weights) + FLOOR)
        return logits, weights

    def _looked_up(self, tokens: Tensor, weights: Tensor) -> Tensor:
        """What the dictionary says of source tokens (batch, time) by their weights (batch, steps, time)."""
        batch, steps, time = weights.shape
        words = self.lexicon_words[tokens].view(batch, 1, time * self.config.lexicon)
        shares = weights.float()[..., None] * self.lexicon_shares[tokens][:, None]
        shares_of_words = shares.new_zeros(batch, steps, self.config.outputs)
        return shares_of_words.scatter_add(2, words.expand(-1, steps, -1), shares.view(batch, steps, -1))

    def initial_state(self, batch: int) -> Tensor:
        """The encoder's state before the first step."""
        return self.recurrent.initial_state(batch)

    def count(self) -> int:
        """Number of trainable parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    def flatten(self) -> None:
        """Lay the recurrent weights out as one block, as cuDNN wants them after loading or copying."""
        self.recurrent.flatten()
        self.decoder.flatten()
