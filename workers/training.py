"""THE training loop: any network, any split, observers by callback."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from app.tasks.base import Batch, Split
from workers.data import plain_batches, steps_per_epoch, to_device, training_batches
from workers.keeping import Average, Best
from workers.nn.model import SequenceModel
from workers.schedule import OPTIMIZERS, SCHEDULES

Json = dict[str, Any]
PULSE = 0.25  # seconds between reports within an epoch


class TrainingDiverged(Exception):
    """The loss is not a finite number any more."""


@dataclass(frozen=True)
class TrainingConfig:
    """How to train; every field is JSON."""

    epochs: int = 20
    batch_size: int = 128
    learning_rate: float = 1e-3
    clip_norm: float = 1.0
    patience: int = 5
    seed: int = 0
    max_seconds: float | None = None
    optimizer: str = "adam"
    schedule: str = "one_cycle"
    weight_decay: float = 0.0
    bptt_steps: int | None = None  # None: through the whole sequence
    autocast: bool = False
    averaging: float = 0.98  # of an exponential average of the weights, which is what is kept


@dataclass(frozen=True)
class Fit:
    """How it went; the model holds the weights of the best epoch."""

    best_epoch: int  # 0 = untrained
    best_step: int
    best_loss: float | None  # on the validation split, None without one
    total_steps: int  # what the schedule was made for
    stopped: bool
    history: list[Json] = field(default_factory=list)


@dataclass(frozen=True)
class Again:
    """Train on more data exactly as far as an earlier fit went before it stopped getting better."""

    steps: int
    total_steps: int


class Reporter:
    """Tells how far an epoch is, a few times a second."""

    def __init__(self, on: Callable[[Json], None], phase: str, epochs: int, steps: int) -> None:
        self._on, self._phase, self._epochs, self._steps = on, phase, epochs, steps
        self._told = self._began = time.monotonic()
        self._samples = 0

    def step(self, epoch: int, step: int, samples: int, loss: float) -> None:
        """One step is done."""
        self._samples += samples
        now = time.monotonic()
        if now - self._told < PULSE and step < self._steps:
            return
        self._told = now
        speed = self._samples / max(now - self._began, 1e-6)
        progress = {"epoch": epoch, "epochs": self._epochs, "step": step, "steps": self._steps}
        more = {"samples_per_second": round(speed, 1), "train_loss": loss, "phase": self._phase}
        self._on({"type": "progress", **progress, **more})

    def epoch(self, epoch: int, seconds: float, losses: Json) -> None:
        """One epoch is done."""
        self._on(
            {"type": "epoch", "epoch": epoch, **losses, "seconds": round(seconds, 3), "phase": self._phase}
        )


class Loop:
    """The moving parts of one fit."""

    def __init__(
        self, model: SequenceModel, config: TrainingConfig, device: torch.device, total: int
    ) -> None:
        self.model = model
        self.config = config
        self.device = device
        self.optimizer = OPTIMIZERS[config.optimizer](
            model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        shape = SCHEDULES[config.schedule]
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: shape(step, total))
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.autocast)
        self.average = Average(model, config.averaging)
        self.done, self.end = 0, total  # steps

    def epoch(
        self, train: Split, number: int, reporter: Reporter, should_stop: Callable[[], bool]
    ) -> tuple[bool, Json]:
        """One pass over the training split, or what is left of it; whether it was stopped, and figures."""
        torch.manual_seed(self.config.seed * 1_000_003 + number)  # dropout depends on seed and epoch alone
        losses, norms = [], []
        for batch in training_batches(train, self.config.batch_size, self.config.seed, number):
            if should_stop():
                return True, {}
            loss, norm = self.step(batch)
            losses.append(loss)
            norms.append(norm)
            self.done += 1
            reporter.step(number, self.done, len(batch.lengths), loss)
            if self.done >= self.end:
                break
        return False, {
            "train_loss": sum(losses) / len(losses),
            "learning_rate": self.schedule.get_last_lr()[0],
            "grad_norm": sum(norms) / len(norms),
        }

    def step(self, batch: Batch) -> tuple[float, float]:
        """One step of the optimiser; the mean loss and the norm of the gradient."""
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        total, weight = 0.0, max(float(batch.weights.sum()), 1e-9)
        for loss in self._losses(to_device(batch, self.device)):
            torch.autograd.backward(self.scaler.scale(loss / weight))
            total += float(loss.detach()) / weight
        self.scaler.unscale_(self.optimizer)
        norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm))
        if not math.isfinite(total) or (not math.isfinite(norm) and not self.config.autocast):
            raise TrainingDiverged(
                f"The loss became {total} and the gradient {norm}; try a lower learning_rate or clip_norm."
            )
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.schedule.step()
        self.average.update(self.model)
        return total, norm

    def _losses(self, tensors: tuple[Tensor, Tensor, Tensor, Tensor]) -> Iterator[Tensor]:
        """Summed losses of chunks of time, each a graph of its own that goes on from the last one's state.

        Williams & Peng (1990): the gradient is cut between chunks, the state is carried.
        """
        inputs, _, targets, weights = tensors
        time = inputs.shape[1]
        chunk = self.config.bptt_steps or time
        state: Tensor | None = None
        for start in range(0, time, chunk):
            part = slice(start, start + chunk)
            with torch.autocast(self.device.type, enabled=self.config.autocast):
                outputs, state = self.model(inputs[:, part], None if state is None else state.detach())
            yield self.model.loss(outputs.float(), targets[:, part], weights[:, part])


@torch.no_grad()
def mean_loss(model: SequenceModel, batches: Sequence[Batch], device: torch.device) -> float | None:
    """The weighted mean loss over a split; None if there is nothing in it."""
    model.eval()
    total = weight = 0.0
    for batch in batches:
        inputs, _, targets, weights = to_device(batch, device)
        outputs, _ = model(inputs)
        total += float(model.loss(outputs, targets, weights))
        weight += float(batch.weights.sum())
    return total / weight if weight else None


def fit(
    model: SequenceModel,
    train: Split,
    valid: Split | None,
    config: TrainingConfig,
    *,
    device: torch.device,
    on: Callable[[Json], None],
    should_stop: Callable[[], bool],
    again: Again | None = None,
) -> Fit:
    """Train until the validation loss stops falling; the model ends up with the best averaged weights.

    With `again` train as many steps as that says under the same schedule, without validation. Raises
    `TrainingDiverged`. The same seed, data and device give the same weights bit for bit.
    """
    began = time.monotonic()
    model.to(device).flatten()
    per_epoch = steps_per_epoch(train, config.batch_size)
    total = again.total_steps if again else per_epoch * config.epochs
    loop, best = Loop(model, config, device, total), Best(config.patience)
    loop.end = again.steps if again else total
    checks = list(plain_batches(valid, 4 * config.batch_size)) if valid and not again else []
    reporter = Reporter(on, "refit" if again else "fit", -(-loop.end // per_epoch), loop.end)
    best.offer(mean_loss(loop.average.model, checks, device), 0, 0, loop.average)
    epoch, stopped, history = 0, False, list[Json]()
    while loop.done < loop.end:
        epoch, start = epoch + 1, time.monotonic()
        stopped, entry = loop.epoch(train, epoch, reporter, should_stop)
        if stopped:
            break
        entry["valid_loss"] = mean_loss(loop.average.model, checks, device)
        best.offer(entry["valid_loss"], epoch, loop.done, loop.average)
        history.append({"epoch": epoch, **entry})
        reporter.epoch(epoch, time.monotonic() - start, entry)
        late = config.max_seconds is not None and time.monotonic() - began > config.max_seconds
        if best.waited_enough(epoch) or late:
            break
    model.load_state_dict(best.weights)
    return Fit(best.epoch, best.step, best.loss, total, stopped, history)
