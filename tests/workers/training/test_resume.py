"""A training that goes on from a checkpoint ends with the weights of one that was never interrupted."""

import random
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch

from app.infrastructure.checkpoint_name import CheckpointDamaged, step_of
from app.typedefs import Json
from tests.support.factories.series import series_set, store, waves
from tests.workers.training.test_fit import CONFIG, CPU, Sums, network
from tests.workers.training.test_run import TRAINING
from tests.workers.training.test_run import spec as learning
from workers.nn import Member
from workers.nn.recurrent.cells import CELLS
from workers.training import checkpointer, device
from workers.training.checkpoint import read
from workers.training.checkpointer import Checkpointer
from workers.training.fit import CheckpointConfig, FitResult, RefitPlan, fit
from workers.training.loop import Loop, TrainingConfig
from workers.training.run import train
from workers.training.snapshot import Snapshot
from workers.training.stages import TrainingResult, TrainSpec

STEPS = 24  # of CONFIG on `Sums`
NEVER = 1e9  # seconds to the next checkpoint; one that is stopped leaves one


def spec(cell: str = "lstm", **options: int) -> TrainSpec:
    """A job of few steps, for what it learns does not matter here."""
    given = learning(cell, **options)
    return replace(given, training=given.training | {"batch_size": 8 * TRAINING["batch_size"]})


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints may cost what they like."""
    monkeypatch.setattr(checkpointer, "MAX_TIME_SHARE", float("inf"))


def run(
    directory: Path | None,
    config: TrainingConfig = CONFIG,
    cell: str = "gru",
    resume: Path | None = None,
    stop_at: int | None = None,
    refit: RefitPlan | None = None,
    seconds: float = 0.0,
    *,
    carried: bool = False,
    valid: Sums | None = None,
) -> tuple[FitResult, Member, list[Json]]:
    """One fit, or what is left of it; stopped after a number of its own steps."""
    torch.set_num_threads(1)
    told: list[Json] = []
    steps = iter(range(10**9))

    def stop() -> bool:
        return stop_at is not None and next(steps) >= stop_at

    keep = saver = None
    if directory is not None:
        saver = Checkpointer(directory, seconds, told.append)
        keep = CheckpointConfig(saver, {"phase": "fit"}, {}, 0, None if resume is None else read(resume))
    model, examples, held_out = network(cell), Sums(), valid or Sums(20)
    examples.carried = held_out.carried = carried
    found = fit(
        model,
        examples,
        held_out,
        config,
        device=CPU,
        on=told.append,
        should_stop=stop,
        refit=refit,
        checkpoints=keep,
    )
    if saver is not None:
        saver.close()
    return found, model, told


def same(one: Member, two: Member) -> bool:
    """Bit for bit."""
    ours, theirs = one.state_dict(), two.state_dict()
    return ours.keys() == theirs.keys() and all(ours[name].equal(theirs[name]) for name in ours)


def alike(found: FitResult) -> FitResult:
    """Without how long it took."""
    return replace(found, history=[{**epoch, "seconds": 0} for epoch in found.history])


def newest(directory: Path) -> Path:
    return max(directory.glob("*.safetensors"))


@pytest.mark.parametrize("step", [2, 9])
def test_an_untrained_network_that_is_best_is_so_after_an_interruption_too(step: int, tmp_path: Path) -> None:
    worse = Sums(20, sign=-1.0)  # on which the loss only rises
    run(tmp_path, stop_at=step, seconds=NEVER, valid=worse)
    found, model, _ = run(tmp_path, resume=newest(tmp_path), seconds=NEVER, valid=worse)
    assert (found.best_epoch, found.best_step) == (0, 0)
    assert same(model, network())


@pytest.mark.parametrize("cell", CELLS)
def test_from_every_single_step(cell: str, tmp_path: Path) -> None:
    whole, wanted, _ = run(None, cell=cell)
    for step in range(1, STEPS, 1 if cell == "gru" else 5):  # cells differ in their state, not in its saving
        directory = tmp_path / str(step)
        stopped, unfinished, _ = run(directory, cell=cell, stop_at=step, seconds=NEVER)
        assert stopped.stopped
        assert not same(unfinished, wanted)
        found, model, _ = run(directory, cell=cell, resume=newest(directory), seconds=NEVER)
        assert same(model, wanted), f"after step {step}"
        assert alike(found) == alike(whole)


@pytest.mark.parametrize(
    "change",
    [
        {"optimizer": "nadam"},
        {"optimizer": "radam", "weight_decay": 0.01},
        {"optimizer": "adamw", "schedule": "cosine"},
        {"bptt_steps": 3},
        {"patience": 1, "learning_rate": 0.2},
        {"autocast": True},
    ],
)
def test_with_every_kind_of_state(change: Json, tmp_path: Path, eager: None) -> None:
    config = replace(CONFIG, **change)
    whole, wanted, _ = run(None, config)
    run(tmp_path, config, stop_at=2)
    for _ in range(20):  # refit and refit, three steps at a time
        found, model, _ = run(tmp_path, config, resume=newest(tmp_path), stop_at=3)
        if not found.stopped:
            break
    assert same(model, wanted)
    assert alike(found) == alike(whole)


def test_with_a_state_that_is_carried_from_batch_to_batch(tmp_path: Path) -> None:
    whole, wanted, _ = run(None, carried=True)
    assert not same(wanted, run(None)[1])
    run(tmp_path, stop_at=2, seconds=NEVER, carried=True)  # within an epoch
    found, model, _ = run(tmp_path, resume=newest(tmp_path), seconds=NEVER, carried=True)
    assert same(model, wanted)
    assert alike(found) == alike(whole)


def test_without_validation_too(tmp_path: Path) -> None:
    refit = RefitPlan(steps=10, total_steps=STEPS)
    _, wanted, _ = run(None, refit=refit)
    for step in range(1, 10):
        directory = tmp_path / str(step)
        assert run(directory, refit=refit, stop_at=step, seconds=NEVER)[0].stopped
        assert same(run(directory, refit=refit, resume=newest(directory), seconds=NEVER)[1], wanted), (
            f"after step {step}"
        )


def test_from_a_checkpoint_that_training_went_on_after(tmp_path: Path, eager: None) -> None:
    """As a worker that is killed leaves it."""
    _, wanted, told = run(tmp_path)
    points = sorted(tmp_path.glob("*.safetensors"))
    assert {event["file"] for event in told if event["type"] == "checkpoint"} == {one.name for one in points}
    assert len(points) > 3
    for number, path in enumerate(points):
        assert same(run(tmp_path / str(number), resume=path)[1], wanted), path.name


def test_random_sources_of_libraries_go_on_too(tmp_path: Path, eager: None) -> None:
    run(tmp_path, stop_at=5)
    draws: list[tuple[float, float]] = []
    for _ in range(2):
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002
        run(tmp_path / "more", resume=newest(tmp_path), stop_at=1)
        draws.append((random.random(), float(np.random.random())))  # noqa: NPY002, S311
        random.seed(len(draws) + 7)
    assert draws[0] == draws[1]


def both(data: Path, given: TrainSpec, stop_at: int, name: str) -> tuple[TrainingResult, list[Json], Json]:
    """Stopped once after so many looks at whether to stop, then finished; and the checkpoint between."""
    told: list[Json] = []
    looks = iter(range(10**9))
    points = data / name
    first = train(
        given,
        data,
        data / f"{name}-out",
        on=told.append,
        should_stop=lambda: next(looks) >= stop_at,
        checkpointer=Checkpointer(points, NEVER, told.append),
    )
    assert first.stopped
    last = [event for event in told if event["type"] == "checkpoint"][-1]
    refit = train(
        given,
        data,
        data / f"{name}-out",
        on=told.append,
        should_stop=lambda: False,
        checkpointer=Checkpointer(points, NEVER, told.append),
        resume=newest(points),
    )
    return refit, told, last


def test_it_goes_on_with_as_many_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums are rounded by how they are shared, so a worker that would take others takes these."""
    monkeypatch.setattr(device, "MIN_PARALLEL_PRODUCTS", 0)
    store(tmp_path, series_set(waves(24, 120)))
    looks = count()

    def attempt(threads: int, resume: Path | None, stop_at: int) -> TrainingResult:
        points = tmp_path / "points"
        return train(
            spec("gru"),
            tmp_path,
            tmp_path / "out",
            on=lambda _: None,
            should_stop=lambda: next(looks) >= stop_at,
            checkpointer=Checkpointer(points, NEVER, lambda _: None),
            resume=resume,
            threads=threads,
        )

    assert attempt(2, None, 3).stopped
    assert torch.get_num_threads() == 2
    assert not attempt(1, newest(tmp_path / "points"), 10**9).stopped
    assert torch.get_num_threads() == 2
    assert not attempt(1, None, 10**9).stopped
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize(
    "cell", [pytest.param(cell, marks=() if cell == "gru" else pytest.mark.slow) for cell in CELLS]
)
def test_a_whole_job_gives_the_same_artifact(cell: str, tmp_path: Path) -> None:
    store(tmp_path, series_set(waves(8, 80)))
    looks = count()
    wanted = train(
        spec(cell), tmp_path, tmp_path / "out", on=lambda _: None, should_stop=lambda: next(looks) < 0
    )
    weights = (tmp_path / "out" / "model.safetensors").read_bytes()
    phases = set()
    total = next(looks)
    for stop_at in (3, total // 3, total - 3):
        found, told, last = both(tmp_path, spec(cell), stop_at, f"at-{stop_at}")
        assert (tmp_path / f"at-{stop_at}-out" / "model.safetensors").read_bytes() == weights
        assert found == wanted
        phases.add(last["phase"])
        fractions = [event["fraction"] for event in told if event["type"] == "progress"]
        assert fractions[-1] == 1.0
        assert fractions == sorted(fractions)
    assert phases == {"fit", "refit"}


def test_epochs_that_nobody_was_told_of_are_told_when_it_goes_on(tmp_path: Path) -> None:
    """A worker that is lost takes its last news along; its checkpoint knows them."""
    store(tmp_path, series_set(waves(24, 120)))
    looks, whole, points = count(), list[Json](), tmp_path / "points"
    train(spec(), tmp_path, tmp_path / "out", on=whole.append, should_stop=lambda: next(looks) < 0)
    curve = [plain(event) for event in whole if event["type"] == "epoch"]
    _, _, last = both(tmp_path, spec(), next(looks) - 2, "points")
    point = points / last["file"]  # of the last epoch of the second fit
    for known in (0, 1, len(curve) - 2):
        told: list[Json] = []
        heard = (0, 0) if known == 0 else (curve[known - 1]["stage"], curve[known - 1]["epoch"])
        train(
            spec(),
            tmp_path,
            tmp_path / "out",
            on=told.append,
            should_stop=lambda: False,
            checkpointer=Checkpointer(tmp_path / f"more-{known}", NEVER, told.append),
            resume=point,
            reported=heard,
        )
        assert [plain(event) for event in told if event["type"] == "epoch"] == curve[known:]


def plain(event: Json) -> Json:
    return {name: value for name, value in event.items() if name != "seconds"}


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    store(tmp_path, series_set(waves(24, 120)))
    both(tmp_path, spec(), 3, "one")
    with pytest.raises(CheckpointDamaged, match="other settings"):
        train(
            spec(horizon=5),
            tmp_path,
            tmp_path / "out",
            on=lambda _: None,
            should_stop=lambda: False,
            resume=newest(tmp_path / "one"),
        )


@pytest.mark.parametrize(
    "harm",
    [
        lambda content: content[:-1],
        lambda content: b"",
        lambda content: content[:100] + b"\0" + content[101:],
        lambda content: content + b"\0",
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),  # still a readable file of other weights
    ],
)
def test_a_damaged_file_is_never_read(harm: Callable[[bytes], bytes], tmp_path: Path, eager: None) -> None:
    run(tmp_path, stop_at=3)
    path = newest(tmp_path)
    assert step_of(path.name) == 3
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(CheckpointDamaged):
        read(path)


def test_a_disk_that_is_full_costs_a_warning_and_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eager: None
) -> None:
    def full(*_: object) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpointer, "write", full)
    _, model, told = run(tmp_path)
    assert same(model, run(None)[1])
    assert any("disk is full" in event["message"] for event in told if event["type"] == "warning")
    assert not [event for event in told if event["type"] == "checkpoint"]
    assert list(tmp_path.iterdir()) == []


def test_checkpoints_cost_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a dear one the next has to wait until the training has earned it."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    saver = Checkpointer(tmp_path, 30.0, lambda _: None)
    assert saver.due(epoch_ended=True)
    assert not saver.due(epoch_ended=False)

    def take() -> Snapshot:
        now[0] += 1.0
        return Snapshot({}, {"a": torch.zeros(1)})

    saver.save(1, take, wait=True)
    now[0] += 50.0
    assert not saver.due(epoch_ended=True)
    assert not saver.due(epoch_ended=False)
    now[0] += 2.5 / checkpointer.MAX_TIME_SHARE
    assert saver.due(epoch_ended=True)
    assert saver.due(epoch_ended=False)
    saver.close()


def test_a_snapshot_is_not_changed_by_the_steps_after_it() -> None:
    """Its file is written while the training goes on."""
    loop = Loop(network("gru"), CONFIG, CPU, STEPS)
    batch = Sums().batch(np.arange(16), None)
    loop.step(batch)
    taken = loop.snapshot()
    before = {name: tensor.clone() for name, tensor in taken.tensors.items()}
    loop.step(batch)
    assert all(tensor.equal(taken.tensors[name]) for name, tensor in before.items())
    assert not all(tensor.equal(before[name]) for name, tensor in loop.snapshot().tensors.items())


def test_the_time_before_an_interruption_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes on by one each time it is read; the limit is what the first attempt took."""
    ticks = count()
    monkeypatch.setattr(time, "monotonic", lambda: float(next(ticks)))
    first, _, _ = run(tmp_path, stop_at=14, seconds=NEVER)
    spent = read(newest(tmp_path)).facts["seconds"]
    rest, _, _ = run(tmp_path, replace(CONFIG, max_seconds=spent), resume=newest(tmp_path), seconds=NEVER)
    assert (first.stopped, rest.stopped) == (True, False)
    assert len(rest.history) == len(first.history) + 1  # the epoch that was begun
