"""Dropout of activations, of whole words and of recurrent weights; all of it only in training."""

from torch import Tensor, nn


class Dropout(nn.Module):
    """Dropout of (batch, time, width); a variational one has one mask for all steps.

    Gal & Ghahramani (2016), "A theoretically grounded application of dropout in recurrent neural networks".
    """

    def __init__(self, rate: float, *, variational: bool) -> None:
        super().__init__()
        self.rate, self.variational = rate, variational

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, time, width) to the same, or of rows (batch, width) too."""
        if not self.training or not self.rate:
            return inputs
        if not self.variational or inputs.dim() < 3:
            return nn.functional.dropout(inputs, self.rate)
        kept = inputs.new_empty(inputs.shape[0], 1, inputs.shape[2]).bernoulli_(1 - self.rate)
        return inputs * (kept / (1 - self.rate))  # (batch, time, width)


def drop_words(vectors: Tensor, rate: float) -> Tensor:
    """Vectors of words (batch, time, width) of which a share is zero as a whole (Iyyer et al. 2015)."""
    kept = vectors.new_empty(*vectors.shape[:-1], 1).bernoulli_(1 - rate)
    return vectors * (kept / (1 - rate))


def drop_weights(module: nn.Module, rate: float) -> dict[str, Tensor]:
    """A cell's recurrent weights with some of them zero, by name.

    DropConnect on hidden-to-hidden matrices: Merity, Keskar & Socher (2018), "Regularizing and optimizing
    LSTM language models".
    """
    return {
        name: nn.functional.dropout(weight, rate)
        for name, weight in module.named_parameters()
        if name.startswith("weight_hh")
    }
