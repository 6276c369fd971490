"""A language model over the inputs of another network: what its first layer learns before its own task.

Each direction of the first recurrent layer predicts the token that it reads next (Dai & Le 2015,
"Semi-supervised sequence learning"; Howard & Ruder 2018 for the order: language first, then the task).
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from workers.nn.inputs import TokensInput
from workers.nn.losses import NONE, Penalties, cross_entropy
from workers.nn.model import SequenceModel
from workers.nn.recurrent.cells import Recurrent, pick, turned
from workers.nn.recurrent.dropout import Dropout


class LanguageModel(nn.Module):
    """Shares embeddings and the first layer with a network; what it learns is there at once."""

    step_loss: ClassVar[bool] = False  # a sequence is learned as a whole
    row_loss: ClassVar[bool] = False  # but each of its tokens has a loss

    def __init__(self, model: SequenceModel) -> None:
        super().__init__()
        if not isinstance(model.embed, TokensInput) or not isinstance(model.recurrent, Recurrent):
            raise TypeError("A language model reads tokens one after the other.")
        self.config = model.config
        self.embed = model.embed
        stack = model.recurrent
        self.readers = nn.ModuleList([stack.forwards[0], *stack.backwards[:1]])
        self.dropout = Dropout(self.config.dropout, variational=self.config.variational_dropout)
        self.project = nn.Linear(self.config.hidden_size, self.config.embedding_size)
        self.bias = nn.Parameter(torch.zeros(self.config.vocabularies[0]))

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
        """The mean over the directions of the cross-entropy; targets (batch, time) are the next tokens.

        Read backwards, a row has the same number of next tokens, so the weights are the same.
        """
        del state
        embedded = self.embed(inputs, lengths)  # (batch, time, width)
        turn = turned(lengths, inputs.shape[1])  # (batch, time)
        back = pick(inputs[..., :1], turn).squeeze(-1)  # (batch, time), padding last
        sides = [(embedded, targets), (pick(embedded, turn), nn.functional.pad(back[:, 1:], (0, 1)))]
        total = embedded.new_zeros(())
        for reader, (read, wanted) in zip(self.readers, sides, strict=False):
            states, _ = reader(read)
            hidden = self.project(self.dropout(states))  # (batch, time, embedding)
            logits = nn.functional.linear(hidden, self.embed.vectors, self.bias)
            total = total + cross_entropy(logits.float(), wanted, weights, penalties.label_smoothing)
        return total / len(self.readers), embedded.new_zeros(0)

    def flatten(self) -> None:
        """Lay the recurrent weights out as one block."""
        for reader in self.readers:
            reader.flatten_parameters()  # type: ignore[operator]
