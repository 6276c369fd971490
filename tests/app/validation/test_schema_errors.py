"""Errors of pydantic and msgspec as problems: one a place, and places that the request has."""

import math
from typing import Any

import pytest
from pydantic import ValidationError

from app.errors import Problem
from app.schemas import AliasIn, JobIn
from app.validation.schema_errors import msgspec_problem, pydantic_problems

JOB: dict[str, Any] = {"task": "a", "dataset": "b", "model": "c"}
KINDS = "Input should be one of: string, integer, number, boolean"


def problems(body: Any, model: type[JobIn] | type[AliasIn] = JobIn) -> list[Problem]:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(body)
    return pydantic_problems(caught.value.errors(include_url=False), body)


@pytest.mark.parametrize(
    ("metadata", "place", "detail"),
    [
        ({"a": {"b": [1]}}, "/metadata/a", KINDS),
        ({"a": [1]}, "/metadata/a", KINDS),
        ({"int": {}}, "/metadata/int", KINDS),
        ({"a/b": []}, "/metadata/a~1b", KINDS),
        ({"a": math.inf}, "/metadata/a", "Input should be a finite number"),
        ({"a": "x" * 70_000}, "/metadata/a", "String should have at most 65536 characters"),
        (
            {"a": "\ud83d"},
            "/metadata/a",
            "The a is no Unicode text: character 0 is half of a surrogate pair.",
        ),
        ([], "/metadata", "Input should be an object, not an array"),
        ("x", "/metadata", "Input should be an object, not a string"),
    ],
)
def test_a_value_that_no_branch_of_a_union_takes_is_one_fault(metadata: Any, place: str, detail: str) -> None:
    assert problems(JOB | {"metadata": metadata}) == [Problem(place, detail)]


@pytest.mark.parametrize(
    ("body", "place"),
    [({"\ud800": None}, ""), (JOB | {"\ud800": 1}, ""), (JOB | {"metadata": {"\ud800": 1}}, "/metadata")],
)
def test_a_key_that_is_no_text_is_pointed_at_by_its_object(body: Any, place: str) -> None:
    detail = "The name of a field is no Unicode text: character 0 is half of a surrogate pair."
    assert Problem(place, detail) in problems(body)


def test_missing_and_unknown_fields_are_named_themselves() -> None:
    body = {"task": "a", "dataset": "b", "training": {"epoch": 3}}
    assert [problem.pointer for problem in problems(body)] == ["/model", "/training/epoch"]


def test_keys_of_mappings_are_not_named_by_the_validator() -> None:
    assert [problem.pointer for problem in problems({"versions": {"1": "x"}}, AliasIn)] == ["/versions/1"]
    assert [problem.pointer for problem in problems(JOB | {"metadata": {"k" * 70_000: 1}})] == [
        f"/metadata/{'k' * 70_000}"
    ]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (
            JOB | {"training": {"device": "gpu"}},
            Problem("/training/device", "Input should be auto, cpu, cuda, or cuda: with a number"),
        ),
        (
            JOB | {"model": "my model"},
            Problem(
                "/model",
                "Input should be 1 to 128 of A-Z, a-z, 0-9, '.', '_' and '-', the first a letter or a digit",
            ),
        ),
        ([], Problem("", "Input should be an object, not an array")),
        ("job", Problem("", "Input should be an object, not a string")),
        (JOB | {"network": 3}, Problem("/network", "Input should be an object, not a number")),
    ],
)
def test_what_is_expected_is_told_in_words(body: Any, problem: Problem) -> None:
    assert problems(body) == [problem]


def test_messages_of_msgspec_end_with_their_place() -> None:
    message = "Expected `int`, got `str` - at `$.a[3].b`"
    assert msgspec_problem(message) == Problem("/a/3/b", "Expected `int`, got `str`")
    assert msgspec_problem("Expected `int` - at `$.a[...].b`") == Problem("/a", "Expected `int`")
    assert msgspec_problem("Expected `object`") == Problem("", "Expected `object`")
