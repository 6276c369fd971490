"""From a data set's arrays to an artifact: plan, fit, score, refit, export."""

import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from app.tasks import TASKS
from app.tasks.base import Plan, Task
from workers.checkpoint import save
from workers.data import outputs_at_end
from workers.device import pick_device, prepare
from workers.nn.model import ModelConfig, SequenceModel, build
from workers.training import Again, TrainingConfig, fit

Json = dict[str, Any]


@dataclass(frozen=True)
class TrainSpec:
    """What a job asks for, every default already filled in."""

    task: str
    network: Json  # cell, layers, hidden_size, bidirectional, dropout
    training: Json  # the fields of TrainingConfig, and device
    options: Json


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

    def __call__(self, event: Json) -> None:
        """Pass an event of the loop on."""
        if event["type"] != "progress":
            self._on(event)
            return
        share = event["step"] / event["steps"]
        fraction = self._base + (1 - self._base) * share if self._base else share / self._phases
        spent = time.monotonic() - self._began
        known = {key: event[key] for key in ("epoch", "epochs", "step", "steps", "samples_per_second")}
        eta = round(spent * (1 - fraction) / max(fraction, 1e-9), 1)
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


def train(
    spec: TrainSpec,
    data_dir: Path,
    out_dir: Path,
    *,
    on: Callable[[Json], None],
    should_stop: Callable[[], bool],
) -> Outcome:
    """Train what a job asks for on the arrays in `data_dir` and leave an artifact in `out_dir`."""
    task, config = TASKS[spec.task], training_config(spec.training)
    device = pick_device(spec.training.get("device", "auto"))
    prepare(device)
    plan = task.plan(load_arrays(data_dir), task.options.model_validate(spec.options), config.seed)
    for message in plan.warnings:
        on({"type": "warning", "message": message})
    progress = Progress(on, phases=2 if plan.refit else 1)
    network = model_config(task, plan, spec.network)
    model = build(network, config.seed)
    done = fit(model, plan.train, plan.valid, config, device=device, on=progress, should_stop=should_stop)
    if done.stopped:
        return Outcome({}, {}, model.count(), stopped=True)
    metrics, baseline = scored(task, plan, model, config.batch_size, device)
    metrics |= {"best_epoch": done.best_epoch, "valid_loss": done.best_loss}
    if plan.refit and done.best_step:
        progress.next_phase(len(done.history) * done.total_steps // config.epochs, done.best_step)
        model = build(network, config.seed)
        again = Again(done.best_step, done.total_steps)
        repeat = fit(
            model, plan.refit, None, config, device=device, on=progress, should_stop=should_stop, again=again
        )
        if repeat.stopped:
            return Outcome({}, {}, model.count(), stopped=True)
    facts = {
        "task": spec.task,
        "network": spec.network,
        "training": spec.training,
        "options": spec.options,
        "state": plan.state,
        "metrics": metrics,
        "baseline": baseline,
    }
    save(out_dir, model, facts)
    return Outcome(metrics, baseline, model.count(), stopped=False)


def scored(
    task: Task, plan: Plan, model: SequenceModel, size: int, device: torch.device
) -> tuple[Json, Json]:
    """Metrics on the held-out split, of the network and of the task's baseline."""
    outputs = outputs_at_end(model, plan.test, size, device)
    return task.score(plan.state, plan.test, outputs)
