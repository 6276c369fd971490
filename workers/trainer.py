"""From a data set's arrays to an artifact: plan, fit, score, refit, export."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from app.proof import Damaged
from app.tasks import TASKS
from app.tasks.base import Plan, Split, Task
from workers.checkpoint import read
from workers.data import outputs_at_end
from workers.device import pick_device, prepare
from workers.export import save
from workers.loop import TrainingConfig
from workers.nn.model import ModelConfig, SequenceModel, build
from workers.saving import Saver
from workers.snapshot import Snapshot
from workers.training import Again, Fit, Keep, fit

Json = dict[str, Any]


@dataclass(frozen=True)
class TrainSpec:
    """What a job asks for, every default already filled in."""

    task: str
    network: Json  # cell, layers, hidden_size, bidirectional, dropout
    training: Json  # the fields of TrainingConfig, and device
    options: Json

    def digest(self) -> str:
        """What a checkpoint must have been taken of: everything but the device."""
        training = {name: value for name, value in self.training.items() if name != "device"}
        told = json.dumps([self.task, self.network, training, self.options], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()


@dataclass(frozen=True)
class Outcome:
    """What came out; the artifact is in the output directory unless it was stopped."""

    metrics: Json
    baseline: Json
    parameters: int
    stopped: bool


class Progress:
    """Turns the loop's steps into one fraction over fit and refit, with the time that is left."""

    def __init__(self, on: Callable[[Json], None], *, phases: int) -> None:
        self._on, self._phases = on, phases
        self._began = time.monotonic()
        self._base = 0.0
        self._first: float | None = None  # where it began, which after an interruption is not at zero

    def __call__(self, event: Json) -> None:
        """Pass an event of the loop on."""
        if event["type"] != "progress":
            self._on(event)
            return
        share = event["step"] / event["steps"]
        fraction = self._base + (1 - self._base) * share if self._base else share / self._phases
        now = time.monotonic()
        if self._first is None:
            self._first, self._began = fraction, now
        spent, way = now - self._began, fraction - self._first
        eta = round(spent * (1 - fraction) / way, 1) if way > 0 else None
        known = {key: event[key] for key in ("epoch", "epochs", "step", "steps", "samples_per_second")}
        self._on({"type": "progress", "fraction": round(fraction, 4), "eta_seconds": eta, **known})

    def next_phase(self, done: int, coming: int) -> None:
        """The first fit took `done` steps and the second will take `coming`."""
        self._base = done / max(done + coming, 1)


def load_arrays(directory: Path) -> dict[str, Any]:
    """The arrays a data set was read into."""
    with np.load(directory / "arrays.npz", allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def model_config(task: Task, plan: Plan, network: Json) -> ModelConfig:
    """The network a plan needs."""
    return ModelConfig(
        input=task.input,
        output=task.output,
        features=plan.features,
        outputs=plan.outputs,
        quantiles=tuple(plan.state.get("quantiles", ())),
        **network,
    )


def training_config(training: Json) -> TrainingConfig:
    """The loop's part of a job's training settings."""
    known = {field.name for field in fields(TrainingConfig)}
    return TrainingConfig(**{key: value for key, value in training.items() if key in known})


class Training:
    """One job: fit, score, fit again on all data, export; goes on from a checkpoint in any of them."""

    def __init__(
        self,
        spec: TrainSpec,
        plan: Plan,
        on: Callable[[Json], None],
        should_stop: Callable[[], bool],
        saver: Saver | None,
        resume: Snapshot | None,
    ) -> None:
        self._spec, self._plan, self._should_stop = spec, plan, should_stop
        self._task, self._config = TASKS[spec.task], training_config(spec.training)
        self._device = pick_device(spec.training.get("device", "auto"))
        self._network = model_config(self._task, plan, spec.network)
        self._saver, self._resume = saver, resume
        self._progress = Progress(on, phases=2 if plan.refit else 1)

    def run(self, out_dir: Path) -> Outcome:
        """Everything; the artifact is in `out_dir` unless it was stopped."""
        model = build(self._network, self._config.seed)
        if self._resume is not None and self._resume.facts["phase"] == "refit":
            facts = self._resume.facts
            done, metrics, baseline = Fit(**facts["fit"]), facts["metrics"], facts["baseline"]
        else:
            done = self._fit(model, self._plan.train, self._plan.valid, {"phase": "fit"})
            if done.stopped:
                return Outcome({}, {}, model.count(), stopped=True)
            metrics, baseline = scored(self._task, self._plan, model, self._config.batch_size, self._device)
            metrics |= {"best_epoch": done.best_epoch, "valid_loss": done.best_loss}
        if self._plan.refit and done.best_step:
            self._progress.next_phase(done.done_steps, done.best_step)
            model = build(self._network, self._config.seed)
            facts = {"phase": "refit", "fit": asdict(done), "metrics": metrics, "baseline": baseline}
            again = Again(done.best_step, done.total_steps)
            if self._fit(model, self._plan.refit, None, facts, again, before=done.done_steps).stopped:
                return Outcome({}, {}, model.count(), stopped=True)
        self._export(model, out_dir, metrics, baseline)
        return Outcome(metrics, baseline, model.count(), stopped=False)

    def _fit(
        self,
        model: SequenceModel,
        train: Split,
        valid: Split | None,
        facts: Json,
        again: Again | None = None,
        before: int = 0,
    ) -> Fit:
        keep = None
        if self._saver is not None:
            ours = self._resume if self._resume and self._resume.facts["phase"] == facts["phase"] else None
            keep = Keep(self._saver, {**facts, "spec": self._spec.digest()}, before, ours)
        return fit(
            model,
            train,
            valid,
            self._config,
            device=self._device,
            on=self._progress,
            should_stop=self._should_stop,
            again=again,
            keep=keep,
        )

    def _export(self, model: SequenceModel, out_dir: Path, metrics: Json, baseline: Json) -> None:
        spec = self._spec
        facts = {
            "task": spec.task,
            "network": spec.network,
            "training": spec.training,
            "options": spec.options,
            "state": self._plan.state,
            "metrics": metrics,
            "baseline": baseline,
        }
        save(out_dir, model, facts)


def train(
    spec: TrainSpec,
    data_dir: Path,
    out_dir: Path,
    *,
    on: Callable[[Json], None],
    should_stop: Callable[[], bool],
    saver: Saver | None = None,
    resume: Path | None = None,
    told: tuple[str, int] = ("", 0),
) -> Outcome:
    """Train what a job asks for on the arrays in `data_dir` and leave an artifact in `out_dir`.

    With a `saver` checkpoints are taken, the last one when it is stopped; `resume` is one to go on from, and
    `told` the phase and number of the last epoch that the job's owner knows of then. Raises
    `Damaged` when that cannot be read or was taken of another job.
    """
    task = TASKS[spec.task]
    prepare(pick_device(spec.training.get("device", "auto")))
    snapshot = _snapshot(spec, resume)
    seed = training_config(spec.training).seed
    plan = task.plan(load_arrays(data_dir), task.options.model_validate(spec.options), seed)
    if snapshot is None:
        for message in plan.warnings:
            on({"type": "warning", "message": message})
    else:
        retell(snapshot, told, on)
    try:
        return Training(spec, plan, on, should_stop, saver, snapshot).run(out_dir)
    finally:
        if saver is not None:
            saver.close()


def _snapshot(spec: TrainSpec, resume: Path | None) -> Snapshot | None:
    if resume is None:
        return None
    snapshot = read(resume)
    if snapshot.facts.get("spec") != spec.digest():
        raise Damaged(f"{resume.name} was taken of a training with other settings")
    return snapshot


def retell(snapshot: Snapshot, told: tuple[str, int], on: Callable[[Json], None]) -> None:
    """Tell later epochs that a checkpoint knows of: a worker that is lost takes its last news along."""
    phase = snapshot.facts["phase"]
    epochs = [("fit", entry) for entry in snapshot.facts["fit"]["history"]] if phase == "refit" else []
    epochs += [(phase, entry) for entry in snapshot.part("loop").facts["history"]]
    for place, entry in epochs:
        if (place, entry["epoch"]) > told:  # "fit" comes before "refit", and the alphabet agrees
            on({"type": "epoch", **entry, "phase": place})


def scored(
    task: Task, plan: Plan, model: SequenceModel, size: int, device: torch.device
) -> tuple[Json, Json]:
    """Metrics on the held-out split, of the network and of the task's baseline."""
    outputs = outputs_at_end(model, plan.test, size, device)
    return task.score(plan.state, plan.test, outputs)
