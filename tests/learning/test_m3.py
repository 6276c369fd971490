"""Default options on the M3 competition: the published figures to stay below are those of Theta or so."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from app.tasks.forecasting.frequency import Frequency
from app.tasks.forecasting.inference import ForecastingInstance, ForecastingParameters
from app.tasks.forecasting.metrics import smape_points
from app.tasks.forecasting.series import SeriesSet
from app.tasks.forecasting.task import TASK
from tests.support.factories.series import series_set, store
from tests.support.fixtures.real_data import shared
from tests.support.single import decode_one, encode_one
from workers.artifact.export import read_manifest
from workers.nn.recurrent.cells import CELLS
from workers.training.run import train
from workers.training.stages import TrainSpec

GROUPS = {"yearly": (6, 17.2), "quarterly": (8, 9.8), "monthly": (18, 13.6), "other": (8, 4.5)}


def lines(name: str) -> list[dict[str, Any]]:
    with shared(f"forecasting/{name}.jsonl").open() as file:
        return [json.loads(line) for line in file]


def series_of(rows: list[dict[str, Any]]) -> SeriesSet:
    freq = Frequency.parse(rows[0]["freq"]).alias
    return series_set([np.array(row["target"]) for row in rows], freq, static=[row["cat"][0] for row in rows])


def forecast(row: dict[str, Any], session: ort.InferenceSession, manifest: dict[str, Any]) -> list[float]:
    instance = ForecastingInstance(values=row["target"], static={"kind": row["cat"][0]})
    example = encode_one(TASK, manifest["state"], instance, ForecastingParameters())
    state = np.zeros((manifest["onnx"]["state_rows"], 1, manifest["onnx"]["hidden_size"]), np.float32)
    given = {"inputs": example.inputs[None], "lengths": np.array([len(example.inputs)]), "state": state}
    outputs = session.run(["outputs"], given)[0][0]
    answer = decode_one(TASK, manifest["state"], example, outputs, ForecastingParameters())
    median: list[float] = answer["median"]
    return median


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("group", GROUPS)
def test_m3(group: str, cell: str, tmp_path: Path) -> None:
    horizon, limit = GROUPS[group]
    rows = lines(f"m3_{group}.train")
    actual = {row["item_id"]: np.array(row["target"]) for row in lines(f"m3_{group}.test")}
    store(tmp_path, series_of(rows))
    network = {**TASK.network_defaults, "cell": cell, "bidirectional": False}
    training = {**TASK.training_defaults, "seed": 7, "device": "cpu"}
    spec = TrainSpec("forecasting", network, training, {"horizon": horizon})
    outcome = train(spec, tmp_path, tmp_path / "out", on=lambda _: None, should_stop=lambda: False)
    assert outcome.metrics["smape"] < outcome.baseline["smape"]
    session = ort.InferenceSession(str(tmp_path / "out/model.onnx"), providers=["CPUExecutionProvider"])
    manifest = read_manifest(tmp_path / "out")
    errors = [
        smape_points(actual[row["item_id"]], np.array(forecast(row, session, manifest))) for row in rows
    ]
    assert float(np.concatenate(errors).mean()) < limit
