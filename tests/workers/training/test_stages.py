"""A job of several stages, stopped in each of them, ends with the artifact of one that was never stopped."""

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.hyperparameters.options import NETWORK, TRAINING
from app.ingest.readers import Mapping, open_source
from app.tasks import TASKS
from app.tasks.classification.reading import read_labelled
from app.tasks.generation.reading import read_documents
from app.tasks.source import Faults
from app.typedefs import Json
from tests.support.factories.clips import sides
from tests.support.factories.labels import jsonl, snippets
from tests.support.factories.series import series_set, store, waves
from tests.support.factories.texts import poems
from tests.workers.training.test_resume import NEVER, both, newest
from workers.training.checkpointer import Checkpointer
from workers.training.fit import FitResult
from workers.training.pipeline import best_epochs
from workers.training.run import train
from workers.training.stages import EVALUATE, StageProgress, StageResults, TrainingResult, TrainSpec


def spec(task: str, summary: Json, options: Json, network: Json, training: Json) -> TrainSpec:
    checked = TASKS[task].options.model_validate(options)
    defaults = TASKS[task].defaults(summary, checked)
    return TrainSpec(
        task,
        NETWORK | defaults.network | network,
        TRAINING | defaults.training | {"device": "cpu", "seed": 3} | training,
        checked.model_dump(mode="json"),
    )


def ensemble(directory: Path) -> TrainSpec:
    """Two members, each fitted and fitted again on all data."""
    store(directory, series_set(waves(12, 60)))
    training = {"epochs": 2, "batch_size": 128, "ensemble": 2}
    return spec("forecasting", {}, {"horizon": 4}, {"hidden_size": 6}, training)


def stream(directory: Path) -> TrainSpec:
    """A language model, whose state is carried from batch to batch."""
    (directory / "poems").write_bytes(poems())
    faults = Faults()
    source = open_source(directory / "poems", "jsonl", Mapping.checked({}, ()), faults)
    found, summary, _ = read_documents(source, faults)
    arrays: dict[str, Any] = found
    np.savez(directory / "arrays.npz", **arrays)
    training = {"epochs": 2, "batch_size": 4, "bptt_steps": 20}
    return spec("generation", summary, {}, {"hidden_size": 8, "embedding_size": 6}, training)


def pretrained(directory: Path) -> TrainSpec:
    """A language model first, then two members that begin with what it learned."""
    (directory / "texts").write_bytes(jsonl(snippets(160)))
    faults = Faults()
    source = open_source(directory / "texts", "jsonl", Mapping.checked({}, ()), faults)
    reading = read_labelled(source, faults)
    arrays: dict[str, Any] = reading.arrays
    np.savez(directory / "arrays.npz", **arrays)
    summary = reading.summary
    training = {"epochs": 2, "batch_size": 16, "ensemble": 2, "pretrain_epochs": 2}
    return spec("classification", summary, {}, {"hidden_size": 6, "embedding_size": 6}, training)


def ablation(directory: Path) -> TrainSpec:
    """A network over clips, and one without recurrence."""
    (directory / "clips").write_bytes(sides(14))
    faults = Faults()
    source = open_source(directory / "clips", "zip", Mapping.checked({}, ()), faults)
    reading = TASKS["video"].read(source, faults)
    arrays: dict[str, Any] = reading.arrays
    np.savez(directory / "arrays.npz", **arrays)
    training = {"epochs": 2, "batch_size": 4, "ensemble": 2, "freeze_after": 1}
    network = {"hidden_size": 6, "embedding_size": 6}
    return spec("video", reading.summary, {"size": 8, "frames": 4}, network, training)


KINDS: dict[str, tuple[Callable[[Path], TrainSpec], set[int]]] = {
    "ensemble": (ensemble, {1, 2, 3, 4}),
    "stream": (stream, {1}),
    "pretrained": (pretrained, {0, 1, 2}),
    "ablation": (ablation, {1, 2, 3}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_wherever_it_is_stopped_it_ends_the_same(kind: str, tmp_path: Path) -> None:
    prepare, stages = KINDS[kind]
    given, looks, whole = prepare(tmp_path), count(), list[Json]()
    wanted = train(given, tmp_path, tmp_path / "out", on=whole.append, should_stop=lambda: next(looks) < 0)
    epochs = {(event["stage"], event["epoch"]) for event in whole if event["type"] == "epoch"}
    weights = (tmp_path / "out" / "model.safetensors").read_bytes()
    total, seen = next(looks), set[int]()
    for part in range(1, 6):
        stop_at = part * total // 6
        found, told, last = both(tmp_path, given, stop_at, f"at-{stop_at}")
        assert (tmp_path / f"at-{stop_at}-out" / "model.safetensors").read_bytes() == weights
        assert found == wanted
        seen.add(last["stage"])
        fractions = [event["fraction"] for event in told if event["type"] == "progress"]
        assert fractions[-1] == 1.0
        assert fractions == sorted(fractions)
        assert {(event["stage"], event["epoch"]) for event in told if event["type"] == "epoch"} == epochs
    assert seen == stages


def test_a_training_that_is_stopped_again_and_again_gets_to_its_end(tmp_path: Path) -> None:
    """Each attempt continues from the checkpoint of the highest number, in whatever stage that was taken."""
    given, points, events = ensemble(tmp_path), tmp_path / "points", list[Json]()
    for attempt in count():
        looks = iter(range(10))
        result = train(
            given,
            tmp_path,
            tmp_path / "out",
            on=events.append,
            should_stop=lambda: next(looks, None) is None,  # noqa: B023 - called within this turn
            checkpointer=Checkpointer(points, NEVER, events.append),
            resume=newest(points) if attempt else None,
        )
        steps = [event["step"] for event in events if event["type"] == "checkpoint"]
        assert steps == sorted(steps)
        if not result.stopped:
            break
    assert {event["stage"] for event in events if event["type"] == "checkpoint"} == {1, 2, 3, 4}


def test_an_ensemble_is_no_worse_than_its_mean_member(tmp_path: Path) -> None:
    given = ensemble(tmp_path)
    outcome = train(given, tmp_path, tmp_path / "out", on=lambda _: None, should_stop=lambda: False)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["model"]["members"] == 2
    assert len(outcome.metrics["members"]) == 2
    losses = [member["valid_loss"] for member in outcome.metrics["members"]]
    assert outcome.metrics["valid_loss"] == pytest.approx(sum(losses) / 2)
    assert losses[0] != losses[1]
    assert isinstance(outcome, TrainingResult)


def test_one_fit_tells_its_epoch_and_several_each_theirs() -> None:
    fits = [FitResult(epoch, 1, loss, 1, 1, stopped=False) for epoch, loss in ((3, 0.5), (4, None))]
    assert best_epochs(fits[:1]) == {"best_epoch": 3, "valid_loss": 0.5}
    assert best_epochs(fits)["valid_loss"] == 0.5
    assert best_epochs(fits[1:] * 2)["valid_loss"] is None
    assert StageResults.of(None) == StageResults()
    weighed = FitResult(3, 1, 0.5, 1, 1, stopped=False, ngram_weight=0.25)
    assert best_epochs([weighed])["ngram_weight"] == 0.25
    assert [one["ngram_weight"] for one in best_epochs([weighed] * 2)["members"]] == [0.25, 0.25]


def test_progress_never_goes_back_when_a_stage_ends_early() -> None:
    told: list[Json] = []
    progress = StageProgress(told.append, {1: 100, 2: 100})
    figures = {"epoch": 1, "epochs": 2, "samples_per_second": 1.0}
    for stage, step, steps in ((1, 50, 100), (1, 60, 100), (2, 10, 60), (2, 60, 60)):
        if stage == 2:
            progress.expect(1, 60)
            progress.expect(2, 60)
        progress({"type": "progress", "stage": stage, "step": step, "steps": steps, **figures})
        if step == 60 and stage == 1:
            progress.announce(EVALUATE, 2)
            assert told[-1] == {"type": "progress", "fraction": 0.5, "phase": "evaluate"}
    fractions = [event["fraction"] for event in told]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0.25
    assert fractions[-1] == 1.0
