"""QUANTILES: quantiles of all lead times at once, predicted at the last real step."""

from workers.nn.ensemble import mean_outputs
from workers.nn.heads import QuantilesHead
from workers.outputs.kind import OutputKind, recurrent_with
from workers.outputs.whole_rows import evaluate_rows

QUANTILES = OutputKind(recurrent_with(QuantilesHead), mean_outputs, evaluate_rows)
