"""Perplexity and bits, by their definitions."""

import math

import pytest

from app.tasks.generation.metrics import metrics_per_character, metrics_per_token


def test_a_uniform_choice_among_eight_is_three_bits() -> None:
    metrics = metrics_per_token(50 * math.log(8), 50)
    assert metrics == {"perplexity": pytest.approx(8), "bits_per_token": pytest.approx(3)}
    assert metrics_per_character(50 * math.log(8), 100) == {"bits_per_character": pytest.approx(1.5)}


def test_a_perplexity_is_always_a_number() -> None:
    assert math.isfinite(metrics_per_token(1e9, 1)["perplexity"])
