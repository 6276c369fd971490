"""Requests for explanations as they are read."""

import json
from typing import Any

import pytest

from app.errors import Invalid
from app.prediction.explanation_request import MAX_EXPLAINED_STEPS, check_steps, parse_explanation_request
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


def test_inputs_have_a_longest() -> None:
    check_steps(MAX_EXPLAINED_STEPS)
    with pytest.raises(Invalid) as refused:
        check_steps(MAX_EXPLAINED_STEPS + 1)
    assert refused.value.problems[0].pointer == "/instances/0"
