"""Options: what is refused, and defaults by how much music there is."""

import pytest

from app.hyperparameters.options import NetworkIn, TrainingIn
from app.tasks.music.options import NETWORK_DEFAULTS, MusicOptions, check_options, training_defaults
from app.typedefs import Json

SUMMARY: Json = {"pieces": 10, "train_notes": 1000, "train_events": 5000, "tracks": 4, "drums": False}


@pytest.mark.parametrize(
    ("change", "options", "pointer"),
    [
        ({"pieces": 2}, {}, "/dataset"),
        ({"train_notes": 99}, {}, "/dataset"),
        ({"tracks": 1}, {"coding": "voices"}, "/options/coding"),
        ({"drums": True}, {"coding": "voices"}, "/options/coding"),
        ({}, {"coding": "performance", "steps_per_quarter": 4}, "/options/steps_per_quarter"),
    ],
)
def test_what_does_not_fit_is_named(change: Json, options: Json, pointer: str) -> None:
    (problem,) = check_options(SUMMARY | change, MusicOptions(**options))
    assert problem.pointer == pointer


def test_ordinary_options_fit() -> None:
    for options in ({}, {"coding": "voices"}, {"coding": "performance", "stretch": 0.0}):
        assert check_options(SUMMARY, MusicOptions.model_validate(options)) == []


def test_little_music_is_read_more_often() -> None:
    few, many = (training_defaults({"train_events": count}) for count in (5_000, 10_000_000))
    assert few["epochs"] > many["epochs"]
    assert few["batch_size"] < many["batch_size"]
    for defaults in (few, many):
        TrainingIn.model_validate(defaults)
    NetworkIn.model_validate(NETWORK_DEFAULTS)
