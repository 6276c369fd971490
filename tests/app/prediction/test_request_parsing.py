"""A large request is parsed piece by piece, and told apart from a small one by nothing."""

import json
from typing import Any

import pytest

from app.errors import Invalid
from app.prediction import request_parsing
from app.prediction.request_parsing import MAX_INSTANCES, parse_request
from app.tasks import TASKS
from app.validation import json_slices

FORECASTING = TASKS["forecasting"]
SERIES = {"values": [1, None, 2.5, "NaN"], "start": "2026-01-01", "past": {"price": [1, "a", None]}}
REQUESTS: list[Any] = [
    {"instances": [SERIES, {"values": [3]}], "parameters": {"quantiles": [0.5]}},
    {"instances": [SERIES] * 9},
    {"instances": []},
    {"instances": [{"values": [1]}] * (MAX_INSTANCES + 1)},
    {"instances": [SERIES, {"values": []}]},
    {"instances": [SERIES, {"values": [1, [2]]}]},
    {"instances": [SERIES, {"valuse": [1]}]},
    {"instances": [SERIES, 5]},
    {"instances": [SERIES, {}]},
    {"instances": 5},
    {"instances": [SERIES], "parameters": {"horizon": 0}},
    {"instances": [SERIES], "more": 1},
    {"parameters": {}},
    [SERIES],
    {"instances": [SERIES], "parameters": {"quantiles": [0.5] * 100}},
]


def outcome(body: bytes) -> Any:
    try:
        return parse_request(FORECASTING, body)
    except Invalid as error:
        return error.message, error.problems


@pytest.mark.parametrize("number", range(len(REQUESTS)))
def test_pieces_are_read_as_the_whole(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    body = json.dumps(REQUESTS[number]).encode()
    whole = outcome(body)
    monkeypatch.setattr(request_parsing, "SLICE_BYTES", 0)
    pieces = outcome(body)
    if isinstance(whole, tuple):
        assert pieces == whole
    else:
        assert (pieces.instances, pieces.parameters) == (whole.instances, whole.parameters)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"instances":[{"values":[1,]}]}',
        b'{"instances":[{"item_id":"\xff","values":[1]}]}',
        b"[" * 5000,
    ],
)
def test_what_is_not_json_is_refused_in_both(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    whole = outcome(body)
    monkeypatch.setattr(request_parsing, "SLICE_BYTES", -1)
    assert outcome(body) == whole


def test_a_request_and_an_instance_have_so_many_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_parsing, "SLICE_BYTES", 0)
    monkeypatch.setattr(request_parsing, "MAX_INSTANCE_VALUES", 10)
    body = json.dumps({"instances": [{"values": [1]}, {"values": [1] * 11}]}).encode()
    _, (problem,) = outcome(body)
    assert problem.pointer == "/instances/1"
    monkeypatch.setattr(json_slices, "MAX_JSON_VALUES", 8)
    _, (problem,) = outcome(body)
    assert (problem.pointer, "split it" in problem.detail) == ("", True)


def test_quantiles_are_as_many_as_a_job_may_train() -> None:
    body = {"instances": [{"values": [1]}], "parameters": {"quantiles": [0.5] * 100}}
    message, (problem,) = outcome(json.dumps(body).encode())
    assert problem.pointer == "/parameters/quantiles"
    assert "99" in message
