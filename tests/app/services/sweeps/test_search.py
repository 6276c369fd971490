"""What a request for a sweep may say."""

from typing import Any

import pytest
from pydantic import ValidationError

from app.services.sweeps.search import SweepIn
from app.tasks.shared.validation_metrics import VALIDATION_LOSS, validation_metric
from tests.support.factories.sweeps import sweep_request


def faults(**fields: Any) -> dict[str, str]:
    """What is wrong, by field."""
    with pytest.raises(ValidationError) as raised:
        sweep_request(**fields)
    return {".".join(map(str, error["loc"])): error["msg"] for error in raised.value.errors()}


def test_everything_but_the_search_has_a_default() -> None:
    made = sweep_request()
    assert (made.metric, made.sampler, made.max_trials, made.seeds, made.prune) == (
        VALIDATION_LOSS,
        None,
        20,
        3,
        None,
    )
    assert (made.max_parallel, made.max_seconds, made.metadata) == (None, None, {})
    assert made.search == {"network.cell": ["rnn", "lstm", "gru"]}


def test_a_range_keeps_what_was_said_of_it() -> None:
    search = {
        "a": {"min": 1, "max": 3},
        "b": {"min": 0.1, "max": 1, "log": True},
        "c": {"min": 0, "max": 9, "step": 3},
    }
    assert sweep_request(search=search).search == search


@pytest.mark.parametrize(
    ("dimension", "why"),
    [
        ([], "1 to 64 values"),
        (list(range(65)), "1 to 64 values"),
        ([1, 2, 1], "1 is there twice"),
        ([{"a": 1}, {"a": 1}], "is there twice"),
        ([float("nan")], "JSON of Unicode"),
        (["\ud800"], "JSON of Unicode"),
        ("gru", "a list of values, or a range"),
        (None, "a list of values, or a range"),
        (7, "a list of values, or a range"),
        ({}, "min: Field required"),
        ({"min": 1}, "max: Field required"),
        ({"min": 1, "max": 1}, "less than max"),
        ({"min": "1", "max": 2}, "min: "),
        ({"min": True, "max": 2}, "min: "),
        ({"min": 1, "max": float("inf")}, "max: "),
        ({"min": 1, "max": 1e16}, "max: "),
        ({"min": 1, "max": 10**400}, "max: "),
        ({"min": 1, "max": 2, "steps": 3}, "steps: Extra"),
        ({"min": 0, "max": 2, "log": True}, "more than 0 on a log scale"),
        ({"min": 1, "max": 9, "log": True, "step": 2}, "not both"),
        ({"min": 1, "max": 9, "step": 0}, "step: "),
        ({"min": 1, "max": 9, "step": 10}, "not be more than"),
    ],
)
def test_a_wrong_dimension_is_named(dimension: Any, why: str) -> None:
    problems = faults(search={"network.layers": dimension})
    assert list(problems) == ["search.network.layers"]
    assert why in problems["search.network.layers"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"search": {}}, "search"),
        ({"search": {f"network.{k}": [1] for k in range(17)}}, "search"),
        ({"search": [1]}, "search"),
        ({"max_trials": 0}, "max_trials"),
        ({"max_trials": 201}, "max_trials"),
        ({"seeds": 0}, "seeds"),
        ({"seeds": 11}, "seeds"),
        ({"prune": 1}, "prune"),
        ({"sampler": "cmaes"}, "sampler"),
        ({"max_parallel": 0}, "max_parallel"),
        ({"max_seconds": 0}, "max_seconds"),
        ({"direction": "maximize"}, "direction"),
        ({"network": {"cell": "transformer"}}, "network.cell"),
    ],
)
def test_a_wrong_field_is_named(fields: Any, field: str) -> None:
    assert list(faults(**fields)) == [field]


def test_a_metric_of_validation_data_has_another_name_than_that_of_test_data() -> None:
    assert (validation_metric("valid_loss"), validation_metric("accuracy")) == (
        "valid_loss",
        "valid_accuracy",
    )


def test_the_schema_says_the_same() -> None:
    schema = SweepIn.model_json_schema()
    assert schema["required"] == ["task", "dataset", "model", "search"]
    one = schema["properties"]["search"]["additionalProperties"]["anyOf"]
    assert [kind["type"] for kind in one] == ["array", "object"]
