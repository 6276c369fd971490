"""Requests for explanations as they are read."""

import json
from typing import Any

import pytest

from app.errors import Invalid
from app.prediction.explanation_request import (
    MAX_EXPLAINED_STEPS,
    check_steps,
    parse_explanation_request,
    read_explanation_request,
)
from app.tasks import TASKS


def parsed(task: str, **body: Any) -> Any:
    return parse_explanation_request(TASKS[task], json.dumps(body).encode())


@pytest.mark.parametrize("task", sorted(TASKS))
def test_the_method_stands_beside_the_instance(task: str) -> None:
    instance = TASKS[task].example_instance
    assert parsed(task, instances=[instance]).method == "gradient"
    request = parsed(task, instances=[instance], method="integrated_gradients", parameters={})
    assert request.method == "integrated_gradients"
    assert isinstance(request.instances[0], TASKS[task].instance)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"instances": [{"prompt": "a"}, {"prompt": "b"}]}, "/instances"),
        ({"instances": [{"prompt": "a"}], "parameters": {"stream": True}}, "/parameters/stream"),
        ({"instances": [{"prompt": "a"}], "method": "shap"}, "/method"),
        ({"instances": [{"prompt": 1}]}, "/instances/0/prompt"),
        ({"instances": [{"prompt": "a"}], "parameters": {"method": "gradient"}}, "/parameters"),
    ],
)
def test_faults_are_pointed_at(body: Any, pointer: str) -> None:
    with pytest.raises(Invalid) as refused:
        parsed("generation", **body)
    assert refused.value.problems[0].pointer == pointer
    assert "This is a generation model" in refused.value.message


def test_a_field_in_the_wrong_object_is_shown_its_own() -> None:
    with pytest.raises(Invalid, match="the request"):
        parsed("generation", instances=[{"prompt": "a"}], parameters={"method": "gradient"})


def named(task: str, columns: dict[str, str], *instances: Any, **more: Any) -> Any:
    body = json.dumps({"instances": instances, **more}).encode()
    return read_explanation_request(TASKS[task], {}, columns, body)


def test_instances_may_have_the_names_of_the_upload() -> None:
    columns = {"text": "review", "label": "mood"}
    request = named("classification", columns, {"review": "fine"}, method="integrated_gradients")
    assert (request.instances[0].text, request.method) == ("fine", "integrated_gradients")
    assert named("translation", {}, {"source": "good day"}).instances[0].text == "good day"
    assert named("classification", columns, {"text": "fine"}).method == "gradient"


@pytest.mark.parametrize(
    ("instances", "more", "pointer"),
    [
        ([{"review": 5}], {}, "/instances/0/review"),
        ([{"review": "a"}, {"review": "b"}], {}, "/instances"),
        ([{"mood": "good"}], {}, "/instances/0"),
        ([{"review": "a"}], {"method": "shap"}, "/method"),
        ([{"review": "a"}], {"parameters": {"top_k": -1}}, "/parameters/top_k"),
    ],
)
def test_faults_beside_such_names_are_pointed_at(instances: Any, more: Any, pointer: str) -> None:
    with pytest.raises(Invalid) as refused:
        named("classification", {"text": "review"}, *instances, **more)
    assert refused.value.problems[0].pointer == pointer


def test_inputs_have_a_longest() -> None:
    check_steps(MAX_EXPLAINED_STEPS)
    with pytest.raises(Invalid) as refused:
        check_steps(MAX_EXPLAINED_STEPS + 1)
    assert refused.value.problems[0].pointer == "/instances/0"
