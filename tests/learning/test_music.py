"""Default options on chorales by Bach and on pieces for the piano: better than counting, and as published."""

from pathlib import Path

import pytest

from tests.support.factories.default_jobs import train_with_defaults
from tests.support.fixtures.real_data import shared

MAX_NATS_PER_STEP = {"jsb_chorales": 6.0, "piano_midi": 8.2}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", MAX_NATS_PER_STEP)
def test_default_options_predict_held_out_pieces(name: str, tmp_path: Path) -> None:
    outcome = train_with_defaults("music", shared(f"music/{name}.zip"), tmp_path)
    assert outcome.metrics["nats_per_step"] < MAX_NATS_PER_STEP[name]
    assert outcome.metrics["nats_per_step"] < outcome.baseline["nats_per_step"]
