from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from app.tasks.tagging.options import (
    LARGE,
    MANY_WORDS,
    Options,
    check_options,
    network_defaults,
    training_defaults,
    vocabulary_of,
)

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
        Options.model_validate(wrong, strict=True)


@pytest.mark.parametrize("scheme", ["bio", "bioes"])
def test_tags_that_tell_no_entities_have_no_scheme(scheme: Any) -> None:
    [problem] = check_options(PLAIN, Options(scheme=scheme))
    assert problem.pointer == "/options/scheme"
    assert scheme in problem.detail
    assert check_options(ENTITIES, Options(scheme=scheme)) == []


@pytest.mark.parametrize("scheme", ["auto", "plain"])
def test_any_tags_can_be_learned_as_they_are(scheme: Any) -> None:
    assert check_options(PLAIN, Options(scheme=scheme)) == []
    assert check_options(ENTITIES, Options(scheme=scheme)) == []


def test_entities_are_found_by_a_chain() -> None:
    assert network_defaults(ENTITIES, Options())["crf"]
    assert not network_defaults(ENTITIES, Options(scheme="plain"))["crf"]
    assert not network_defaults(PLAIN, Options())["crf"]
    assert training_defaults(ENTITIES, Options())["selection"] == "last"
    assert training_defaults(PLAIN, Options())["selection"] == "best"


def test_little_text_is_read_often() -> None:
    few, many = (training_defaults({"scheme": "bio", "train_tokens": size}, Options()) for size in (9, 10**9))
    assert few["epochs"] > many["epochs"] > 1
    assert few["batch_size"] < many["batch_size"]
    small, large = ({"scheme": "bio", "train_tokens": size} for size in (LARGE - 1, LARGE))
    assert network_defaults(small, Options())["dropout"] > network_defaults(large, Options())["dropout"]


def test_of_very_many_words_those_seen_once_are_unknown() -> None:
    counts = np.ones(MANY_WORDS + 5, np.int64)
    counts[:5] = 0
    assert vocabulary_of(Options(), counts)["least"] == 1
    counts[:5] = 1
    assert vocabulary_of(Options(), counts)["least"] == 2
    assert vocabulary_of(Options(min_count=1), counts)["least"] == 1
