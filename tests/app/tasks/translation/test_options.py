from typing import Any

import msgspec
import pytest
from pydantic import ValidationError

from app.tasks.translation.options import (
    TranslationInstance,
    TranslationOptions,
    TranslationParameters,
    check_options,
)


def summary(source: int = 2, target: int = 3) -> dict[str, Any]:
    sides = (("source", source), ("target", target))
    return {side: {"words_per_text": {"shortest": shortest}} for side, shortest in sides}


def limits(**options: Any) -> tuple[int, int]:
    chosen = TranslationOptions(**options)
    return chosen.max_vocabulary, chosen.max_train_tokens


def test_without_options_units_have_their_own_sizes() -> None:
    assert limits() == (4_000, 100)
    assert (limits(tokens="word")[0], limits(tokens="character")[1]) == (12_000, 400)
    assert limits(vocabulary_size=999, max_length=7) == (999, 7)


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
        TranslationOptions.model_validate(wrong, strict=True)


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
    pointers = [problem.pointer for problem in check_options(summary(), TranslationOptions(**options))]
    assert pointers == ([pointer] if pointer else [])


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
        msgspec.convert(wrong, TranslationParameters)


@pytest.mark.parametrize("wrong", [{}, {"text": 7}, {"text": "a", "to": "es"}])
def test_wrong_instances_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, TranslationInstance)
