"""From a data set's arrays to an artifact: plan, and learn in stages."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from app.infrastructure.checkpoint_name import Damaged
from app.tasks import TASKS
from app.typedefs import Json
from workers.training.checkpoint import read
from workers.training.checkpointer import Saver
from workers.training.device import pick_device, prepare, threads_for
from workers.training.pipeline import Curriculum, model_config, training_config
from workers.training.snapshot import Snapshot
from workers.training.stages import FIT, Outcome, Stage, TrainSpec

__all__ = ["Outcome", "TrainSpec", "train"]


def load_arrays(directory: Path) -> dict[str, Any]:
    """The arrays a data set was read into."""
    with np.load(directory / "arrays.npz", allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def train(
    spec: TrainSpec,
    data_dir: Path,
    out_dir: Path,
    *,
    on: Callable[[Json], None],
    should_stop: Callable[[], bool],
    saver: Saver | None = None,
    resume: Path | None = None,
    told: tuple[int, int] = (0, 0),
    threads: int = 1,
) -> Outcome:
    """Train what a job asks for on the arrays in `data_dir` and leave an artifact in `out_dir`.

    With a `saver` checkpoints are taken, the last one when it is stopped; `resume` is one to go on from, and
    `told` the stage and number of the last epoch that the job's owner knows of then. A wide network
    takes so many `threads` of the CPU, or as many as that checkpoint was taken with. Raises `Damaged` when
    the checkpoint cannot be read or was taken of another job.
    """
    task = TASKS[spec.task]
    device, snapshot = pick_device(spec.training.get("device", "auto")), _snapshot(spec, resume)
    config, options = training_config(spec.training), task.options.model_validate(spec.options)
    seed = spec.training.get("split_seed", config.seed)  # the runs of a sweep share one split
    plan = task.plan(load_arrays(data_dir), options, seed, config.bptt_steps)
    hidden_size = model_config(plan, spec.network).hidden_size
    most = threads_for(threads, hidden_size, config.batch_size)
    # Sums are rounded by how many threads share them: what began with some goes on with as many.
    prepare(device, most if snapshot is None else snapshot.facts.get("threads", 1))
    if snapshot is None:
        for message in plan.warnings:
            on({"type": "warning", "message": message})
    else:
        retell(snapshot, told, on)
    try:
        return Curriculum(spec, plan, on, should_stop, saver, snapshot).run(out_dir)
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


def retell(snapshot: Snapshot, told: tuple[int, int], on: Callable[[Json], None]) -> None:
    """Tell later epochs that a checkpoint knows of: a worker that is lost takes its last news along."""
    facts, epochs = snapshot.facts, list[Json]()
    members = max(len(facts["fits"]), 1 + facts.get("member", 0))
    for member, fit_ in enumerate(facts["fits"]):
        place = Stage(FIT, 1 + member, member).place(members)
        epochs += [{**entry, **place} for entry in fit_["history"]]
    place = {name: facts[name] for name in ("phase", "stage", "member") if name in facts}
    epochs += [{**entry, **place} for entry in snapshot.part("loop").facts["history"]]
    for entry in epochs:
        if (entry["stage"], entry["epoch"]) > told:
            on({"type": "epoch", **entry})
