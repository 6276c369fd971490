"""What training minimises, as sums so that chunks of a sequence add up."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Penalties:
    """What training adds to the loss, and validation does not."""

    label_smoothing: float = 0.0  # Szegedy et al. (2016)
    activation: float = 0.0  # AR and TAR: Merity, McCann & Socher (2017), "Revisiting activation …"
    temporal: float = 0.0


NONE = Penalties()


def unhalved(outputs: Tensor) -> Tensor:
    """Outputs (…) in single precision if they are in half; double precision stays."""
    return outputs.to(torch.promote_types(outputs.dtype, torch.float32))


def quantile_loss(outputs: Tensor, targets: Tensor, weights: Tensor, quantiles: Sequence[float]) -> Tensor:
    """Weighted sum of the pinball loss; outputs (…, horizon * quantiles), targets and weights (…, horizon).

    Koenker & Bassett (1978), "Regression quantiles".
    """
    levels = outputs.new_tensor(quantiles)  # (quantiles,)
    error = targets.unsqueeze(-1) - outputs.reshape(*targets.shape, len(quantiles))
    losses = torch.maximum(levels * error, (levels - 1) * error)  # (…, horizon, quantiles)
    return (losses.mean(dim=-1) * weights).sum()


def cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor, smoothing: float) -> Tensor:
    """Weighted sum of the negative log-likelihood; logits (…, classes), targets and weights (…)."""
    return (token_losses(logits, targets, smoothing) * weights).sum()


def token_losses(logits: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Negative log-likelihood of each target (…) in nats."""
    flat, wanted = logits.reshape(-1, logits.shape[-1]), targets.reshape(-1)
    losses = nn.functional.cross_entropy(flat, wanted, reduction="none", label_smoothing=smoothing)
    return losses.view(targets.shape)


def ctc_loss(outputs: Tensor, lengths: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Sum over rows of the CTC loss; outputs (batch, time, labels) are log-probabilities, label 0 the blank.

    A row's targets (batch, target time) are those of a positive weight; a row without any counts nothing, nor
    does one with too few steps for its targets. Graves et al. (2006), "Connectionist temporal
    classification".
    """
    counts = (weights > 0).sum(dim=1)  # (batch,)
    losses = nn.functional.ctc_loss(
        outputs.transpose(0, 1), targets, lengths, counts, blank=0, reduction="none", zero_infinity=True
    )  # (batch,)
    return (losses * (counts > 0)).sum()


def activation_penalties(states: Tensor, dropped: Tensor, penalties: Penalties) -> Tensor:
    """How large dropped states are, and how much states change from step to step (batch, time, width)."""
    cost = states.new_zeros(())
    if penalties.activation:
        cost = cost + penalties.activation * dropped.pow(2).mean()
    if penalties.temporal and states.shape[1] > 1:
        cost = cost + penalties.temporal * (states[:, 1:] - states[:, :-1]).pow(2).mean()
    return cost
