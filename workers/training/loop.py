"""The training loop: steps and epochs of one fit, and the snapshot from which they continue bit for bit."""

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
from workers.outputs.split_order import carried_state, to_device
from workers.training.batches import TrainingBatches, count_losses
from workers.training.device import has_fast_half
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
from workers.training.weight_averaging import AveragedWeights, BestWeights


class TrainingDiverged(Exception):
    """The loss is no longer a finite number."""


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
    selection: str = "best"  # the epoch whose weights are used: of the lowest validation loss, or the last
    label_smoothing: float = 0.0
    activation_regularization: float = 0.0
    temporal_regularization: float = 0.0
    sorted_epochs: int = 0  # at the beginning, whose batches come by length, the shortest first
    freeze_after: int | None = None  # epoch after which the input layer learns no more; None: never
    averaging: float = 0.98  # decay of the exponential average of the weights, which is the result


@dataclass
class EpochSums:
    """Sums over the steps of an epoch."""

    loss: float = 0.0
    norm: float = 0.0
    steps: int = 0
    seconds: float = 0.0  # up to the last snapshot
    clipped: int = 0  # steps whose gradient was longer than `clip_norm`
    update_ratio: float | None = None  # of the first step: the length of its change to that of all weights

    def shares(self) -> Json:
        """The share of steps whose gradient was clipped, and the update ratio."""
        return {"clipped_share": self.clipped / max(self.steps, 1), "update_ratio": self.update_ratio}


class Loop:
    """The state of one fit between two steps, and the steps themselves."""

    def __init__(self, model: Trainable, config: TrainingConfig, device: torch.device, total: int) -> None:
        self.model = model
        self.config = config
        self.device = device
        self.optimizer = OPTIMIZERS[config.optimizer](
            model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        shape = SCHEDULES[config.schedule]
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: shape(step, total))
        self.autocast = config.autocast and has_fast_half(device)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.autocast and device.type == "cuda")
        self.average, self.best = (
            AveragedWeights(model, config.averaging),
            BestWeights(config.patience, latest=config.selection == "last"),
        )
        self.done, self.end = 0, total  # steps
        self.epoch = 0  # the current one, or the last
        self.batches: TrainingBatches | None = None  # of the current epoch
        self.carried_state: Tensor | None = None  # from which streams continue with the next batch
        self.penalties = Penalties(
            config.label_smoothing, config.activation_regularization, config.temporal_regularization
        )
        self.sums = EpochSums()
        self.history: list[Json] = []

    def run(self, train: Split, after: Callable[[int, float], bool]) -> bool:
        """Run the rest of the current epoch, or the next one; false when `after` asked to stop.

        `after` is called after each step with its number of examples and its loss.
        """
        if self.batches is None:
            self.batches = self._batches(train, self.epoch + 1)
            self.sums, self.carried_state = EpochSums(), None
            torch.manual_seed(self.config.seed * 1_000_003 + self.epoch)  # dropout: of seed and epoch alone
        self._freeze()
        begun = time.monotonic() - self.sums.seconds
        for batch in self.batches:
            if self.done >= self.end:
                break
            before = None if self.sums.steps else _weights(self.model)
            loss, norm = self.step(batch, carry=train.carried)
            if before is not None:
                self.sums.update_ratio = float((_weights(self.model) - before).norm() / before.norm())
            self.done += 1
            self.sums.loss += loss
            self.sums.norm += norm
            self.sums.clipped += norm > self.config.clip_norm
            self.sums.steps += 1
            self.sums.seconds = time.monotonic() - begun
            if not after(len(batch.lengths), loss):
                return False
        self.batches = None
        return True

    def _batches(self, train: Split, epoch: int) -> TrainingBatches:
        self.epoch = epoch
        config = self.config
        by_length = epoch <= config.sorted_epochs
        return TrainingBatches(train, config.batch_size, config.seed, epoch, by_length=by_length)

    def _freeze(self) -> None:
        """Keep the input layer as it is in epochs after `freeze_after`."""
        if self.config.freeze_after is not None:
            self.model.embed.requires_grad_(self.epoch <= self.config.freeze_after)

    def figures(self) -> Json:
        """The training loss, learning rate and gradient norm of the last epoch."""
        return {
            "train_loss": self.sums.loss / self.sums.steps,
            "learning_rate": self.schedule.get_last_lr()[0],
            "grad_norm": self.sums.norm / self.sums.steps,
        }

    def step(self, batch: Batch, *, carry: bool = False) -> tuple[float, float]:
        """One step of the optimiser; returns the mean loss and the norm of the gradient.

        With `carry` it continues from the state in which the last batch ended.
        """
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        total, weight = 0.0, max(count_losses(batch, row_loss=self.model.row_loss), 1e-9)
        for loss in self._chunk_losses(to_device(batch, self.device), carry=carry):
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

    def _chunk_losses(
        self, tensors: tuple[Tensor, Tensor, Tensor, Tensor], *, carry: bool
    ) -> Iterator[Tensor]:
        """The summed loss of each chunk of time, a graph of its own that continues from the state before it.

        Truncated backpropagation through time, Williams & Peng (1990): the gradient is cut between chunks,
        the state is carried over.
        """
        inputs, lengths, *target_parts = tensors
        time = inputs.shape[1]
        chunk = (self.config.bptt_steps if self.model.step_loss else None) or time
        state = carried_state(self.carried_state, len(inputs)) if carry else None
        for start in range(0, time, chunk):
            part = slice(start, start + chunk)
            targets, weights = (one[:, part] if chunk < time else one for one in target_parts)
            ends = (lengths - start).clamp(1, chunk)
            with torch.autocast(self.device.type, enabled=self.autocast):
                loss, state = self.model.losses(
                    inputs[:, part], ends, targets, weights, state=state, penalties=self.penalties
                )
            state = state.detach()
            yield loss
        self.carried_state = state if carry else None

    def snapshot(self) -> Snapshot:
        """All state that the next step depends on; taken between two steps."""
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
                if self.carried_state is None
                else Snapshot({}, {"state": copied(self.carried_state)}),
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
        self.epoch, self.sums = facts["epoch"], EpochSums(**facts["sums"])
        if facts["within"]:
            self.batches = self._batches(train, self.epoch)
            self.batches.restore(snapshot.part("batches"))
        state = snapshot.part("carried").tensors.get("state")
        self.carried_state = None if state is None else state.to(self.device)
        self.model.load_state_dict(snapshot.part("model").tensors)
        self.average.restore(snapshot.part("average"))
        self.best.restore(snapshot.part("best"))
        restore_optimizer(self.optimizer, snapshot.part("optimizer"))
        self.schedule.load_state_dict(snapshot.part("schedule").facts | {"lr_lambdas": [None]})
        if scaler := snapshot.part("scaler").facts:
            self.scaler.load_state_dict(scaler)
        restore_random(self.device, snapshot.part("random"))


def _weights(model: Trainable) -> Tensor:
    """All weights of a network, end to end."""
    return torch.cat([parameter.detach().reshape(-1) for parameter in model.parameters()])
