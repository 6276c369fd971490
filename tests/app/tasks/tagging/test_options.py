from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from app.tasks.tagging.options import (
    LARGE_DATASET_TOKENS,
    MANY_DISTINCT_WORDS,
    TaggingOptions,
    check_options,
    network_defaults,
    training_defaults,
    vocabulary_settings,
)
from app.typedefs import Json

ENTITIES = {"scheme": "bio", "train_tokens": 40_000}
PLAIN = {"scheme": "plain", "train_tokens": 1_000_000}


@pytest.mark.parametrize(
    "wrong",
    [
        {"scheme": "iob1"},
        {"min_count": 0},
        {"vocabulary_size": 7},
        {"lower": 1},
        {"word_length": 1},
        {"word_length": 65},
        {"rare_dropout": -0.1},
        {"max_length": 7},
        {"max_length": 5_001},
        {"tokens": "word"},
    ],
)
def test_wrong_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TaggingOptions.model_validate(wrong, strict=True)


@pytest.mark.parametrize("scheme", ["bio", "bioes"])
def test_tags_that_mark_no_entities_have_no_scheme(scheme: Any) -> None:
    [problem] = check_options(PLAIN, TaggingOptions(scheme=scheme))
    assert problem.pointer == "/options/scheme"
    assert scheme in problem.detail
    assert check_options(ENTITIES, TaggingOptions(scheme=scheme)) == []


@pytest.mark.parametrize("scheme", ["auto", "plain"])
def test_any_tags_can_be_learned_as_they_are(scheme: Any) -> None:
    assert check_options(PLAIN, TaggingOptions(scheme=scheme)) == []
    assert check_options(ENTITIES, TaggingOptions(scheme=scheme)) == []


def test_entities_are_learned_by_a_crf() -> None:
    assert network_defaults(ENTITIES, TaggingOptions())["crf"]
    assert not network_defaults(ENTITIES, TaggingOptions(scheme="plain"))["crf"]
    assert not network_defaults(PLAIN, TaggingOptions())["crf"]
    assert training_defaults(ENTITIES, TaggingOptions())["selection"] == "last"
    assert training_defaults(PLAIN, TaggingOptions())["selection"] == "best"


def summary_of(train_tokens: int) -> Json:
    return {"scheme": "bio", "train_tokens": train_tokens}


def test_little_text_is_read_often() -> None:
    few, many = (training_defaults(summary_of(size), TaggingOptions()) for size in (9, 10**9))
    assert few["epochs"] > many["epochs"] > 1
    assert few["batch_size"] < many["batch_size"]
    small, large = (
        network_defaults(summary_of(LARGE_DATASET_TOKENS - fewer), TaggingOptions()) for fewer in (1, 0)
    )
    assert small["dropout"] > large["dropout"]


def test_of_very_many_words_those_that_occur_once_are_unknown() -> None:
    counts = np.ones(MANY_DISTINCT_WORDS + 5, np.int64)
    counts[:5] = 0
    assert vocabulary_settings(TaggingOptions(), counts)["min_count"] == 1
    counts[:5] = 1
    assert vocabulary_settings(TaggingOptions(), counts)["min_count"] == 2
    assert vocabulary_settings(TaggingOptions(min_count=1), counts)["min_count"] == 1
