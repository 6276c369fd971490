"""What a forecast says after training with default options: of dead series, and of parts that rarely sell."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from app.hyperparameters.options import NETWORK, TRAINING
from app.tasks.forecasting.inference import ForecastingInstance, ForecastingParameters
from app.tasks.forecasting.options import ForecastingOptions
from app.tasks.forecasting.task import TASK
from app.typedefs import Json
from tests.support.factories.series import series_set, store
from tests.support.single import decode_one, encode_one
from workers.artifact.export import load_model, read_manifest
from workers.training.run import train
from workers.training.stages import TrainingResult, TrainSpec


def trained(directory: Path, series: list[Any], horizon: int, freq: str = "D") -> TrainingResult:
    """A job that sets only the horizon."""
    store(directory, series_set(series, freq))
    options = ForecastingOptions(horizon=horizon)
    defaults = TASK.defaults({}, options)
    training = TRAINING | defaults.training | {"device": "cpu", "seed": 7}
    spec = TrainSpec(TASK.name, NETWORK | defaults.network, training, options.model_dump(mode="json"))
    return train(spec, directory, directory / "out", on=lambda _: None, should_stop=lambda: False, threads=1)


def predict(directory: Path, values: Any, **fields: Any) -> Json:
    state = read_manifest(directory / "out")["state"]
    model = load_model(directory / "out", torch.device("cpu"))
    instance = ForecastingInstance(values=values.tolist(), **fields)
    example = encode_one(TASK, state, instance, ForecastingParameters())
    with torch.no_grad():
        outputs = model(torch.from_numpy(example.inputs[None]))[0][0, -1].numpy()
    prediction: Json = decode_one(TASK, state, example, outputs, ForecastingParameters())
    return prediction


def test_a_dead_series_beside_a_living_one(tmp_path: Path) -> None:
    alive = 10.5 + np.random.default_rng(1).uniform(-0.5, 0.5, 200).round(3)
    result = trained(tmp_path, [np.zeros(200), alive], 7)
    assert predict(tmp_path, np.zeros(30))["mean"] == [0.0] * 7
    assert result.metrics["smape"] < 1.5 * result.baseline["smape"]


@pytest.mark.slow
def test_the_mean_of_parts_is_their_expectation(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    parts = [(rng.random(200) < 0.3) * rng.integers(1, 4, 200).astype(float) for _ in range(12)]
    trained(tmp_path, parts, 14)
    predictions = [predict(tmp_path, part, start="1970-01-01") for part in parts]
    expected = 14 * sum(float(part.mean()) for part in parts)
    assert sum(sum(one["mean"]) for one in predictions) == pytest.approx(expected, rel=0.15)
    assert sum(sum(one["median"]) for one in predictions) < 0.2 * expected
    halves = predict(tmp_path, 0.5 * (parts[0] + 44))
    assert len(set(halves["median"])) > 1
    assert np.mean(halves["mean"]) == pytest.approx(22.3, abs=0.5)


@pytest.mark.slow
def test_the_common_rise_of_a_panel_is_not_trusted_in_full(tmp_path: Path) -> None:
    """All series rose by 0.04 a step as long as they were recorded; of 40 steps that is one observation."""
    rng = np.random.default_rng(3)
    common = 0.04 + rng.normal(0, 0.02, 40)
    panel = [np.exp(3 + np.cumsum(common + rng.normal(0, 0.1, 40))) for _ in range(60)]
    trained(tmp_path, panel, 6, "YS")
    rises = [np.log(predict(tmp_path, values)["median"][-1] / values[-1]) for values in panel]
    assert 0.2 * 6 * 0.04 < np.mean(rises) < 0.9 * 6 * 0.04


@pytest.mark.slow
def test_intervals_of_a_panel_cover_what_they_say(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    panel = [np.exp(3 + np.cumsum(rng.normal(0, 0.1, 260))) for _ in range(12)]
    result = trained(tmp_path, [values[:-60] for values in panel], 6)
    assert result.metrics["coverage"] == pytest.approx(0.8, abs=0.08)
    inside = []
    for values in panel:
        for origin in range(200, 254, 18):
            forecast = predict(tmp_path, values[:origin])["quantiles"]
            ahead = values[origin : origin + 6]
            inside.append((ahead >= forecast["0.1"]) & (ahead <= forecast["0.9"]))
    assert np.mean(inside) == pytest.approx(0.8, abs=0.08)
