"""Default options on real clips: what people do, and which way a digit moves: no single frame says it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.hyperparameters.options import NETWORK, TRAINING
from app.ingest.readers import Mapping, open_source
from app.tasks import TASKS
from app.tasks.source import Faults
from app.typedefs import Json
from tests.support.fixtures.real_data import shared
from workers.training.run import train
from workers.training.stages import TrainSpec


def trained(name: str, directory: Path) -> tuple[Json, Json]:
    """Metrics of a network with default options, and of the frame average."""
    task, faults = TASKS["video"], Faults()
    reading = task.read(open_source(shared(name), "zip", Mapping.checked({}, ()), faults), faults)
    arrays: dict[str, Any] = reading.arrays
    np.savez(directory / "arrays.npz", **arrays)
    options = task.options()
    defaults = task.defaults(reading.summary, options)
    spec = TrainSpec(
        task.name, NETWORK | defaults.network, TRAINING | defaults.training, options.model_dump(mode="json")
    )
    outcome = train(
        spec, directory, directory / "out", on=lambda _: None, should_stop=lambda: False, threads=2
    )

    return outcome.metrics, outcome.baseline


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_actions_of_people_who_were_never_seen(tmp_path: Path) -> None:
    metrics, baseline = trained("video/human_actions_depth.zip", tmp_path)
    assert metrics["accuracy"] >= 0.75
    assert metrics["accuracy"] > baseline["accuracy"]


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_directions_that_no_frame_shows(tmp_path: Path) -> None:
    metrics, baseline = trained("video/moving_digits_direction.zip", tmp_path)
    assert metrics["accuracy"] >= 0.90
    assert baseline["accuracy"] <= 0.60
