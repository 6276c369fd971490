"""What training minimises: a table by kind of output, as sums so that chunks of a sequence add up."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from app.tasks.base import Output


def quantile_loss(outputs: Tensor, targets: Tensor, weights: Tensor, quantiles: Sequence[float]) -> Tensor:
    """Weighted sum of the pinball loss; outputs (…, horizon * quantiles), targets and weights (…, horizon).

    Koenker & Bassett (1978), "Regression quantiles".
    """
    levels = outputs.new_tensor(quantiles)  # (quantiles,)
    error = targets.unsqueeze(-1) - outputs.reshape(*targets.shape, len(quantiles))
    losses = torch.maximum(levels * error, (levels - 1) * error)  # (…, horizon, quantiles)
    return (losses.mean(dim=-1) * weights).sum()


LOSSES: dict[Output, Callable[[Tensor, Tensor, Tensor, Sequence[float]], Tensor]] = {
    Output.QUANTILES: quantile_loss,
}
