"""Default options on chorales by Bach and on pieces for the piano: better than counting, and as published."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.hyperparameters.options import NETWORK, TRAINING
from app.ingest.readers import Mapping, open_source
from app.tasks import TASKS
from app.tasks.source import Faults
from tests.support.fixtures.real_data import shared
from workers.training.run import train
from workers.training.stages import TrainSpec

MAX_NATS_PER_STEP = {"jsb_chorales": 6.0, "piano_midi": 8.2}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", MAX_NATS_PER_STEP)
def test_default_options_predict_held_out_pieces(name: str, tmp_path: Path) -> None:
    task, faults = TASKS["music"], Faults()
    source = open_source(shared(f"music/{name}.zip"), "zip", Mapping.checked({}, ()), faults)
    reading = task.read(source, faults)
    faults.check()
    arrays: dict[str, Any] = reading.arrays
    np.savez(tmp_path / "arrays.npz", **arrays)
    options = task.options()
    defaults = task.defaults(reading.summary, options)
    network, training = NETWORK | defaults.network, TRAINING | defaults.training | {"device": "cpu"}
    spec = TrainSpec(task.name, network, training, options.model_dump(mode="json"))
    outcome = train(spec, tmp_path, tmp_path / "out", on=lambda _: None, should_stop=lambda: False)
    assert outcome.metrics["nats_per_step"] < MAX_NATS_PER_STEP[name]
    assert outcome.metrics["nats_per_step"] < outcome.baseline["nats_per_step"]
