"""One fit: epochs of any network on any split until the validation loss stops falling."""

import copy
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from app.tasks.contract import Batch, Split
from app.typedefs import Json
from workers.diagnostics.probe import Probe, probe_epochs
from workers.diagnostics.verdict import OK
from workers.nn import Trainable
from workers.outputs.split_order import carried_state, ordered_batches, to_device
from workers.process.child import REPORT_SECONDS
from workers.training.batches import count_losses, steps_per_epoch
from workers.training.checkpointer import Checkpointer
from workers.training.loop import Loop, TrainingConfig
from workers.training.snapshot import Snapshot


@dataclass(frozen=True)
class FitResult:
    """The result of a fit; the model holds the weights of the best epoch."""

    best_epoch: int  # 0 = untrained
    best_step: int
    best_loss: float | None  # on the validation split, None without one
    done_steps: int
    total_steps: int  # of the learning rate schedule
    stopped: bool
    history: list[Json] = field(default_factory=list)
    ngram_weight: float | None = None  # of the scores that a network adds to its own, if it has any
    diagnostics: Json | None = None  # of the best weights
    # Without interruptions; 0 of a fit that an older checkpoint has. Equal fits may take different times.
    seconds: float = field(default=0.0, compare=False)

    def refit(self, seconds: float | None) -> "RefitPlan":
        """A fit on all data like this one up to its best epoch, of no more steps than `seconds` allow.

        With fewer steps the schedule is shorter in the same proportion, so that it ends at the same rate.
        """
        if seconds is None or not self.seconds or not self.best_step:
            return RefitPlan(self.best_step, self.total_steps)
        affordable = int(seconds * self.done_steps / self.seconds)
        steps = max(1, min(self.best_step, affordable))
        return RefitPlan(steps, max(steps, round(self.total_steps * steps / self.best_step)))


@dataclass(frozen=True)
class RefitPlan:
    """A fit on all data of as many steps as an earlier fit took to its best epoch, if there is time."""

    steps: int
    total_steps: int


@dataclass(frozen=True)
class Validation:
    """The split on which the loss is measured after each epoch; its batches are gathered anew each time."""

    split: Split | None = None
    batch_size: int = 1

    def loss(self, model: Trainable, device: torch.device) -> float | None:
        """The mean loss of a network, None without a split; see `mean_loss`."""
        if self.split is None:
            return None
        batches = (batch for _, batch in ordered_batches(self.split, self.batch_size))
        return mean_loss(model, batches, device, carried=self.split.carried)


@dataclass(frozen=True)
class CheckpointConfig:
    """Where checkpoints go, what they hold besides the fit, and the one from which to continue."""

    checkpointer: Checkpointer
    facts: Json
    parts: Mapping[str, Snapshot] = field(default_factory=dict)
    steps_before: int = 0  # of earlier fits of the same training
    resume: Snapshot | None = None


class Reporter:
    """Reports the progress of an epoch, a few times a second."""

    def __init__(self, on: Callable[[Json], None], event_fields: Json, epochs: int, steps: int) -> None:
        self._on, self._place, self._epochs, self._steps = on, event_fields, epochs, steps
        self._reported = self._began = time.monotonic()
        self._samples = 0

    def step(self, epoch: int, step: int, samples: int, loss: float) -> None:
        """Record one finished step."""
        self._samples += samples
        now = time.monotonic()
        if now - self._reported < REPORT_SECONDS and step < self._steps:
            return
        self._reported = now
        rate = self._samples / max(now - self._began, 1e-6)
        progress = {"epoch": epoch, "epochs": self._epochs, "step": step, "steps": self._steps}
        measured = {"samples_per_second": round(rate, 1), "train_loss": loss}
        self._on({"type": "progress", **progress, **measured, **self._place})

    def epoch(self, entry: Json) -> None:
        """Report one finished epoch."""
        for event in epoch_events({**entry, **self._place}):
            self._on(event)

    def diagnostics(self, epoch: int, measured: Json) -> None:
        """Report the diagnostics of the weights that the fit ends with, those of `epoch`."""
        self._on(final_diagnostics(epoch, measured, self._place))
        if measured["verdict"] != OK and not self._place.get("member"):
            verdict, rule, remedy = (measured[name] for name in ("verdict", "rule", "remedy"))
            message = f"The verdict of the diagnostics is {verdict}. {rule} {remedy}"
            self._on({"type": "warning", "message": message})


def epoch_events(entry: Json) -> list[Json]:
    """The events of an epoch: its figures, and its diagnostics if there are any."""
    figures = {name: value for name, value in entry.items() if name != "diagnostics"}
    events: list[Json] = [{"type": "epoch", **figures}]
    if (measured := entry.get("diagnostics")) is not None:
        place: Json = {name: entry[name] for name in ("epoch", "phase", "stage", "member") if name in entry}
        events.append({"type": "diagnostics", **place, **measured})
    return events


def final_diagnostics(epoch: int, measured: Json, place: Json) -> Json:
    """The event of the diagnostics of the weights that a fit ends with."""
    return {"type": "diagnostics", "epoch": epoch, **place, "final": True, **measured}


@torch.no_grad()
def mean_loss(
    model: Trainable, batches: Iterable[Batch], device: torch.device, *, carried: bool = False
) -> float | None:
    """The weighted mean loss over batches, of rows where a row has one loss; None without batches."""
    model.eval()
    total = weight = 0.0
    state: Tensor | None = None
    for batch in batches:
        inputs, lengths, targets, weights = to_device(batch, device)
        state = carried_state(state, len(inputs)) if carried else None
        loss, state = model.losses(inputs, lengths, targets, weights, state=state)
        total += float(loss)
        weight += count_losses(batch, row_loss=model.row_loss)
    return total / weight if weight else None


class Fitter:
    """One fit: epochs until the loss stops falling, with checkpoints on the way."""

    def __init__(
        self,
        loop: Loop,
        reporter: Reporter,
        checkpoints: CheckpointConfig | None,
        should_stop: Callable[[], bool],
        probe: Probe | None = None,
    ) -> None:
        self._loop, self._reporter, self._checkpoints = loop, reporter, checkpoints
        self._should_stop, self._probe = should_stop, probe
        self._untrained = copy.deepcopy(loop.model)
        self._seconds_before = 0.0  # before the checkpoint from which this continues
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Time spent on this fit, without interruptions."""
        return self._seconds_before + time.monotonic() - self._began

    @property
    def _out_of_time(self) -> bool:
        limit = self._loop.config.max_seconds
        return limit is not None and self.seconds > limit

    def begin(self, train: Split) -> None:
        """Continue from the checkpoint, if there is one."""
        if self._checkpoints is not None and self._checkpoints.resume is not None:
            self._seconds_before = self._checkpoints.resume.facts["seconds"]
            self._loop.restore(self._checkpoints.resume.part("loop"), train)

    def _offer_untrained(self, validation: Validation) -> None:
        """Let the untrained network be the best so far, unless there is one.

        It is validated after the first epoch: until then a user who waits sees steps all the sooner.
        """
        best, untrained = self._loop.best, self._untrained
        if not best.weights:
            untrained.flatten()
            best.offer(validation.loss(untrained, self._loop.device), 0, 0, untrained)

    def run(self, train: Split, validation: Validation) -> bool:
        """Train to the end; false when it was stopped, after its last checkpoint was written."""
        loop = self._loop
        while loop.done < loop.end or loop.batches is not None:
            if self._should_stop() or not loop.run(train, self._after_step):
                self._save(wait=True)
                return False
            self._offer_untrained(validation)
            entry = {"epoch": loop.epoch, **loop.figures()}
            begun = time.monotonic()
            entry["valid_loss"] = validation.loss(loop.average.model, loop.device)
            entry["seconds"] = round(loop.sums.seconds + time.monotonic() - begun, 3)
            loop.best.offer(entry["valid_loss"], loop.epoch, loop.done, loop.average.model)
            if self._probe is not None:
                measured = self._probe.epoch(loop.average.model, loop.epoch, loop.best.gain)
                entry["diagnostics"] = None if measured is None else measured | loop.sums.shares()
            loop.history.append(entry)
            self._reporter.epoch(entry)
            if loop.best.patience_exhausted(loop.epoch) or self._out_of_time:
                break
            if self._checkpoints is not None and self._checkpoints.checkpointer.due(epoch_ended=True):
                self._save()
        self._offer_untrained(validation)
        return True

    def _after_step(self, samples: int, loss: float) -> bool:
        loop = self._loop
        self._reporter.step(loop.epoch, loop.done, samples, loss)
        if self._should_stop():
            return False
        if self._out_of_time:
            loop.end = loop.done  # the epoch ends here, however long it would take
        if self._checkpoints is not None and self._checkpoints.checkpointer.due(epoch_ended=False):
            self._save()
        return True

    def _save(self, *, wait: bool = False) -> None:
        if self._checkpoints is not None:
            self._checkpoints.checkpointer.save(
                self._checkpoints.steps_before + self._loop.done, self._snapshot, wait=wait
            )

    def _snapshot(self) -> Snapshot:
        facts = self._checkpoints.facts if self._checkpoints is not None else {}
        parts = {
            "loop": self._loop.snapshot(),
            **(self._checkpoints.parts if self._checkpoints is not None else {}),
        }
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
    refit: RefitPlan | None = None,
    checkpoints: CheckpointConfig | None = None,
    event_fields: Json | None = None,
    diagnosed: bool = False,
) -> FitResult:
    """Train until the validation loss stops falling; the model ends up with the best averaged weights.

    `event_fields` are part of every event. With `refit` it trains as many steps as that names under the same
    schedule, without validation. It ends with the step after which `max_seconds` have passed. Raises
    `TrainingDiverged`. The same seed, data and device give the same weights bit for bit, however often the
    training was stopped and continued from a checkpoint.
    """
    model.to(device).flatten()
    per_epoch = steps_per_epoch(train, config.batch_size)
    total = refit.total_steps if refit else per_epoch * config.epochs
    loop = Loop(model, config, device, total)
    loop.end = refit.steps if refit else total
    validation = Validation()
    if valid and not refit:
        validation = Validation(valid, 4 * config.batch_size)
    reporter = Reporter(on, event_fields or {"phase": "fit"}, -(-loop.end // per_epoch), loop.end)
    probe = Probe(train, probe_epochs(config.epochs, total), device) if diagnosed else None
    fitter = Fitter(loop, reporter, checkpoints, should_stop, probe)
    fitter.begin(train)
    stopped = not fitter.run(train, validation)
    best = loop.best
    if not stopped:
        model.load_state_dict(best.weights)
    measured = probe.final(model, best.gain) if probe is not None and not stopped else None
    if measured is not None:
        reporter.diagnostics(best.epoch, measured)
    steps = loop.done, total
    return FitResult(
        best.epoch, best.step, best.loss, *steps, stopped, loop.history, None, measured, fitter.seconds
    )
