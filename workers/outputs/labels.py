"""LABELS: one label a step, decoded together by Viterbi's algorithm."""

from typing import Any

import torch
from torch import Tensor

from app.arrays import Ints
from app.tasks.contract import Split
from workers.decoding import viterbi
from workers.nn.ensemble import mean_outputs
from workers.nn.heads import LabelsHead
from workers.outputs.kind import Evaluation, OutputKind, recurrent_with
from workers.outputs.split_order import ordered_batches, to_device


@torch.no_grad()
def evaluate_labels(network: Any, split: Split, size: int, device: torch.device) -> Evaluation:
    """The best labels (time,) of each example."""
    transitions = network.transitions()
    scores = None if transitions is None else transitions.float().cpu().numpy()  # (labels + 2, labels)
    for rows, batch in ordered_batches(split, size):
        inputs, lengths, _, _ = to_device(batch, device)
        emissions = network.predict(inputs, lengths).float().cpu().numpy()  # (batch, time, labels)
        labels = viterbi.best(emissions, batch.lengths, scores)  # (batch, time)
        yield rows, [row[:length] for row, length in zip(labels, batch.lengths.tolist(), strict=True)]


def path_score(network: Any, inputs: Tensor, lengths: Tensor, output: Ints) -> Tensor:
    """The score of the labels (time,) that were chosen: the sum of their log-probabilities, or a CRF's."""
    emissions: Tensor = network.predict(inputs, lengths)[0]  # (time, labels)
    labels = torch.as_tensor(output)  # (time,)
    score = emissions.gather(1, labels[:, None]).sum()
    transitions: Tensor | None = network.transitions()
    if transitions is None:
        return score
    count = emissions.shape[1]
    ends = transitions[count, labels[0]] + transitions[count + 1, labels[-1]]
    return score + ends + transitions[labels[:-1], labels[1:]].sum()


LABELS = OutputKind(
    recurrent_with(LabelsHead), mean_outputs, evaluate_labels, path_score, export_axes={0: "batch", 1: "time"}
)
