from typing import Any

import msgspec
import pytest
from pydantic import ValidationError

from app.tasks.translation.options import Instance, Options, Parameters, check_options


def summary(source: int = 2, target: int = 3) -> dict[str, Any]:
    sides = (("source", source), ("target", target))
    return {side: {"words_per_text": {"shortest": shortest}} for side, shortest in sides}


def test_without_options_units_have_their_own_sizes() -> None:
    assert (Options().size, Options().longest) == (4_000, 100)
    assert (Options(tokens="word").size, Options(tokens="character").longest) == (12_000, 400)
    assert (Options(vocabulary_size=999).size, Options(max_length=7).longest) == (999, 7)


@pytest.mark.parametrize(
    "wrong",
    [
        {"tokens": "syllable"},
        {"vocabulary_size": 0},
        {"vocabulary_size": 1 << 17},
        {"max_length": 0},
        {"min_count": 0},
        {"lower": 1},
        {"beam_size": 3},
    ],
)
def test_wrong_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Options.model_validate(wrong, strict=True)


@pytest.mark.parametrize(
    ("options", "pointer"),
    [
        ({}, None),
        ({"max_length": 3}, None),
        ({"max_length": 2}, "/options/max_length"),
        ({"vocabulary_size": 299}, "/options/vocabulary_size"),
        ({"vocabulary_size": 299, "tokens": "word"}, None),
    ],
)
def test_options_that_do_not_fit_the_data(options: dict[str, Any], pointer: str | None) -> None:
    found = [problem.pointer for problem in check_options(summary(), Options(**options))]
    assert found == ([pointer] if pointer else [])


@pytest.mark.parametrize(
    "wrong",
    [
        {"beam_size": 0},
        {"beam_size": 33},
        {"max_tokens": 513},
        {"length_penalty": -0.1},
        {"coverage_penalty": 3},
        {"attention": 1},
        {"temperature": 1},
    ],
)
def test_wrong_parameters_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, Parameters)


@pytest.mark.parametrize("wrong", [{}, {"text": ""}, {"text": 7}, {"text": "a", "to": "es"}])
def test_wrong_instances_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, Instance)
