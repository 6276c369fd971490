"""LABEL: log-probabilities of the labels of a whole sequence."""

from typing import Any

from torch import Tensor

from app.arrays import Floats
from workers.nn.ensemble import mean_log
from workers.nn.heads import LabelHead
from workers.outputs.kind import OutputKind, recurrent_with
from workers.outputs.whole_rows import evaluate_rows


def label_score(network: Any, inputs: Tensor, lengths: Tensor, output: Floats) -> Tensor:
    """The log-probability of the winning label."""
    logs: Tensor = network.predict(inputs, lengths)  # (1, labels)
    return logs[0, int(output.argmax())]


LABEL = OutputKind(recurrent_with(LabelHead), mean_log, evaluate_rows, label_score)
