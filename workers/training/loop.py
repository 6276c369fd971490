"""One training's moving parts: steps, epochs, and the snapshot from which they go on bit for bit."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from app.tasks.contract import Batch, Split
from app.typedefs import Json
from workers.nn import Trainable
from workers.nn.losses import Penalties
from workers.training.batches import TrainingBatches, kept, losses_in, to_device
from workers.training.device import has_half
from workers.training.schedules import OPTIMIZERS, SCHEDULES
from workers.training.snapshot import (
    Snapshot,
    copied,
    of_module,
    of_optimizer,
    of_random,
    restore_optimizer,
    restore_random,
)
from workers.training.weight_averaging import Average, Best


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
    selection: str = "best"  # which epoch is kept: of the lowest validation loss, or the last
    label_smoothing: float = 0.0
    activation_regularization: float = 0.0
    temporal_regularization: float = 0.0
    averaging: float = 0.98  # of an exponential average of the weights, which is what is kept


@dataclass
class Sums:
    """Of the steps of an epoch."""

    loss: float = 0.0
    norm: float = 0.0
    steps: int = 0
    seconds: float = 0.0  # up to the last snapshot


class Loop:
    """The moving parts of one fit."""

    def __init__(self, model: Trainable, config: TrainingConfig, device: torch.device, total: int) -> None:
        self.model = model
        self.config = config
        self.device = device
        self.optimizer = OPTIMIZERS[config.optimizer](
            model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        shape = SCHEDULES[config.schedule]
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: shape(step, total))
        self.autocast = config.autocast and has_half(device)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.autocast and device.type == "cuda")
        self.average, self.best = (
            Average(model, config.averaging),
            Best(config.patience, latest=config.selection == "last"),
        )
        self.done, self.end = 0, total  # steps
        self.epoch = 0  # the one that runs, or ran last
        self.batches: TrainingBatches | None = None  # of the epoch that runs
        self.carried: Tensor | None = None  # the state in which streams go on with the next batch
        self.penalties = Penalties(
            config.label_smoothing, config.activation_regularization, config.temporal_regularization
        )
        self.sums = Sums()
        self.history: list[Json] = []

    def run(self, train: Split, after: Callable[[int, float], bool]) -> bool:
        """What is left of the epoch that runs, or the next one; False when `after` a step said stop.

        `after` gets the examples and the loss of the step.
        """
        if self.batches is None:
            self.batches = self._batches(train, self.epoch + 1)
            self.sums, self.carried = Sums(), None
            torch.manual_seed(self.config.seed * 1_000_003 + self.epoch)  # dropout: of seed and epoch alone
        begun = time.monotonic() - self.sums.seconds
        for batch in self.batches:
            if self.done >= self.end:
                break
            loss, norm = self.step(batch, carry=train.carried)
            self.done += 1
            self.sums.loss += loss
            self.sums.norm += norm
            self.sums.steps += 1
            self.sums.seconds = time.monotonic() - begun
            if not after(len(batch.lengths), loss):
                return False
        self.batches = None
        return True

    def _batches(self, train: Split, epoch: int) -> TrainingBatches:
        self.epoch = epoch
        return TrainingBatches(train, self.config.batch_size, self.config.seed, epoch)

    def figures(self) -> Json:
        """Of the epoch that ran last."""
        return {
            "train_loss": self.sums.loss / self.sums.steps,
            "learning_rate": self.schedule.get_last_lr()[0],
            "grad_norm": self.sums.norm / self.sums.steps,
        }

    def step(self, batch: Batch, *, carry: bool = False) -> tuple[float, float]:
        """One step of the optimiser; the mean loss and the norm of the gradient.

        With `carry` it goes on from the state in which the last batch ended.
        """
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        total, weight = 0.0, max(losses_in(batch, paths=self.model.paths), 1e-9)
        for loss in self._losses(to_device(batch, self.device), carry=carry):
            torch.autograd.backward(self.scaler.scale(loss / weight))
            total += float(loss.detach()) / weight
        self.scaler.unscale_(self.optimizer)
        norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm))
        if not math.isfinite(total) or (not math.isfinite(norm) and not self.scaler.is_enabled()):
            raise TrainingDiverged(
                f"The loss became {total} and the gradient {norm}; try a lower learning_rate or clip_norm."
            )
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.schedule.step()
        self.average.update(self.model)
        return total, norm

    def _losses(self, tensors: tuple[Tensor, Tensor, Tensor, Tensor], *, carry: bool) -> Iterator[Tensor]:
        """Summed losses of chunks of time, each a graph of its own that goes on from the last one's state.

        Williams & Peng (1990): the gradient is cut between chunks, the state is carried.
        """
        inputs, lengths, *wanted = tensors
        time = inputs.shape[1]
        chunk = (self.config.bptt_steps if self.model.steps else None) or time
        state = kept(self.carried, len(inputs)) if carry else None
        for start in range(0, time, chunk):
            part = slice(start, start + chunk)
            targets, weights = (one[:, part] if chunk < time else one for one in wanted)
            ends = (lengths - start).clamp(1, chunk)
            with torch.autocast(self.device.type, enabled=self.autocast):
                loss, state = self.model.losses(
                    inputs[:, part], ends, targets, weights, state=state, penalties=self.penalties
                )
            state = state.detach()
            yield loss
        self.carried = state if carry else None

    def snapshot(self) -> Snapshot:
        """Everything that the next step depends on; taken between two steps."""
        schedule = {name: value for name, value in self.schedule.state_dict().items() if name != "lr_lambdas"}
        return Snapshot.of(
            {
                "model": of_module(self.model),
                "average": self.average.snapshot(),
                "best": self.best.snapshot(),
                "optimizer": of_optimizer(self.optimizer),
                "schedule": Snapshot(schedule),
                "scaler": Snapshot(self.scaler.state_dict()),
                "random": of_random(self.device),
                "batches": self.batches.snapshot() if self.batches is not None else Snapshot(),
                "carried": Snapshot()
                if self.carried is None
                else Snapshot({}, {"state": copied(self.carried)}),
            },
            done=self.done,
            epoch=self.epoch,
            within=self.batches is not None,
            sums=asdict(self.sums),
            history=list(self.history),
        )

    def restore(self, snapshot: Snapshot, train: Split) -> None:
        """The inverse of `snapshot`, on a loop of the same network and configuration."""
        facts = snapshot.facts
        self.done, self.history = facts["done"], facts["history"]
        self.epoch, self.sums = facts["epoch"], Sums(**facts["sums"])
        if facts["within"]:
            self.batches = self._batches(train, self.epoch)
            self.batches.restore(snapshot.part("batches"))
        state = snapshot.part("carried").tensors.get("state")
        self.carried = None if state is None else state.to(self.device)
        self.model.load_state_dict(snapshot.part("model").tensors)
        self.average.restore(snapshot.part("average"))
        self.best.restore(snapshot.part("best"))
        restore_optimizer(self.optimizer, snapshot.part("optimizer"))
        self.schedule.load_state_dict(snapshot.part("schedule").facts | {"lr_lambdas": [None]})
        if scaler := snapshot.part("scaler").facts:
            self.scaler.load_state_dict(scaler)
        restore_random(self.device, snapshot.part("random"))
