"""Heads: what turns recurrent states into outputs, and the loss that training minimises there.

Every head reads states (batch, time, states) of sequences with their lengths (batch,) and the embedded
inputs (batch, time, inputs). `forward` gives outputs at every step; `predict` those that a prediction needs:
QUANTILES and NEXT_TOKEN at the last real step (batch, width), else all; `loss` is the weighted sum to be
minimised. `step_loss`: every step has a loss of its own, so that a sequence can be learned in parts.
`row_loss`: a row has one loss, the likelihood of all its targets together.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from app.tasks.contract import PADDING, PAIR_FACTOR, UNKNOWN
from workers.nn.config import ModelConfig
from workers.nn.crf import CRF
from workers.nn.losses import (
    Penalties,
    activation_penalties,
    cross_entropy,
    ctc_loss,
    quantile_loss,
    unhalved,
)
from workers.nn.pooling import POOLINGS
from workers.nn.recurrent.cells import at, real
from workers.nn.recurrent.dropout import Dropout


@dataclass(frozen=True)
class HeadInput:
    """What a head reads of a batch."""

    states: Tensor  # (batch, time, states)
    embedded: Tensor  # (batch, time, inputs)
    lengths: Tensor  # (batch,)
    inputs: Tensor | None = None  # (batch, time, features); of one step, none


def last_steps(read: HeadInput) -> HeadInput:
    """The last real step of each row alone, its states and its input (batch, 1, width)."""
    last = read.lengths - 1
    return HeadInput(at(read.states, last), at(read.embedded, last), torch.ones_like(last))


class QuantilesHead(nn.Module):
    """A dense layer over state and input of a step, then all quantiles of all lead times at once.

    A straight way past the recurrence carries what is linear in the input (as the autoregression of LSTNet,
    Lai et al. 2018). Both last layers start at zero: an untrained network answers 0, where targets centre.
    """

    step_loss: ClassVar[bool] = True
    row_loss: ClassVar[bool] = False

    def __init__(self, config: ModelConfig, states: int, inputs: int) -> None:
        super().__init__()
        self.quantiles = config.quantiles
        self.dropout = nn.Dropout(config.dropout)
        self.hidden = nn.Linear(states + inputs, config.hidden_size)
        self.out = nn.Linear(config.hidden_size, config.outputs)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.direct = nn.Linear(inputs, config.outputs, bias=False)
        nn.init.zeros_(self.direct.weight)

    def forward(self, read: HeadInput) -> Tensor:
        """(batch, time, outputs)."""
        joined = torch.cat(
            [self.dropout(read.states), read.embedded], dim=-1
        )  # (batch, time, states + inputs)
        curved: Tensor = self.out(nn.functional.silu(self.hidden(joined)))  # (batch, time, outputs)
        straight: Tensor = self.direct(read.embedded)
        return curved + straight

    def predict(self, read: HeadInput) -> Tensor:
        """(batch, outputs)."""
        return self(last_steps(read)).squeeze(1)  # type: ignore[no-any-return]

    def loss(self, read: HeadInput, targets: Tensor, weights: Tensor, penalties: Penalties) -> Tensor:
        """Pinball loss of targets (batch, time, horizon)."""
        del penalties
        return quantile_loss(self(read).float(), targets, weights, self.quantiles)


class NgramScores(nn.Module):
    """Scores of the classes that are sums over tokens and pairs of neighboring tokens; they are not trained.

    The row of padding is what a text scores before any token. With log-count ratios in the tables it is naive
    Bayes (Wang & Manning 2012, "Baselines and bigrams"). Mesnil et al. (2014), "Ensemble of generative and
    discriminative techniques", add it to a recurrent network with a weight that is chosen on validation data.
    """

    tokens: Tensor
    pairs: Tensor
    weight: Tensor

    def __init__(self, vocabulary: int, pair_rows: int, classes: int) -> None:
        super().__init__()
        self.register_buffer("tokens", torch.zeros(vocabulary, classes))
        self.register_buffer("pairs", torch.zeros(pair_rows, classes))
        self.register_buffer("weight", torch.zeros(()))  # 0: the scores do not count

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Weighted scores (batch, classes) of inputs (batch, time, columns), whose first column is tokens."""
        return self.weight * (self.step_scores(inputs, lengths).sum(dim=1) + self.tokens[PADDING])

    def step_scores(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """What each token and its pair with the one before it add (batch, time, classes), unweighted."""
        second = inputs[:, :, 0]  # (batch, time)
        first = torch.cat([torch.zeros_like(second[:, :1]), second[:, :-1]], dim=1)  # (batch, time)
        known = real(lengths, second.shape[1]) & (second > UNKNOWN)  # (batch, time)
        both = known & (first > UNKNOWN)  # (batch, time)
        rows = (first * PAIR_FACTOR + second) % self.pairs.shape[0]  # (batch, time)
        single = self.tokens[second] * known[:, :, None]  # (batch, time, classes)
        paired = self.pairs[rows] * both[:, :, None]  # (batch, time, classes)
        return single + paired


class LabelHead(nn.Module):
    """One label for a sequence: its states pooled, then log-probabilities of the classes.

    Scores of tokens and their pairs, where it has them, count in predictions only: on the texts that their
    tables were counted in they are nearly always right, and would leave the network nothing to learn.
    """

    step_loss: ClassVar[bool] = False
    row_loss: ClassVar[bool] = False

    def __init__(self, config: ModelConfig, states: int, inputs: int) -> None:
        super().__init__()
        del inputs
        self.pool = POOLINGS[config.pooling](states, 2 if config.bidirectional else 1)
        self.dropout = nn.Dropout(config.dropout)
        width: int = self.pool.width  # type: ignore[assignment]
        self.out = nn.Linear(width, config.outputs)
        self.ngrams = (
            NgramScores(config.vocabularies[0], config.pair_rows, config.outputs)
            if config.pair_rows
            else None
        )

    def forward(self, read: HeadInput) -> Tensor:
        """(batch, classes)."""
        return torch.log_softmax(self._logits(read), dim=-1)

    def _logits(self, read: HeadInput) -> Tensor:
        logits: Tensor = self.out(self.dropout(self.pool(read.states, read.lengths)))  # (batch, classes)
        return logits

    def predict(self, read: HeadInput) -> Tensor:
        """(batch, classes)."""
        if self.ngrams is None or read.inputs is None:
            return self(read)  # type: ignore[no-any-return]
        return torch.log_softmax(self._logits(read) + self.ngrams(read.inputs, read.lengths), dim=-1)

    def loss(self, read: HeadInput, targets: Tensor, weights: Tensor, penalties: Penalties) -> Tensor:
        """Cross-entropy of targets (batch,)."""
        return cross_entropy(self(read).float(), targets, weights, penalties.label_smoothing)


class LabelsHead(nn.Module):
    """One label for each step, with or without a CRF that scores one label after another."""

    step_loss: ClassVar[bool] = False

    def __init__(self, config: ModelConfig, states: int, inputs: int) -> None:
        super().__init__()
        del inputs
        self.dropout = Dropout(config.dropout, variational=config.variational_dropout)
        self.out = nn.Linear(states, config.outputs)
        self.chain = CRF(config.outputs, config.forbidden) if config.crf else None
        self.row_loss = self.chain is not None

    def forward(self, read: HeadInput) -> Tensor:
        """Emissions (batch, time, tags)."""
        emissions: Tensor = self.out(self.dropout(read.states))
        return emissions if self.chain is not None else torch.log_softmax(emissions, dim=-1)

    def predict(self, read: HeadInput) -> Tensor:
        """(batch, time, tags)."""
        return self(read)  # type: ignore[no-any-return]

    def loss(self, read: HeadInput, targets: Tensor, weights: Tensor, penalties: Penalties) -> Tensor:
        """Negative log-likelihood of targets (batch, time), of whole rows or of each step."""
        emissions = self(read).float()
        if self.chain is None:
            return cross_entropy(emissions, targets, weights, penalties.label_smoothing)
        return self.chain.loss(emissions, targets, weights)


class NextTokenHead(nn.Module):
    """The token that follows each step; the embedding may be the softmax's matrix (Press & Wolf 2017)."""

    step_loss: ClassVar[bool] = True
    row_loss: ClassVar[bool] = False

    def __init__(self, config: ModelConfig, states: int, inputs: int) -> None:
        super().__init__()
        del inputs
        self.dropout = Dropout(config.dropout, variational=config.variational_dropout)
        width = config.embedding_size if config.tie_weights else states
        self.project = nn.Linear(states, width) if width != states else nn.Identity()
        self.out = nn.Linear(width, config.outputs)

    def forward(self, read: HeadInput) -> Tensor:
        """Logits (batch, time, vocabulary)."""
        return self._logits(self.dropout(read.states))

    def _logits(self, states: Tensor) -> Tensor:
        logits: Tensor = self.out(self.project(states))
        return logits

    def predict(self, read: HeadInput) -> Tensor:
        """(batch, vocabulary)."""
        return self(last_steps(read)).squeeze(1)  # type: ignore[no-any-return]

    def loss(self, read: HeadInput, targets: Tensor, weights: Tensor, penalties: Penalties) -> Tensor:
        """Cross-entropy of targets (batch, time), and what keeps activations small and slow."""
        dropped = self.dropout(read.states)
        loss = cross_entropy(self._logits(dropped).float(), targets, weights, penalties.label_smoothing)
        return loss + activation_penalties(read.states, dropped, penalties) * weights.sum()


class AlignedHead(nn.Module):
    """Log-probabilities of labels at each step, label 0 being CTC's blank (Graves et al. 2006)."""

    step_loss: ClassVar[bool] = False
    row_loss: ClassVar[bool] = True

    def __init__(self, config: ModelConfig, states: int, inputs: int) -> None:
        super().__init__()
        del inputs
        self.dropout = Dropout(config.dropout, variational=config.variational_dropout)
        self.out = nn.Linear(states, config.outputs)

    def forward(self, read: HeadInput) -> Tensor:
        """(batch, time, labels), in single precision at least: the sums of CTC overflow half precision."""
        return torch.log_softmax(unhalved(self.out(self.dropout(read.states))), dim=-1)

    def predict(self, read: HeadInput) -> Tensor:
        """(batch, time, labels)."""
        return self(read)  # type: ignore[no-any-return]

    def loss(self, read: HeadInput, targets: Tensor, weights: Tensor, penalties: Penalties) -> Tensor:
        """Negative log-likelihood of target labels (batch, target time) in any alignment with the steps."""
        del penalties
        return ctc_loss(self(read), read.lengths, targets, weights)


Head = QuantilesHead | LabelHead | LabelsHead | NextTokenHead | AlignedHead
