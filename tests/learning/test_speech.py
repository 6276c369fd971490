"""Default options on real recordings: words that a network must recognize, beside the baselines."""

from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.factories.default_jobs import train_with_defaults
from tests.support.fixtures.real_data import shared


class Recordings(NamedTuple):
    """A data set with the error rates that the default network may have, in per cent."""

    name: str
    max_wer: float
    max_cer: float


@pytest.mark.slow
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize(
    "recordings",
    [
        Recordings("yesno_hebrew", 5.0, 5.0),
        Recordings("spoken_digits", 3.0, 3.0),
        Recordings("digit_strings", 2.0, 2.0),
        Recordings("read_english", 79.0, 45.0),
    ],
    ids=lambda one: one.name,
)
def test_the_default_network_recognizes_words(recordings: Recordings, tmp_path: Path) -> None:
    result = train_with_defaults("speech", shared(f"speech/{recordings.name}.zip"), tmp_path)
    assert result.metrics["wer"] <= recordings.max_wer
    assert result.metrics["cer"] <= recordings.max_cer
    assert result.metrics["wer"] < result.baseline["wer"]
