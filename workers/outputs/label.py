"""LABEL: log-probabilities of the labels of a whole sequence."""

from workers.nn.ensemble import mean_log
from workers.nn.heads import LabelHead
from workers.outputs.kind import OutputKind, recurrent_with
from workers.outputs.whole_rows import evaluate_rows

LABEL = OutputKind(recurrent_with(LabelHead), mean_log, evaluate_rows)
