"""What the steps of an instance are called."""

import numpy as np
import pytest

from app.tasks.contract import BEGIN, END, UNKNOWN, Example
from app.tasks.forecasting.inference import ForecastingInstance, ForecastingParameters
from app.tasks.forecasting.options import ForecastingOptions
from app.tasks.forecasting.task import TASK as FORECASTING
from app.tasks.music.codings.chords import ChordCoding
from app.tasks.music.codings.performance import PerformanceCoding
from app.tasks.music.codings.pieces import Coding, label_events
from app.tasks.music.codings.voices import VoiceCoding
from app.tasks.shared import tokenizers
from app.tasks.shared.tokenizers import TokenUnit
from app.tasks.speech.inference import step_times
from tests.support.factories.series import series_set, waves

CODINGS: dict[str, Coding] = {
    "voices": VoiceCoding(4.0, 500_000, 80, [[60, 62], [40, 41]], True, [0, 0]),
    "chords": ChordCoding(4.0, 500_000, 80, [60, 61, 163], True, [0]),
    "performance": PerformanceCoding([60, 61, 163], [0]),
}


@pytest.mark.parametrize(("start", "last"), [("2024-01-01", "2024-01-03"), (None, "-1")])
def test_steps_of_series_have_their_stamps(start: str | None, last: str) -> None:
    plan = FORECASTING.plan(series_set(waves(4, 60)).arrays(), ForecastingOptions(horizon=4), 0)
    state = {**plan.state, "freq": "D"}
    instance = ForecastingInstance([1.0, 2.0, 3.0], start=start)
    (example,) = FORECASTING.encode(state, [instance], ForecastingParameters())
    labels = FORECASTING.step_labels(state, instance, example)
    assert len(labels) == len(example.inputs) == 3
    assert labels[-1] == last


@pytest.mark.parametrize("name", CODINGS)
def test_every_event_of_music_has_a_name_of_its_own(name: str) -> None:
    coding = CODINGS[name]
    labels = label_events(coding, range(BEGIN + 2, coding.size))
    assert len(set(labels)) == len(labels)
    assert label_events(coding, [END, UNKNOWN]) == ["end", "unknown"]


def test_events_say_what_they_do() -> None:
    assert CODINGS["performance"].label(4) == "wait 0.01 s"
    assert CODINGS["performance"].label(4 + 99) == "wait 1 s"
    assert CODINGS["performance"].label(4 + 100 + 32) == "on 60"
    assert CODINGS["performance"].label(4 + 100 + 32 + 3) == "off 60"
    assert [CODINGS["chords"].label(token) for token in (4, 5, 8)] == ["step", "note 60", "again 60"]
    assert [CODINGS["voices"].label(token) for token in (4, 5, 8, 11, 12)] == [
        "voice 1 rest", "voice 1 note 60", "voice 1 again 60", "voice 2 rest", "voice 2 note 40",
    ]  # fmt: skip


def test_steps_of_speech_are_times() -> None:
    assert step_times({"stride": 3}, 7) == ["0.00 s", "0.03 s", "0.06 s"]


def test_bytes_of_one_character_share_its_name() -> None:
    tokenizer = tokenizers.train_tokenizer(["the king"] * 3, TokenUnit.BPE, 300)
    encoded = tokenizers.encode(tokenizer, "k☂")
    pieces = tokenizers.pieces("k☂", encoded.spans)
    assert "".join(pieces) == "k☂"
    labels = tokenizers.piece_labels(pieces)
    assert labels == ["k", "☂", "…", "…"]
    assert len(labels) == len(Example(np.array(encoded.ids), None).inputs)
