"""Explanations over HTTP, with an explainer played by the test."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import msgspec
import pytest

from app.errors import Problem
from app.lanes import Reply, ReplyStatus, Request, explanation_lane
from app.prediction.explanation_request import MAX_EXPLANATION_BYTES
from app.tasks.contract import Plan
from app.tasks.forecasting.options import ForecastingOptions
from app.tasks.forecasting.task import TASK
from tests.app.api.routes.test_predictions import publish
from tests.support.factories.series import series_set, waves
from tests.support.fakes.lanes import FakePredictor, fake_predictor
from tests.support.fixtures.servers import Valkey, until
from tests.support.fixtures.service import Service, problem, service

EXPLAIN = "/v1/models/demand/explain"
INSTANCE = {"values": [1.0, 2.0, 3.0]}
EXPLANATION: dict[str, Any] = {
    "prediction": {"item_id": None, "mean": [1.0], "median": [1.0], "quantiles": {"0.5": [1.0]}},
    "method": "gradient",
    "steps": ["-3", "-2", "<&>\x00"],
    "influence": [0.125, 0.25, 0.625],
    "layers": ["layer 1"],
    "gates": {"input": [[0.5, 0.25, 0.75]], "forget": [[0.5, 0.5, 1.0]], "cell": [[-1.0, 0.0, 1.0]]},
    "hidden": [[0.1, 0.2, 0.3]],
    "memory_length": 2,
}


class Answers:
    """What the explainer answers next."""

    def __init__(self) -> None:
        self.status, self.problems = ReplyStatus.OK, list[Problem]()

    def __call__(self, request: Request) -> Reply:
        content = json.dumps(EXPLANATION).encode() if self.status is ReplyStatus.OK else b""
        reply = Reply(request.id, self.status, [], 0.001, 0.002, "why not", 1, predictions=content)
        return msgspec.structs.replace(reply, problems=self.problems)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return TASK.plan(series_set(waves(4, 60)).arrays(), ForecastingOptions(horizon=4), 0)


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, redis_server: Valkey, plan: Plan
) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("explanations")
    (directory / "test.db").write_bytes(sqlite_template.read_bytes())
    url = f"sqlite:///{directory / 'test.db'}"
    with service(directory, url, redis_server.url) as made:
        publish(made, directory / "one", plan)
        yield made


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def explainer(running: Service, redis_server: Valkey, answers: Answers) -> Iterator[FakePredictor]:
    lane = explanation_lane(running.settings.lane)
    with fake_predictor(redis_server.url, lane, answers) as fake:
        until(lambda: ask(running).status_code == 200, what="an answer")
        fake.received.clear()
        yield fake


def ask(running: Service, query: str = "", **body: Any) -> httpx.Response:
    content = {"instances": [INSTANCE], **body}
    return running.http.post(EXPLAIN + query, json=content, headers={"X-Request-Timeout": "20"})


def test_an_explanation_names_its_version(running: Service, explainer: FakePredictor) -> None:
    answer = ask(running, "?version=1", method="integrated_gradients", parameters={"horizon": 2})
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"model": "demand", "version": 1, **EXPLANATION}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["server-timing"].startswith("queue;dur=1.00, compute;dur=2.00")
    (request,) = explainer.received
    assert json.loads(request.body)["method"] == "integrated_gradients"
    assert (request.rows, request.instances, request.decoding) == (1, [], [])


def test_it_is_as_its_schema_says(running: Service, explainer: FakePredictor) -> None:
    document = running.http.get("/openapi.json").json()
    schema = document["components"]["schemas"]["ForecastingExplainOut"]
    assert set(schema["required"]) == ask(running).json().keys()
    request = document["components"]["schemas"]["ForecastingExplainIn"]
    assert request["properties"]["instances"]["maxItems"] == 1
    examples = document["paths"]["/v1/models/{name}/explain"]["post"]["requestBody"]
    assert "forecasting" in examples["content"]["application/json"]["examples"]


def test_it_can_be_drawn(running: Service, explainer: FakePredictor) -> None:
    answer = ask(running, "?format=svg")
    assert answer.headers["content-type"] == "image/svg+xml"
    picture = ET.fromstring(answer.text)  # noqa: S314 - our own
    texts = [element.text for element in picture.iter() if element.text]
    assert "2 of 3 steps hold nine tenths of the influence" in texts
    assert "<&> " in texts
    assert "forget, layer 1" in texts
    assert ask(running, "?format=json").json()["steps"] == EXPLANATION["steps"]


def test_an_instance_may_be_rows_or_columns_of_a_table(running: Service, explainer: FakePredictor) -> None:
    rows = [{"ds": f"2024-01-0{day}", "y": day} for day in range(1, 8)]
    columns = {name: [row[name] for row in rows] for name in ("ds", "y")}
    for instances in (rows, [columns]):
        answer = ask(running, instances=instances)
        assert answer.status_code == 200, answer.text
    two = [{"unique_id": shop, **row} for shop in ("a", "b") for row in rows]
    errors = problem(ask(running, instances=two), 422)["errors"]
    assert errors == [{"pointer": "/instances", "detail": "an explanation is of one instance, not of 2"}]
    assert len(explainer.received) == 2


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"instances": []}, "/instances"),
        ({"instances": [INSTANCE, INSTANCE]}, "/instances"),
        ({"instances": [{"values": "a"}]}, "/instances/0/values"),
        ({"instances": [INSTANCE], "parameters": {"horizon": 0}}, "/parameters/horizon"),
        ({"instances": [INSTANCE], "parameters": {"method": "gradient"}}, "/parameters"),
        ({"instances": [INSTANCE], "method": "lime"}, "/method"),
        ({"instances": [INSTANCE], "methods": "gradient"}, ""),
    ],
)
def test_what_is_refused_points_at_its_reason(
    running: Service, explainer: FakePredictor, body: Any, pointer: str
) -> None:
    content = problem(running.http.post(EXPLAIN, json=body), 422)
    assert content["errors"][0]["pointer"] == pointer
    assert not explainer.received


def test_a_misspelled_field_names_the_right_one(running: Service, explainer: FakePredictor) -> None:
    assert "method" in problem(ask(running, methods="gradient"), 422)["detail"]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("?format=png", "/query/format"),
        ("?format=", "/query/format"),
        ("?shape=svg", "/query/shape"),
        ("?version=1&alias=production", "/query/alias"),
    ],
)
def test_queries_that_are_refused(running: Service, query: str, pointer: str) -> None:
    assert problem(ask(running, query), 422)["errors"][0]["pointer"] == pointer


def test_a_request_may_not_be_large(running: Service) -> None:
    body = b'{"instances":[{"values":[' + b"1," * (MAX_EXPLANATION_BYTES // 2) + b"1]}]}"
    problem(running.http.post(EXPLAIN, content=body), 413)
    values = b'{"instances":[{"values":[' + b"1," * (1 << 20) + b"1]}]}"
    assert problem(running.http.post(EXPLAIN, content=values), 422)["errors"][0]["pointer"] == "/instances/0"


def test_models_and_versions_that_are_not_there(running: Service) -> None:
    assert running.http.post("/v1/models/none/explain", json={"instances": [INSTANCE]}).status_code == 404
    problem(ask(running, "?version=9"), 404)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (ReplyStatus.ERROR, 500),
        (ReplyStatus.EXPIRED, 504),
        (ReplyStatus.MISSING, 404),
        (ReplyStatus.UNAVAILABLE, 503),
    ],
)
def test_failures_of_the_explainer(
    running: Service, explainer: FakePredictor, answers: Answers, status: ReplyStatus, code: int
) -> None:
    answers.status = status
    problem(ask(running), code)
    text = running.http.get("/metrics").text
    assert 'recurra_explanations_total{model="demand",outcome="failed",version="1"}' in text


def test_faults_that_encoding_finds_are_the_clients(
    running: Service, explainer: FakePredictor, answers: Answers
) -> None:
    answers.status, answers.problems = ReplyStatus.INVALID, [Problem("/instances/0", "has 5,000 steps")]
    assert problem(ask(running), 422)["errors"][0]["pointer"] == "/instances/0"


def test_without_an_explainer(running: Service) -> None:
    assert ask(running).status_code == 503


def test_an_explainer_that_is_busy(running: Service, explainer: FakePredictor) -> None:
    explainer.go.clear()
    answer = running.http.post(EXPLAIN, json={"instances": [INSTANCE]}, headers={"X-Request-Timeout": "0.3"})
    problem(answer, 504)
    explainer.go.set()
