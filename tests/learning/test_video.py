"""Default options on real clips: what people do, and which way a digit moves: no single frame says it."""

from pathlib import Path

import pytest

from app.typedefs import Json
from tests.support.factories.default_jobs import train_with_defaults
from tests.support.fixtures.real_data import shared


def trained(name: str, directory: Path) -> tuple[Json, Json]:
    """Metrics of a network with default options, and of the frame average."""
    outcome = train_with_defaults("video", shared(name), directory, threads=2)
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
