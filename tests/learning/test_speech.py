"""Default options on real recordings: words that a network must recognize, beside the baselines."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from app.hyperparameters.options import NETWORK, TRAINING
from app.ingest.readers import Mapping, open_source
from app.tasks import TASKS
from app.tasks.source import Faults
from tests.support.fixtures.real_data import shared
from workers.training.run import train
from workers.training.stages import TrainSpec


class Recordings(NamedTuple):
    """A data set with the word error rate that the default network may have, in per cent."""

    name: str
    max_wer: float


@pytest.mark.slow
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize(
    "recordings",
    [Recordings("yesno_hebrew", 5.0), Recordings("spoken_digits", 3.0)],
    ids=lambda one: one.name,
)
def test_the_default_network_recognizes_words(recordings: Recordings, tmp_path: Path) -> None:
    task, faults = TASKS["speech"], Faults()
    source = open_source(shared(f"speech/{recordings.name}.zip"), "zip", Mapping({}), faults)
    reading = task.read(source, faults)
    np.savez(tmp_path / "arrays.npz", allow_pickle=False, **reading.arrays)
    options = task.options()
    defaults = task.defaults(reading.summary, options)
    spec = TrainSpec(
        task.name,
        NETWORK | defaults.network,
        TRAINING | defaults.training | {"device": "cpu"},
        options.model_dump(mode="json"),
    )
    result = train(spec, tmp_path, tmp_path / "out", on=lambda _: None, should_stop=lambda: False)
    assert result.metrics["wer"] <= recordings.max_wer
    assert result.metrics["wer"] < result.baseline["wer"]
