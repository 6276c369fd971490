"""What a generation job may choose, and what it gets where it says nothing."""

from typing import Any

import pytest
from pydantic import ValidationError

from app.hyperparameters.options import NetworkIn, TrainingIn
from app.tasks.generation.options import GenerationOptions, check_options, network_defaults, training_defaults

ENOUGH = {"train_characters": 100_000}


def test_there_is_a_default_for_every_unit() -> None:
    sizes = {
        unit: GenerationOptions(tokens=unit).max_vocabulary(10**9) for unit in ("character", "bpe", "word")
    }
    assert sizes == {"character": 8192, "bpe": 4000, "word": 10_000}
    assert GenerationOptions().tokens == "bpe"
    assert (
        GenerationOptions(vocabulary_size=99).max_vocabulary(1),
        GenerationOptions(min_count=1).min_token_count,
        GenerationOptions().min_token_count,
    ) == (99, 1, 2)


def test_little_text_has_few_pairs_of_bytes() -> None:
    assert [GenerationOptions().max_vocabulary(characters) for characters in (0, 1_000_000, 10**9)] == [
        300,
        500,
        4000,
    ]


@pytest.mark.parametrize(
    "wrong",
    [{"tokens": "syllable"}, {"vocabulary_size": 7}, {"vocabulary_size": 65_537}, {"min_count": 0}, {"x": 1}],
)
def test_options_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        GenerationOptions.model_validate(wrong)


def test_options_that_do_not_fit_are_reported_before_anything_is_trained() -> None:
    assert check_options(ENOUGH, GenerationOptions()) == []
    [few] = check_options({"train_characters": 999}, GenerationOptions())
    assert few.pointer == "/dataset"
    assert "999" in few.detail
    [small] = check_options(ENOUGH, GenerationOptions(tokens="bpe", vocabulary_size=299))
    assert small.pointer == "/options/vocabulary_size"
    assert check_options(ENOUGH, GenerationOptions(tokens="word", vocabulary_size=299)) == []


@pytest.mark.parametrize("unit", ["character", "bpe", "word"])
def test_defaults_are_settings_that_a_job_may_name(unit: Any) -> None:
    network = network_defaults(GenerationOptions(tokens=unit))
    assert NetworkIn.model_validate(network).model_dump(exclude_none=True) == network
    assert network["tie_weights"] == (unit != "character")
    assert not network["bidirectional"]
    training = training_defaults(ENOUGH)
    assert TrainingIn.model_validate(training).model_dump(exclude_none=True) == training
    assert training["bptt_steps"] == 64


def test_little_text_is_read_more_often_and_in_fewer_streams() -> None:
    small, middle, large = (training_defaults({"train_characters": size}) for size in (1000, 150_000, 10**9))
    assert small["epochs"] >= middle["epochs"] > large["epochs"] >= 1
    assert small["batch_size"] < middle["batch_size"] < large["batch_size"]
    assert training_defaults({"train_characters": 0})["batch_size"] >= 1
