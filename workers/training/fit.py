"""THE training loop: any network, any split, observers by callback."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from app.tasks.contract import Batch, Split
from app.typedefs import Json
from workers.nn import Trainable
from workers.training.batches import kept, losses_in, plain_batches, steps_per_epoch, to_device
from workers.training.checkpointer import Saver
from workers.training.loop import Loop, TrainingConfig
from workers.training.snapshot import Snapshot

PULSE = 0.25  # seconds between reports within an epoch


@dataclass(frozen=True)
class Fit:
    """How it went; the model holds the weights of the best epoch."""

    best_epoch: int  # 0 = untrained
    best_step: int
    best_loss: float | None  # on the validation split, None without one
    done_steps: int
    total_steps: int  # what the schedule was made for
    stopped: bool
    history: list[Json] = field(default_factory=list)


@dataclass(frozen=True)
class Again:
    """Train on more data exactly as far as an earlier fit went before it stopped getting better."""

    steps: int
    total_steps: int


@dataclass(frozen=True)
class Checks:
    """What the loss is measured on after each epoch."""

    batches: Sequence[Batch] = ()
    carried: bool = False

    def loss(self, model: Trainable, device: torch.device) -> float | None:
        """See `mean_loss`."""
        return mean_loss(model, self.batches, device, carried=self.carried)


@dataclass(frozen=True)
class Keep:
    """Where checkpoints go, what else belongs into them, and the one from which to go on."""

    saver: Saver
    facts: Json
    parts: Mapping[str, Snapshot] = field(default_factory=dict)
    before: int = 0  # steps of earlier fits of the same training
    resume: Snapshot | None = None


class Reporter:
    """Tells how far an epoch is, a few times a second."""

    def __init__(self, on: Callable[[Json], None], place: Json, epochs: int, steps: int) -> None:
        self._on, self._place, self._epochs, self._steps = on, place, epochs, steps
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
        more = {"samples_per_second": round(speed, 1), "train_loss": loss}
        self._on({"type": "progress", **progress, **more, **self._place})

    def epoch(self, entry: Json) -> None:
        """One epoch is done."""
        self._on({"type": "epoch", **entry, **self._place})


@torch.no_grad()
def mean_loss(
    model: Trainable, batches: Sequence[Batch], device: torch.device, *, carried: bool = False
) -> float | None:
    """The weighted mean loss over batches of a split (of rows, if each has one); None if it is empty."""
    model.eval()
    total = weight = 0.0
    state: Tensor | None = None
    for batch in batches:
        inputs, lengths, targets, weights = to_device(batch, device)
        state = kept(state, len(inputs)) if carried else None
        loss, state = model.losses(inputs, lengths, targets, weights, state=state)
        total += float(loss)
        weight += losses_in(batch, paths=model.paths)
    return total / weight if weight else None


class Fitting:
    """One fit: epochs until the loss stops falling, with checkpoints on the way."""

    def __init__(
        self, loop: Loop, reporter: Reporter, keep: Keep | None, should_stop: Callable[[], bool]
    ) -> None:
        self._loop, self._reporter, self._keep, self._should_stop = loop, reporter, keep, should_stop
        self._earlier = 0.0  # seconds spent before the checkpoint from which this goes on
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Spent on this fit, interruptions not counted."""
        return self._earlier + time.monotonic() - self._began

    def begin(self, train: Split, checks: Checks) -> None:
        """Go on from the checkpoint, or take the untrained network as the best so far."""
        loop = self._loop
        if self._keep is not None and self._keep.resume is not None:
            self._earlier = self._keep.resume.facts["seconds"]
            loop.restore(self._keep.resume.part("loop"), train)
        else:
            loop.best.offer(checks.loss(loop.average.model, loop.device), 0, 0, loop.average)

    def run(self, train: Split, checks: Checks) -> bool:
        """Train to the end; False when it was stopped, and then its last checkpoint is written."""
        loop, config = self._loop, self._loop.config
        while loop.done < loop.end or loop.batches is not None:
            if self._should_stop() or not loop.run(train, self._after):
                self._save(wait=True)
                return False
            entry = {"epoch": loop.epoch, **loop.figures()}
            begun = time.monotonic()
            entry["valid_loss"] = checks.loss(loop.average.model, loop.device)
            entry["seconds"] = round(loop.sums.seconds + time.monotonic() - begun, 3)
            loop.best.offer(entry["valid_loss"], loop.epoch, loop.done, loop.average)
            loop.history.append(entry)
            self._reporter.epoch(entry)
            late = config.max_seconds is not None and self.seconds > config.max_seconds
            if loop.best.waited_enough(loop.epoch) or late:
                break
            if self._keep is not None and self._keep.saver.due(epoch_ended=True):
                self._save()
        return True

    def _after(self, samples: int, loss: float) -> bool:
        loop = self._loop
        self._reporter.step(loop.epoch, loop.done, samples, loss)
        if self._should_stop():
            return False
        if self._keep is not None and self._keep.saver.due(epoch_ended=False):
            self._save()
        return True

    def _save(self, *, wait: bool = False) -> None:
        if self._keep is not None:
            self._keep.saver.save(self._keep.before + self._loop.done, self._snapshot, wait=wait)

    def _snapshot(self) -> Snapshot:
        facts = self._keep.facts if self._keep is not None else {}
        parts = {"loop": self._loop.snapshot(), **(self._keep.parts if self._keep is not None else {})}
        return Snapshot.of(parts, **facts, epoch=self._loop.epoch, seconds=self.seconds)


def fit(
    model: Trainable,
    train: Split,
    valid: Split | None,
    config: TrainingConfig,
    *,
    device: torch.device,
    on: Callable[[Json], None],
    should_stop: Callable[[], bool],
    again: Again | None = None,
    keep: Keep | None = None,
    place: Json | None = None,
) -> Fit:
    """Train until the validation loss stops falling; the model ends up with the best averaged weights.

    `place` is told with every event.
    With `again` train as many steps as that says under the same schedule, without validation. Raises
    `TrainingDiverged`. The same seed, data and device give the same weights bit for bit, however often the
    training was stopped and went on from a checkpoint.
    """
    model.to(device).flatten()
    per_epoch = steps_per_epoch(train, config.batch_size)
    total = again.total_steps if again else per_epoch * config.epochs
    loop = Loop(model, config, device, total)
    loop.end = again.steps if again else total
    checks = Checks()
    if valid and not again:
        checks = Checks(plain_batches(valid, 4 * config.batch_size), valid.carried)
    reporter = Reporter(on, place or {"phase": "fit"}, -(-loop.end // per_epoch), loop.end)
    fitting = Fitting(loop, reporter, keep, should_stop)
    fitting.begin(train, checks)
    stopped = not fitting.run(train, checks)
    best = loop.best
    model.load_state_dict(best.weights)
    return Fit(best.epoch, best.step, best.loss, loop.done, total, stopped, loop.history)
