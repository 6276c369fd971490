"""One training job: from a data set's arrays to an artifact."""

from collections.abc import Callable
from pathlib import Path

from app.infrastructure.checkpoint_name import CheckpointDamaged
from app.infrastructure.stored_arrays import map_arrays, unpack
from app.tasks import TASKS
from app.typedefs import Json
from workers.inputs import INPUTS
from workers.training.checkpoint import read
from workers.training.checkpointer import Checkpointer
from workers.training.device import pick_device, prepare, threads_for
from workers.training.fit import epoch_events, final_diagnostics
from workers.training.pipeline import TrainingPipeline, model_config, training_config
from workers.training.snapshot import Snapshot
from workers.training.stages import ABLATION, FIT, Stage, TrainingResult, TrainSpec


def train(
    spec: TrainSpec,
    data_dir: Path,
    out_dir: Path,
    *,
    on: Callable[[Json], None],
    should_stop: Callable[[], bool],
    checkpointer: Checkpointer | None = None,
    resume: Path | None = None,
    reported: tuple[int, int] = (0, 0),
    threads: int = 1,
) -> TrainingResult:
    """Train a job on the arrays in `data_dir` and write an artifact to `out_dir`; its metrics.

    With a `checkpointer` checkpoints are taken, the last one when the training is stopped; `resume` is one to
    continue from, and `reported` the stage and epoch that the job's owner knows of then. A wide network uses
    up to `threads` threads of the CPU, or as many as the checkpoint was taken with. Raises
    `CheckpointDamaged` when the checkpoint cannot be read or belongs to another training.
    """
    task = TASKS[spec.task]
    device, snapshot = pick_device(spec.training.get("device", "auto")), _snapshot(spec, resume)
    config, options = training_config(spec.training), task.options.model_validate(spec.options)
    arrays = map_arrays(unpack(data_dir / "arrays.npz", data_dir / "mapped"))
    seed = spec.training.get("split_seed", config.seed)  # the runs of a sweep share one split
    plan = task.plan(arrays, options, seed, config.bptt_steps)
    if not INPUTS[plan.input].parallel:
        threads = threads_for(threads, model_config(plan, spec.network).hidden_size, config.batch_size)
    # Sums are rounded by how many threads share them: a training that is resumed keeps its number.
    prepare(device, threads if snapshot is None else snapshot.facts.get("threads", 1))
    if snapshot is None:
        for message in plan.warnings:
            on({"type": "warning", "message": message})
    else:
        replay_events(snapshot, reported, on)
    try:
        return TrainingPipeline(spec, plan, on, should_stop, checkpointer, snapshot).run(out_dir)
    finally:
        if checkpointer is not None:
            checkpointer.close()


def _snapshot(spec: TrainSpec, resume: Path | None) -> Snapshot | None:
    if resume is None:
        return None
    snapshot = read(resume)
    if snapshot.facts.get("spec") != spec.digest():
        raise CheckpointDamaged(f"{resume.name} was taken of a training with other settings")
    return snapshot


def replay_events(snapshot: Snapshot, reported: tuple[int, int], on: Callable[[Json], None]) -> None:
    """Report the epochs of a checkpoint that the job's owner does not know.

    A worker that was lost may have finished them without a report.
    """
    facts, epochs = snapshot.facts, list[Json]()
    members = max(len(facts["fits"]), 1 + facts.get("member", 0))
    finals = list[Json]()
    for member, fit in enumerate(facts["fits"]):
        fields = Stage(FIT, 1 + member, member).event_fields(members)
        epochs += [{**entry, **fields} for entry in fit["history"]]
        if fit.get("diagnostics") is not None and 1 + member >= reported[0]:
            finals.append(final_diagnostics(fit["best_epoch"], fit["diagnostics"], fields))
    if "ablation" in facts:
        fields = Stage(ABLATION, 1 + len(facts["fits"])).event_fields(members)
        epochs += [{**entry, **fields} for entry in facts["ablation"]["history"]]
    fields = {name: facts[name] for name in ("phase", "stage", "member") if name in facts}
    epochs += [{**entry, **fields} for entry in snapshot.part("loop").facts["history"]]
    for entry in epochs:
        if (entry["stage"], entry["epoch"]) > reported:
            for event in epoch_events(entry):
                on(event)
    for event in finals:
        on(event)
