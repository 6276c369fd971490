"""The weights that a training ends with: averaged ones, of the best epoch."""

import copy

import torch
from torch import Tensor

from workers.nn import Trainable
from workers.training.snapshot import Snapshot, copied, of_module


class AveragedWeights:
    """An exponential moving average of weights, faster at first (Polyak & Juditsky 1992)."""

    def __init__(self, model: Trainable, decay: float) -> None:
        self.model = copy.deepcopy(model)
        self.model.flatten()
        self._decay = decay
        self._count = 0

    @torch.no_grad()
    def update(self, model: Trainable) -> None:
        """Add the present weights to the average."""
        self._count += 1
        decay = min(self._decay, self._count / (self._count + 9))
        for mine, new in zip(self.model.parameters(), model.parameters(), strict=True):
            mine.lerp_(new, 1 - decay)

    def snapshot(self) -> Snapshot:
        """The averaged weights, and how many updates they had."""
        return Snapshot({"count": self._count}, of_module(self.model).tensors)

    def restore(self, snapshot: Snapshot) -> None:
        """The inverse of `snapshot`."""
        self._count = snapshot.facts["count"]
        self.model.load_state_dict(snapshot.tensors)


class BestWeights:
    """The best epoch so far, by validation loss; without validation, or when `latest`, the last one."""

    def __init__(self, patience: int, *, latest: bool = False) -> None:
        self._latest = latest
        self.loss: float | None = None
        self.first_loss: float | None = None  # that was offered, of the untrained network
        self.epoch = self.step = 0
        self.weights: dict[str, Tensor] = {}
        self._patience = patience

    def offer(self, loss: float | None, epoch: int, step: int, model: Trainable) -> None:
        """Take the weights of this network if they are the best so far."""
        if not self.weights:
            self.first_loss = loss
        if self._latest or loss is None or self.loss is None or loss < self.loss:
            self.loss, self.epoch, self.step = loss, epoch, step
            self.weights = {name: value.clone() for name, value in model.state_dict().items()}

    @property
    def gain(self) -> float | None:
        """By which share of the first loss the best one is lower; None without validation."""
        if self.loss is None or not self.first_loss:
            return None
        return (self.first_loss - self.loss) / abs(self.first_loss)

    def patience_exhausted(self, epoch: int) -> bool:
        """Whether the loss has not improved for `patience` epochs."""
        return not self._latest and self.loss is not None and epoch - self.epoch >= self._patience

    def snapshot(self) -> Snapshot:
        """The best epoch and its weights."""
        facts = {"loss": self.loss, "first_loss": self.first_loss, "epoch": self.epoch, "step": self.step}
        return Snapshot(facts, {name: copied(value) for name, value in self.weights.items()})

    def restore(self, snapshot: Snapshot) -> None:
        """The inverse of `snapshot`."""
        facts = snapshot.facts
        self.loss, self.epoch, self.step = facts["loss"], facts["epoch"], facts["step"]
        self.first_loss = facts.get("first_loss")  # older checkpoints have none
        self.weights = snapshot.tensors
