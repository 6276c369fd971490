"""The relative difference of two answers."""

import math
from typing import Any

import pytest

from app.services.serving.shadowing import relative_difference

FORECAST = {
    "item_id": "a",
    "mean": [1.0, 2.0],
    "quantiles": {"0.1": [0.5, 1.0]},
    "timestamps": ["2020", "2021"],
}


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (1.0, 1.0, 0.0),
        (0, 0.0, 0.0),
        (1.0, 2.0, 0.5),
        (-1.0, 1.0, 2.0),
        (0.0, 1e-300, 1.0),
        (100, 99, 0.01),
        ("a", "a", 0.0),
        ("a", "b", math.inf),
        (None, None, 0.0),
        (None, 0.0, math.inf),
        ([], [], 0.0),
        ([1.0], [1.0, 1.0], math.inf),
        ([1.0, 2.0], [1.0, 1.0], 0.5),
        ({}, {}, 0.0),
        ({"a": 1.0}, {"b": 1.0}, math.inf),
        ({"a": 1.0, "b": [4.0]}, {"b": [3.0], "a": 1.0}, 0.25),
        ({"a": 1.0}, [1.0], math.inf),
        (FORECAST, FORECAST, 0.0),
        (FORECAST, {**FORECAST, "quantiles": {"0.1": [0.5, 0.9]}}, 0.1),
        (FORECAST, {**FORECAST, "timestamps": ["2020", "2022"]}, math.inf),
    ],
)
def test_the_largest_relative_difference_of_a_number(one: Any, other: Any, expected: float) -> None:
    assert relative_difference(one, other) == pytest.approx(expected)
    assert relative_difference(other, one) == pytest.approx(expected)
