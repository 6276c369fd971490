"""Names of uploads in requests of tasks whose instances are not series."""

import json
from typing import Any

import pytest

from app.errors import Invalid, Problem
from app.prediction.upload_names import parse_named_request
from app.tasks import TASKS

CLASSIFICATION, TRANSLATION, SPEECH = (TASKS[name] for name in ("classification", "translation", "speech"))


def parse(task: Any, columns: dict[str, str], *instances: Any, **parameters: Any) -> Any:
    body = {"instances": list(instances), "parameters": parameters}
    return parse_named_request(task, {}, columns, json.dumps(body).encode())


def test_a_column_of_the_upload_is_the_field_that_it_was_mapped_to() -> None:
    request = parse(CLASSIFICATION, {"text": "review", "label": "mood"}, {"review": "fine"}, top_k=1)
    assert request.instances == [CLASSIFICATION.instance(text="fine")]
    assert request.parameters == CLASSIFICATION.parameters(top_k=1)


def test_the_names_of_a_data_set_are_known_too() -> None:
    for columns in ({}, {"source": "english"}):
        request = parse(TRANSLATION, columns, {"source": "good day"}, {"text": "night"})
        assert [one.text for one in request.instances] == ["good day", "night"]
    assert parse(TRANSLATION, {"source": "english"}, {"english": "yes"}).instances[0].text == "yes"
    assert parse(SPEECH, {}, {"audio": "UklGRg=="}).instances[0].audio_base64 == b"RIFF"


def test_a_field_of_the_task_is_never_another_one() -> None:
    """A column may have been named as a field of the instance that it is not."""
    assert parse(CLASSIFICATION, {"text": "values", "label": "text"}, {"text": "fine"}) is None


def test_problems_point_at_the_names_that_were_sent() -> None:
    columns = {"text": "review"}
    for instances, pointer in (
        ([{"review": 5}], "/instances/0/review"),
        ([{"review": "a"}, {"review": "a", "mood": "b"}], "/instances/1"),
        ([{"review": "a", "text": "b"}], "/instances/0"),
    ):
        with pytest.raises(Invalid) as refused:
            parse(CLASSIFICATION, columns, *instances)
        assert [one.pointer for one in refused.value.problems] == [pointer]


def test_what_is_wrong_beside_such_names_is_named() -> None:
    for more, pointer in (
        ({"parameters": {"top_k": -1}}, "/parameters/top_k"),
        ({"parameters": {"top": 1}}, "/parameters"),
        ({"dataset": "ds_1"}, "/dataset"),
        ({"methods": 1}, ""),
    ):
        body = json.dumps({"instances": [{"review": "a"}], **more}).encode()
        with pytest.raises(Invalid) as refused:
            parse_named_request(CLASSIFICATION, {}, {"text": "review"}, body)
        assert [one.pointer for one in refused.value.problems] == [pointer]


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b'{"instances":[1]}', b'{"instances":[{"text":"a"}]}'])
def test_a_request_without_such_names_is_left_alone(body: bytes) -> None:
    assert parse_named_request(CLASSIFICATION, {}, {"text": "review"}, body) is None


def test_a_problem_is_a_problem() -> None:
    with pytest.raises(Invalid) as refused:
        parse(CLASSIFICATION, {"text": "review"}, *[{"review": "a"}] * 4097)
    assert refused.value.problems == [Problem("/instances", "takes 1 to 4096 instances")]
