"""Diagnostics of a network while it is trained, at some epochs and at the end."""

import math

import numpy as np
import torch

from app.arrays import Ints
from app.tasks.contract import Split
from app.typedefs import Json
from workers.diagnostics.measure import diagnose
from workers.diagnostics.verdict import judge
from workers.nn import LanguageModel, Trainable
from workers.outputs.split_order import ordered_rows, to_device

PROBE_ROWS = 8
STEPS_PER_PROBE = 200  # of the optimiser: a probe costs as much as one to four of them
MAX_PROBES = 16
LENGTH_SHARE = 0.75  # of the examples are shorter than those that are looked at


def probe_epochs(epochs: int, steps: int) -> frozenset[int]:
    """The epochs of a training of so many steps that are looked at: the first, the last, and some between."""
    count = min(max(steps // STEPS_PER_PROBE, 1), MAX_PROBES, epochs)
    return frozenset(1 + place * (epochs - 1) // max(count - 1, 1) for place in range(count))


def _rows(split: Split) -> Ints:
    """Rows of nearly equal length, so that their ends lie close together; streams as they begin."""
    if split.carried:
        return ordered_rows(split, PROBE_ROWS)[0]
    order = np.argsort(split.lengths, kind="stable")
    start = min(int(LENGTH_SHARE * len(order)), max(len(order) - PROBE_ROWS, 0))
    return np.sort(order[start : start + PROBE_ROWS])


class Probe:
    """Looks at networks on the same few examples of the training split."""

    def __init__(self, split: Split, epochs: frozenset[int], device: torch.device) -> None:
        self._batch = to_device(split.batch(_rows(split), None), device)
        self._epochs = epochs

    def epoch(self, model: Trainable, epoch: int, gain: float | None) -> Json | None:
        """Diagnostics after an epoch; None for most epochs."""
        return self.final(model, gain) if epoch in self._epochs else None

    def final(self, model: Trainable, gain: float | None) -> Json | None:
        """Diagnostics with their verdict; None without recurrence, and of pretraining.

        `gain` is the share by which the validation loss has fallen since before the training.
        """
        if isinstance(model, LanguageModel):
            return None
        measured = diagnose(model, self._batch)
        if measured is None or not all(math.isfinite(norm) for _, norm in measured["gradient_by_lag"]):
            return None
        return measured | judge(measured, model.config.cell, gain)
