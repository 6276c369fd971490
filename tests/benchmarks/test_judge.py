"""Right answers are those of their own request."""

import math

import orjson
import pytest

from benchmarks.serving.judge import Finished, judge, percentiles, right
from benchmarks.serving.orders import Corpus, Order

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
    assert (report.answered, report.errors, report.wrong) == (2, 2, 1)
    assert (report.rate, report.steps_rate, report.p50, report.cpu) == (1.0, 10.0, 2.0, 0.25)
    assert report.fault.startswith("200 ")


def test_percentiles() -> None:
    assert percentiles([float(k) for k in range(101)]) == (50.0, 99.0)
    assert percentiles([3.0]) == (3.0, 3.0)
    assert all(math.isnan(value) for value in percentiles([]))
