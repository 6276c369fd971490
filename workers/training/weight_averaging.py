"""Which weights training keeps: averaged ones, of the best epoch."""

import copy

import torch
from torch import Tensor

from workers.nn import Trainable
from workers.training.snapshot import Snapshot, copied, of_module


class Average:
    """An exponential moving average of weights, faster at first (Polyak & Juditsky 1992)."""

    def __init__(self, model: Trainable, decay: float) -> None:
        self.model = copy.deepcopy(model)
        self.model.flatten()
        self._decay = decay
        self._count = 0

    @torch.no_grad()
    def update(self, model: Trainable) -> None:
        """Take the present weights in."""
        self._count += 1
        keep = min(self._decay, self._count / (self._count + 9))
        for mine, new in zip(self.model.parameters(), model.parameters(), strict=True):
            mine.lerp_(new, 1 - keep)

    def copy(self) -> dict[str, Tensor]:
        """The averaged weights as they are now."""
        return {name: value.clone() for name, value in self.model.state_dict().items()}

    def snapshot(self) -> Snapshot:
        """The averaged weights, and how many there were to average."""
        return Snapshot({"count": self._count}, of_module(self.model).tensors)

    def restore(self, snapshot: Snapshot) -> None:
        """The inverse of `snapshot`."""
        self._count = snapshot.facts["count"]
        self.model.load_state_dict(snapshot.tensors)


class Best:
    """The best epoch so far, by validation loss; without validation, or when `latest`, the last one."""

    def __init__(self, patience: int, *, latest: bool = False) -> None:
        self._latest = latest
        self.loss: float | None = None
        self.epoch = self.step = 0
        self.weights: dict[str, Tensor] = {}
        self._patience = patience

    def offer(self, loss: float | None, epoch: int, step: int, average: Average) -> None:
        """Keep the weights if they are the best yet."""
        if self._latest or loss is None or self.loss is None or loss < self.loss:
            self.loss, self.epoch, self.step, self.weights = loss, epoch, step, average.copy()

    def waited_enough(self, epoch: int) -> bool:
        """Whether nothing got better for longer than the patience."""
        return not self._latest and self.loss is not None and epoch - self.epoch >= self._patience

    def snapshot(self) -> Snapshot:
        """The best epoch and its weights."""
        facts = {"loss": self.loss, "epoch": self.epoch, "step": self.step}
        return Snapshot(facts, {name: copied(value) for name, value in self.weights.items()})

    def restore(self, snapshot: Snapshot) -> None:
        """The inverse of `snapshot`."""
        facts = snapshot.facts
        self.loss, self.epoch, self.step = facts["loss"], facts["epoch"], facts["step"]
        self.weights = snapshot.tensors
