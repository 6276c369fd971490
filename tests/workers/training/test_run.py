import time
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch

from app.tasks.forecasting.inference import ForecastingInstance, ForecastingParameters
from app.tasks.forecasting.task import TASK
from tests.support.factories.series import series_set, store, waves
from tests.support.single import decode_one, encode_one
from workers.artifact.export import load_model, read_manifest
from workers.nn.recurrent.cells import CELLS
from workers.training.run import train
from workers.training.stages import TrainingResult, TrainSpec

HORIZON = 4
TRAINING = {**TASK.training_defaults, "epochs": 6, "batch_size": 64, "learning_rate": 0.01, "seed": 1}


def spec(cell: str = "lstm", **options: Any) -> TrainSpec:
    network = {"cell": cell, "layers": 1, "hidden_size": 16, "bidirectional": False, "dropout": 0.1}
    training = {**TRAINING, "max_seconds": None, "device": "cpu"}
    return TrainSpec("forecasting", network, training, {"horizon": HORIZON, **options})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Noisy sines."""
    store(tmp_path, series_set(waves(24, 120)))
    return tmp_path


def run(data: Path, given: TrainSpec, stop_after: int = 10**9) -> tuple[TrainingResult, list[dict[str, Any]]]:
    events: list[dict[str, Any]] = []
    asked = iter(range(10**9))
    outcome = train(
        given, data, data / "out", on=events.append, should_stop=lambda: next(asked) >= stop_after
    )
    return outcome, events


Learned = tuple[Path, TrainingResult, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Learned:
    """One training with the directory of its files, which are only read."""
    directory = tmp_path_factory.mktemp("learned")
    store(directory, series_set(waves(24, 120)))
    return directory, *run(directory, spec())


@pytest.mark.parametrize("cell", CELLS)
def test_a_network_learns_to_beat_the_seasonal_naive_forecast(
    cell: str, data: Path, learned: Learned
) -> None:
    outcome = learned[1] if cell == "lstm" else run(data, spec(cell))[0]
    assert outcome.metrics["smape"] < 0.9 * outcome.baseline["smape"]
    assert outcome.metrics["mase"] < outcome.baseline["mase"]
    assert outcome.metrics["best_epoch"] > 0


@pytest.mark.parametrize("ensemble", [1, 2])
def test_time_is_bounded_with_all_members_and_refits(
    ensemble: int, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that goes on by a second each time it is read."""
    ticks = count()
    monkeypatch.setattr(time, "monotonic", lambda: float(next(ticks)))
    whole = spec()
    _, events = run(
        data, replace(whole, training=whole.training | {"max_seconds": 400, "ensemble": ensemble})
    )
    assert {event["phase"] for event in events if event["type"] == "epoch"} == {"fit", "refit"}
    assert next(ticks) < 480  # what is read before, between and after the fits comes on top


def test_the_artifact_answers_requests(learned: Learned) -> None:
    data, outcome, _ = learned
    manifest = read_manifest(data / "out")
    assert manifest["metrics"] == outcome.metrics
    assert manifest["parameters"] == outcome.parameters
    instance = ForecastingInstance(values=waves(1, 50)[0].tolist())
    example = encode_one(TASK, manifest["state"], instance, ForecastingParameters())
    session = ort.InferenceSession(str(data / "out" / "model.onnx"), providers=["CPUExecutionProvider"])
    facts = manifest["onnx"]
    given = {
        "inputs": example.inputs[None],
        "lengths": np.array([len(example.inputs)]),
        "state": np.zeros((facts["state_rows"], 1, facts["hidden_size"]), np.float32),
    }
    outputs = session.run(["outputs"], given)[0][0]
    model = load_model(data / "out", torch.device("cpu"))
    with torch.no_grad():
        wanted = model(torch.from_numpy(example.inputs[None]))[0][0, -1].numpy()
    np.testing.assert_allclose(outputs, wanted, atol=1e-4)
    found = decode_one(TASK, manifest["state"], example, outputs, ForecastingParameters())
    assert len(found["mean"]) == HORIZON
    assert 15 < found["mean"][0] < 45


def test_progress_runs_from_fit_through_refit_to_one(learned: Learned) -> None:
    _, _, events = learned
    fractions = [event["fraction"] for event in events if event["type"] == "progress"]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert {event["phase"] for event in events if event["type"] == "epoch"} == {"fit", "refit"}


def test_without_a_refit_the_scored_network_is_published(data: Path) -> None:
    _, events = run(data, spec(refit=False))
    assert {event["phase"] for event in events if event["type"] == "epoch"} == {"fit"}
    assert [event["fraction"] for event in events if event["type"] == "progress"][-1] == 1.0


def test_a_seed_reproduces_the_artifact(data: Path, learned: Learned) -> None:
    run(data, spec())
    one, other = ((place / "out" / "model.safetensors").read_bytes() for place in (data, learned[0]))
    assert one == other


@pytest.mark.parametrize("after", [3, 100])
def test_a_stopped_training_leaves_no_artifact(after: int, data: Path) -> None:
    outcome, _ = run(data, spec(), stop_after=after)
    assert outcome.stopped
    assert not (data / "out").exists()


def test_a_warning_is_passed_on(tmp_path: Path) -> None:
    store(tmp_path, series_set(waves(2, 13)))
    outcome, events = run(tmp_path, spec())
    assert events[0]["type"] == "warning"
    assert not outcome.stopped


@pytest.mark.parametrize(("more", "wanted"), [({}, 1), ({"split_seed": 9}, 9)])
def test_runs_of_a_sweep_share_one_split(
    more: dict[str, int], wanted: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Planned(Exception):
        """Far enough."""

    def plan(_: object, arrays: object, options: object, seed: int, bptt_steps: int | None) -> None:
        raise Planned(seed)

    store(tmp_path, series_set(waves(4, 40)))
    monkeypatch.setattr(type(TASK), "plan", plan)
    given = replace(spec(), training=spec().training | more)
    with pytest.raises(Planned) as caught:
        train(given, tmp_path, tmp_path / "out", on=lambda _: None, should_stop=lambda: False)
    assert caught.value.args == (wanted,)
