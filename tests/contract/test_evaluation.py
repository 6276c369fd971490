"""What every task owes to an evaluation: the figures that a training measured, resumed to the same ones."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.tasks.contract import Task
from app.tasks.evaluation.contract import EvaluatedTask, EvaluationSettings
from app.tasks.source import Reading
from app.typedefs import Json
from tests.contract.test_task import Case, case, planned, read, trained
from workers.batch.predict import Stopped
from workers.evaluation import run
from workers.evaluation.child import stored
from workers.evaluation.run import Directories, EvaluatedVersion, Evaluation, EvaluationSpec
from workers.inference.engines import open_onnx
from workers.training.stages import TrainingResult

__all__ = ["case", "planned", "read", "trained"]  # fixtures

# Metrics of a training that its evaluation on the same data has to repeat, as figures of the same examples.
SAME = {
    "classification": ["accuracy", "macro_f1", "log_loss", "calibration_error"],
    "classification: readings": ["accuracy", "macro_f1", "log_loss"],
    "video": ["accuracy", "macro_f1", "log_loss"],
    "tagging": ["f1", "precision", "recall", "accuracy"],
    "tagging: parts of speech": ["accuracy"],
    "translation": ["bleu", "chrf", "exact_match"],
    "translation: words": ["bleu", "chrf", "exact_match"],
    "speech": ["wer", "cer", "sentence_error_rate"],
    "speech: byte pairs": ["wer", "cer", "sentence_error_rate"],
    "music": ["nats_per_step", "nats_per_event"],
    "music: performances": ["nats_per_step", "nats_per_event"],
}


@dataclass
class Rig:
    """The files of an evaluation of one trained network, as two versions of a model."""

    directory: Path
    task: Task
    model: Path
    summary: Json

    def options(self, **changes: Any) -> Json:
        assert isinstance(self.task, EvaluatedTask)
        always = [*self.task.evaluation.always(self.summary)]
        return {"parameters": {}, "baselines": always, "windows": 1, "step": None, "refit": False, **changes}

    def evaluate(
        self,
        name: str,
        parts: int = 0,
        should_stop: Callable[[], bool] = lambda: False,
        on: Callable[[Json], None] = lambda event: None,
        **changes: Any,
    ) -> Json:
        out, done = self.directory / name, self.directory / f"stored-{name}"
        out.mkdir()
        done.mkdir(exist_ok=True)
        versions = [EvaluatedVersion(number, self.model, is_known=True) for number in (3, 4)]
        data = self.directory / "data"
        directories = Directories(data, data, done, out)
        opener = stored(open_onnx)({"device": "cpu"}, on, should_stop)
        spec = EvaluationSpec(self.task.name, self.options(**changes), parts)
        return Evaluation(spec, versions, directories, opener, on, should_stop).run()


@pytest.fixture
def rig(
    case: Case,
    read: Callable[[Case], Reading],
    trained: Callable[[Case, str], tuple[Path, TrainingResult]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Rig:
    monkeypatch.setattr(run, "PART_EXAMPLES", 3)
    arrays: dict[str, Any] = read(case).arrays
    (tmp_path / "data").mkdir()
    np.savez(tmp_path / "data" / "arrays.npz", **arrays)
    return Rig(tmp_path, case.task, trained(case, "gru")[0], read(case).summary | {"trainable": True})


def test_an_evaluation_repeats_what_the_training_measured(
    case: Case, rig: Rig, trained: Callable[[Case, str], tuple[Path, TrainingResult]]
) -> None:
    events: list[Json] = []
    metrics = json.loads(json.dumps(rig.evaluate("out", on=events.append), allow_nan=False))
    assert metrics["examples"] > 0
    assert metrics["failed"] == 0
    measured = trained(case, "gru")[1].metrics
    assert metrics["versions"].keys() == {"3", "4"}
    assert metrics["versions"]["3"] == metrics["versions"]["4"]
    for name in SAME.get(case.name, []):
        figure = metrics["versions"]["3"][name]
        assert figure["value"] == pytest.approx(measured[name], rel=2e-4, abs=1e-5), name
        assert figure["low"] is None or figure["low"] <= figure["high"]
    assert set(metrics["higher_is_better"]) <= metrics["versions"]["3"].keys()
    assert metrics["baselines"].keys() == set(rig.options()["baselines"])
    same = metrics["differences"][0]
    assert (same["of"], same["minus"]) == ("4", "3")
    assert all(one["value"] in (0, None) and one["low"] in (0, None) for one in same["metrics"].values())
    pairs = [(one["of"], one["minus"]) for one in metrics["differences"]]
    assert pairs == [("4", "3"), *((one, other) for one in "34" for other in rig.options()["baselines"])]
    lines = [
        json.loads(line)
        for path in sorted((rig.directory / "out").iterdir())
        for line in path.read_text().splitlines()
    ]
    assert len(lines) == metrics["examples"] * (2 + len(rig.options()["baselines"]))
    for line in lines:
        assert {"example", "window", "prediction", "actual", "errors"} <= line.keys()
        assert ("version" in line) != ("baseline" in line)
    checkpoints = [event for event in events if event["type"] == "checkpoint"]
    assert [event["part"] for event in checkpoints] == list(range(len(checkpoints)))
    assert [event for event in events if event["type"] == "progress"][-1]["fraction"] == 1


def test_an_evaluation_that_goes_on_ends_with_the_same_bytes(rig: Rig) -> None:
    whole = rig.evaluate("whole")
    parts = sorted((rig.directory / "whole").iterdir())
    events: list[Json] = []
    if len(parts) > 1:
        with pytest.raises(Stopped):
            rig.evaluate(
                "begun",
                should_stop=lambda: any(one["type"] == "checkpoint" for one in events),
                on=events.append,
            )
    (rig.directory / "stored-ended").mkdir()
    begun = parts[: max(1, len(parts) // 2)]
    for number, path in enumerate(begun):
        shutil.copy(path, rig.directory / "stored-ended" / f"{number:08d}.jsonl")
    assert rig.evaluate("ended", parts=len(begun)) == whole
    ended = {path.name: path.read_bytes() for path in (rig.directory / "ended").iterdir()}
    assert ended == {path.name: path.read_bytes() for path in parts[len(begun) :]}


def seen(events: list[Json]) -> set[str]:
    return {event["type"] for event in events}


def test_data_without_answers_are_refused(case: Case, rig: Rig) -> None:
    assert isinstance(rig.task, EvaluatedTask)
    evaluation = rig.task.evaluation
    by_task: dict[str, Json] = {
        "classification": {"classes": 0}, "video": {"classes": 0}, "tagging": {"distinct_tags": 0},
        "translation": {"answers": False}, "speech": {"transcripts": 0}, "forecasting": {"longest": 4},
        "generation": {"characters": 0},
    }  # fmt: skip
    unlabelled = by_task.get(case.task.name)
    if unlabelled is None:  # any piece of music can be scored
        return
    state = json.loads((rig.model / "manifest.json").read_text())["state"]
    settings = EvaluationSettings(tuple(rig.options()["baselines"]))
    parameters = rig.task.parameters()
    assert evaluation.check(rig.summary, [state], parameters, settings) == []
    (problem,) = evaluation.check(rig.summary | unlabelled, [state], parameters, settings)
    assert problem.pointer == "/dataset"
