"""The outputs of a network for every example of a split, and the weight that n-grams have in them."""

from typing import Any

import numpy as np
import torch

from app.arrays import Array, Ints
from app.tasks.contract import Split
from app.tasks.shared.label_metrics import MAX_TEMPERATURE, fit_temperature, log_loss, probabilities
from workers.nn import Member, Network, Translator
from workers.nn.heads import LabelHead
from workers.outputs import OUTPUTS
from workers.outputs.split_order import ordered_batches

SHARES = [step / 20 for step in range(20)]  # of n-grams in the sum of both, each calibrated
EXPECTED_SHARE = 0.8  # where few examples tell
PRIOR_COST = 60.0  # nats of all examples together, at a share that is 1 away from the expected one


def outputs_of(network: Network, split: Split, size: int, device: torch.device) -> list[Any]:
    """One output for each example, in split order; `size` examples are computed at once."""
    network.eval()
    outputs: list[Any] = [None] * len(split.lengths)
    for rows, row_outputs in OUTPUTS[network.config.output].evaluate(network, split, size, device):
        for row, output in zip(rows.tolist(), row_outputs, strict=True):
            outputs[row] = output
    return outputs


def fit_ngram_weight(model: Member, valid: Split, size: int, device: torch.device) -> float | None:
    """The weight that the scores of n-grams get, of the lowest calibrated loss on the validation split.

    0, where they count nothing, without a validation split; None of a network that has no such scores.
    """
    if isinstance(model, Translator) or not isinstance(model.head, LabelHead) or model.head.ngrams is None:
        return None
    best, weight = 0.0, model.head.ngrams.weight
    if len(valid.lengths):
        expected = np.concatenate([batch.targets for _, batch in ordered_batches(valid, size)])  # (examples,)
        weight.fill_(0.0)
        plain = np.stack(outputs_of(model, valid, size, device)).astype(np.float64)  # (examples, labels)
        weight.fill_(1.0)
        scores = np.stack(outputs_of(model, valid, size, device)) - plain  # (examples, labels)
        best = _best_weight(plain, scores, expected)
    weight.fill_(best)
    return best


def _best_weight(plain: Array, scores: Array, expected: Ints) -> float:
    """What to multiply scores (examples, labels) by before they are added to the network's own.

    A prior, whose cost counts the less the more examples there are, holds the share near the expected one: a
    hundred examples cannot tell a good share from a bad one, and on few texts n-grams are the better half.
    """
    scores = scores - scores.mean(axis=1, keepdims=True)
    spread = max(float(scores.std()), 1e-9)
    if fit_temperature(scores / spread, expected) > MAX_TEMPERATURE / 2:  # they say nothing, or the opposite
        return 0.0
    calibrated = fit_temperature(plain, expected) / fit_temperature(scores, expected)

    def cost(share: float) -> float:
        outputs = plain + calibrated * share / (1 - share) * scores
        likely = probabilities(outputs, fit_temperature(outputs, expected))
        return log_loss(likely, expected) + PRIOR_COST * (share - EXPECTED_SHARE) ** 2 / len(expected)

    best = min(SHARES, key=cost)
    return calibrated * best / (1 - best)
