"""Right answers are those of their own request."""

import math
from typing import Any

import orjson
import pytest

from benchmarks.serving.generator.messages import Corpus, Order
from benchmarks.serving.generator.verification import Finished, alike, judge, percentiles, right

EXPECTED = [0.5, -1.25]


def reply(data: list[float]) -> dict[str, object]:
    return {"outputs": [{"name": "outputs", "shape": [1, 2], "datatype": "FP32", "data": data}]}


@pytest.mark.parametrize(
    "body",
    [reply(EXPECTED), reply([0.50005, -1.25005]), reply(EXPECTED)["outputs"]],
    ids=["exact", "within the tolerance", "a bare list"],
)
def test_right(body: object) -> None:
    assert right(orjson.dumps(body), EXPECTED)


@pytest.mark.parametrize(
    "body",
    [
        reply([0.5002, -1.25]),
        reply([-1.25, 0.5]),
        reply([0.5]),
        reply([0.5, -1.25, 0.0]),
        reply([0.5, math.nan]),
        {"outputs": []},
        {"error": "busy"},
        [],
        7,
    ],
    ids=["off", "swapped", "short", "long", "null", "none", "error", "empty", "number"],
)
def test_wrong(body: object) -> None:
    assert not right(orjson.dumps(body), EXPECTED)


PREDICTION = {"label": "pos", "scores": {"pos": 0.75, "neg": 0.25}, "spans": [{"start": 0, "end": 4}]}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (PREDICTION, PREDICTION),
        (PREDICTION | {"scores": {"neg": 0.25005, "pos": 0.74995}}, PREDICTION),
        ([], []),
        ({"a": None}, {"a": None}),
    ],
    ids=["exact", "within the tolerance, in another order", "empty", "null"],
)
def test_predictions_are_alike(found: Any, expected: Any) -> None:
    assert alike(found, expected)


@pytest.mark.parametrize(
    "found",
    [
        PREDICTION | {"label": "neg"},
        PREDICTION | {"scores": {"pos": 0.752, "neg": 0.25}},
        PREDICTION | {"scores": {"pos": 0.75}},
        PREDICTION | {"scores": {"pos": 0.75, "neg": None}},
        PREDICTION | {"scores": [0.75, 0.25]},
        PREDICTION | {"spans": []},
        PREDICTION | {"spans": [{"start": False, "end": 4}]},
        PREDICTION | {"spans": [{"start": 0, "end": 4.0}]},
        PREDICTION | {"more": 1},
        {"label": "pos"},
        [],
        None,
    ],
)
def test_predictions_differ(found: Any) -> None:
    assert not alike(found, PREDICTION)


def test_a_prediction_is_right_alone_and_in_its_place() -> None:
    assert right(orjson.dumps({"model": "m", "version": 1, "predictions": [PREDICTION]}), PREDICTION)
    assert not right(orjson.dumps({"predictions": [PREDICTION, PREDICTION]}), PREDICTION)
    assert not right(orjson.dumps({"predictions": []}), PREDICTION)
    assert not right(orjson.dumps([PREDICTION]), PREDICTION)
    assert not right(orjson.dumps(reply(EXPECTED)), PREDICTION)
    assert not right(orjson.dumps({"predictions": [PREDICTION]}), EXPECTED)


def test_no_json_is_wrong() -> None:
    assert not right(b"<html>", EXPECTED)


def test_a_report_counts_each_kind_once() -> None:
    corpus = Corpus([b"a", b"b"], [EXPECTED, [9.0]], [10, 30])
    good = orjson.dumps(reply(EXPECTED))
    finished = [
        Finished(0, 0.001, 200, good),
        Finished(0, 0.003, 200, good),
        Finished(1, 0.002, 200, good),
        Finished(1, 0.0, 429, b"later"),
        Finished(0, 0.0, 0, b""),
    ]
    report = judge(Order(1, "/", "", seconds=2.0), corpus, finished, 0.25)
    assert (report.answered, report.errors, report.refused, report.wrong) == (2, 2, 1, 1)
    assert (report.rate, report.steps_rate, report.p50, report.cpu) == (1.0, 10.0, 2.0, 0.25)
    assert report.fault.startswith("200 ")


def test_percentiles() -> None:
    assert percentiles([float(k) for k in range(101)]) == (50.0, 99.0)
    assert percentiles([3.0]) == (3.0, 3.0)
    assert percentiles([]) == (0.0, 0.0)
