"""QUANTILES: quantiles of all lead times at once, predicted at the last real step."""

from typing import Any

from torch import Tensor

from app.arrays import Floats
from workers.nn.ensemble import mean_outputs
from workers.nn.heads import QuantilesHead
from workers.outputs.kind import OutputKind, recurrent_with
from workers.outputs.whole_rows import evaluate_rows


def sum_of_means(network: Any, inputs: Tensor, lengths: Tensor, output: Floats) -> Tensor:
    """The forecast of all lead times together: of each the mean of its quantiles, on the network's scale."""
    del output
    quantiles: Tensor = network.predict(inputs, lengths)  # (1, horizon * quantiles)
    return quantiles.reshape(-1, len(network.config.quantiles)).mean(dim=1).sum()


QUANTILES = OutputKind(recurrent_with(QuantilesHead), mean_outputs, evaluate_rows, sum_of_means)
