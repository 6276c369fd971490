"""Predictions over HTTP with the real task and a predictor played by the test."""

import json
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from app.infrastructure.artifacts import digest_stored
from app.lanes import Reply, ReplyStatus, Request, Tensor
from app.prediction.codec import Codec
from app.prediction.request_parsing import MAX_INSTANCES
from app.services.jobs import leases
from app.services.models.versions import TrainingOutcome
from app.tasks.contract import Plan
from app.tasks.forecasting.options import ForecastingOptions
from app.tasks.forecasting.task import TASK
from tests.support.factories.networks import lstm, store
from tests.support.factories.series import series_set, waves
from tests.support.fakes.lanes import FakePredictor, fake_predictor
from tests.support.fixtures.servers import Valkey, until
from tests.support.fixtures.service import Service, problem, service

HORIZON = 4
PREDICT = "/v1/models/demand/predict"


@pytest.fixture(scope="module")
def plan() -> Plan:
    return TASK.plan(series_set(waves(4, 60)).arrays(), ForecastingOptions(horizon=HORIZON), 0)


def publish(running: Service, directory: Path, plan: Plan, model: str = "demand") -> int:
    """A version whose manifest a forecast can be made from."""
    lease = running.claim(running.job(model=model))
    prefix = f"artifacts/{lease.job_id}/{lease.attempt}"
    for path in sorted(store(directory, lstm(), state=plan.state).iterdir()):
        running.state.storage.put(f"{prefix}/{path.name}", path)
    sha256 = digest_stored(running.state.storage, prefix)
    with running.state.sessions.begin() as session:
        version = leases.succeed(session, lease, TrainingOutcome(prefix, 12, 345, sha256, {}, {}))
    assert version is not None
    return version


class Network:
    """Answers what an untrained network would: no correction to the last level."""

    def __init__(self, outputs: int) -> None:
        self.outputs = outputs
        self.status = ReplyStatus.OK

    def __call__(self, request: Request) -> Reply:
        zeros = [Tensor.of(np.zeros(self.outputs, np.float32)) for _ in request.instances]
        return Reply(request.id, self.status, zeros, 0.0015, 0.00225, "why not")


@pytest.fixture(scope="module")
def network(plan: Plan) -> Network:
    return Network(plan.outputs)


@pytest.fixture(scope="module")
def quiet(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, redis_server: Valkey, plan: Plan
) -> Iterator[Service]:
    """One service with a model and small limits, for requests that are refused."""
    directory = tmp_path_factory.mktemp("quiet")
    (directory / "test.db").write_bytes(sqlite_template.read_bytes())
    url = f"sqlite:///{directory / 'test.db'}"
    with service(directory, url, redis_server.url, max_waiting=8, max_request_bytes=400_000) as made:
        publish(made, directory / "one", plan)
        yield made


@pytest.fixture(scope="module")
def serving(quiet: Service, redis_server: Valkey, network: Network, plan: Plan) -> Iterator[FakePredictor]:
    with fake_predictor(redis_server.url, quiet.settings.lane, network, Codec(TASK, plan.state)) as made:
        until(lambda: post(quiet).status_code == 200, what="the first answer")
        yield made


@pytest.fixture
def fake(serving: FakePredictor, network: Network) -> Iterator[FakePredictor]:
    """The predictor, as if it had been asked nothing yet."""
    serving.announce()  # its presence lasts five seconds
    serving.received.clear()
    serving.computed.clear()
    yield serving
    serving.go.set()
    network.status = ReplyStatus.OK


def post(running: Service, *instances: Any, query: str = "", **headers: str) -> httpx.Response:
    body = {"instances": list(instances) or [{"values": [1.0, 2.0, 3.0]}]}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return running.http.post(PREDICT + query, json=body, headers=named)


def level(value: float) -> dict[str, Any]:
    return {"values": [value] * 20, "item_id": f"at {value}"}


def test_the_answer_names_its_version_and_keeps_the_order(
    running: Service, redis_server: Valkey, tmp_path: Path, plan: Plan, network: Network
) -> None:
    publish(running, tmp_path / "one", plan)
    levels = [float(value) for value in np.random.default_rng(0).permutation(np.arange(1, 41))]
    with fake_predictor(redis_server.url, running.settings.lane, network, Codec(TASK, plan.state)):
        until(lambda: post(running).status_code == 200, what="the first answer")
        answer = post(running, *map(level, levels))
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert (body["model"], body["version"], set(body)) == ("demand", 1, {"model", "version", "predictions"})
    assert [one["item_id"] for one in body["predictions"]] == [f"at {value}" for value in levels]
    for value, one in zip(levels, body["predictions"], strict=True):
        assert one["mean"] == pytest.approx([value] * HORIZON)


def test_the_timing_is_a_header(quiet: Service, fake: FakePredictor) -> None:
    message = post(quiet).headers["server-timing"]
    form = r"queue;dur=1\.50, compute;dur=(\d+\.\d\d), total;dur=\d+\.\d\d"
    assert (timing := re.fullmatch(form, message))
    assert float(timing[1]) >= 2.25  # of the network; encoding and decoding are computing too


def binary(
    running: Service, body: bytes, length: int | None = 0, content_type: str = "application/octet-stream"
) -> httpx.Response:
    headers = {"content-type": content_type}
    if length is not None:
        headers["inference-header-content-length"] = str(length)
    return running.http.post(PREDICT, content=body, headers=headers)


def test_a_raw_tensor_is_answered_as_its_json_would_be(quiet: Service, fake: FakePredictor) -> None:
    values = [1.0, 2.0, 4.0, 8.0]
    expected = post(quiet, {"values": values}).json()
    answer = binary(quiet, np.array(values, "<f8").tobytes())
    assert answer.status_code == 200, answer.text
    assert answer.json() == expected


def test_tensors_behind_json_are_instances_too(quiet: Service, fake: FakePredictor) -> None:
    values = np.array([[1.0, 2.0], [3.0, 4.0]], "<f4")
    tensor = {"name": "values", "shape": [2, 2], "datatype": "FP32", "parameters": {"binary_data_size": 16}}
    head = json.dumps({"inputs": [tensor], "parameters": {"horizon": 2}}).encode()
    answer = binary(quiet, head + values.tobytes(), len(head))
    assert answer.status_code == 200, answer.text
    assert [len(one["mean"]) for one in answer.json()["predictions"]] == [2, 2]


@pytest.mark.parametrize(
    ("body", "length", "text"),
    [
        (b"1234567", 0, "bytes"),
        (b"", 0, "values"),
        (np.array([np.inf], "<f8").tobytes(), 0, "finite"),
        (b"{}", 2, "inputs"),
        (b"{}", 300, "300"),
    ],
)
def test_a_bad_binary_body_is_a_problem(
    quiet: Service, fake: FakePredictor, body: bytes, length: int, text: str
) -> None:
    assert text in problem(binary(quiet, body, length), 422)["detail"]
    assert fake.received == []


def test_one_request_is_one_trip_through_the_lane(quiet: Service, fake: FakePredictor) -> None:
    assert post(quiet, *map(level, (1.0, 2.0, 3.0, 4.0, 5.0, 6.0))).status_code == 200
    (observed,) = fake.computed
    assert len(observed.instances) == 6
    assert observed.artifact.startswith("artifacts/job_")


def test_parameters_reach_the_task(quiet: Service, fake: FakePredictor) -> None:
    body = {"instances": [level(3.0)], "parameters": {"horizon": 2, "quantiles": [0.5]}}
    (one,) = quiet.http.post(PREDICT, json=body).json()["predictions"]
    assert (len(one["mean"]), list(one["quantiles"])) == (2, ["0.5"])


GOOD = '{"values":[1]}'
BAD: dict[str, tuple[str | bytes, str]] = {
    "empty": (b"", ""),
    "null": ("null", ""),
    "a list": ("[]", ""),
    "a number": ("12", ""),
    "no instances": ("{}", ""),
    "zero instances": ('{"instances":[]}', "/instances"),
    "instances are an object": ('{"instances":{}}', "/instances"),
    "instances are null": ('{"instances":null}', "/instances"),
    "an instance is a number": ('{"instances":[1]}', "/instances/0"),
    "an instance is a list": ('{"instances":[[1,2]]}', "/instances/0"),
    "no values": ('{"instances":[{}]}', "/instances/0"),
    "empty values": ('{"instances":[{"values":[]}]}', "/instances/0/values"),
    "values are text": ('{"instances":[{"values":"1,2"}]}', "/instances/0/values"),
    "nested values": ('{"instances":[{"values":[[1]]}]}', "/instances/0/values/0"),
    "a value is text": (f'{{"instances":[{GOOD},{{"values":[1,2,"3"]}}]}}', "/instances/1/values/2"),
    "a value is true": ('{"instances":[{"values":[true]}]}', "/instances/0/values/0"),
    "nothing observed": (f'{{"instances":[{GOOD},{{"values":[null]}}]}}', "/instances/1/values"),
    "too large a float": ('{"instances":[{"values":[0,1e999]}]}', "/instances/0/values/1"),
    "too long a number": ('{"instances":[{"values":[' + "9" * 400 + "]}]}", "/instances/0/values/0"),
    "NaN": ('{"instances":[{"values":[NaN]}]}', ""),
    "Infinity": ('{"instances":[{"values":[-Infinity]}]}', ""),
    "an unknown field": ('{"instances":[{"values":[1],"colour":"red"}]}', "/instances/0"),
    "an unknown field above": (f'{{"instances":[{GOOD}],"colour":"red"}}', ""),
    "a field of another task": ('{"instances":[{"text":"hello"}]}', "/instances/0"),
    "a past column of the wrong type": (
        '{"instances":[{"values":[1],"past":{"a":[{}]}}]}',
        "/instances/0/past",
    ),
    "a past column nobody knows": (
        '{"instances":[{"values":[1],"past":{"a/b":[1]}}]}',
        "/instances/0/past/a~1b",
    ),
    "an odd start": ('{"instances":[{"values":[1],"start":"yesterday"}]}', "/instances/0/start"),
    "a start beyond all time": (
        '{"instances":[{"values":[1],"start":' + "9" * 30 + "}]}",
        "/instances/0/start",
    ),
    "parameters are a list": (f'{{"instances":[{GOOD}],"parameters":[]}}', "/parameters"),
    "an unknown parameter": (f'{{"instances":[{GOOD}],"parameters":{{"magic":1}}}}', "/parameters"),
    "horizon zero": (f'{{"instances":[{GOOD}],"parameters":{{"horizon":0}}}}', "/parameters/horizon"),
    "horizon as text": (f'{{"instances":[{GOOD}],"parameters":{{"horizon":"4"}}}}', "/parameters/horizon"),
    "horizon too far": (f'{{"instances":[{GOOD}],"parameters":{{"horizon":5}}}}', "/parameters/horizon"),
    "horizon huge": (
        f'{{"instances":[{GOOD}],"parameters":{{"horizon":{"9" * 40}}}}}',
        "/parameters/horizon",
    ),
    "a quantile of one": (
        f'{{"instances":[{GOOD}],"parameters":{{"quantiles":[0.5,1]}}}}',
        "/parameters/quantiles/1",
    ),
    "not JSON": ("{instances:[]}", ""),
    "a trailing comma": (f'{{"instances":[{GOOD},]}}', ""),
    "something behind": (f'{{"instances":[{GOOD}]}} x', ""),
    "a form": ("instances=1", ""),
    "a byte order mark": (b'\xef\xbb\xbf{"instances":[]}', ""),
    "UTF-16": ('{"instances":[]}'.encode("utf-16"), ""),
    "invalid UTF-8": (b'{"instances":[{"values":[1],"item_id":"\xff"}]}', ""),
    "half a surrogate": ('{"instances":[{"values":[1],"item_id":"\\ud800"}]}', "/instances/0/item_id"),
    "cut off": ('{"instances":[{"values":[1', ""),
    "deep": ("[" * 100_000, ""),
    "deep inside": ('{"instances":' + "[" * 100_000, "/instances/0"),
    "deep where it is skipped": (
        '{"instances":[{"x":' + "[" * 100_000 + "]" * 100_000 + "}]}",
        "/instances/0",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_body_is_refused_with_its_pointer_before_a_prediction(
    quiet: Service, fake: FakePredictor, case: str
) -> None:
    sent, pointer = BAD[case]
    result = problem(quiet.http.post(PREDICT, content=sent), 422)
    assert result["type"] == "/problems/invalid-request"
    assert [error["pointer"] for error in result["errors"]] == [pointer]
    assert result["errors"][0]["detail"]
    assert fake.computed == []


def test_a_request_may_have_so_many_instances_and_no_more(quiet: Service) -> None:
    body = f'{{"instances":[{",".join([GOOD] * (MAX_INSTANCES + 1))}]}}'
    (error,) = problem(quiet.http.post(PREDICT, content=body), 422)["errors"]
    assert error == {"pointer": "/instances", "detail": f"takes 1 to {MAX_INSTANCES} instances"}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/models/none/predict", 404),
        ("/v1/models/demand/predict?version=2", 404),
        ("/v1/models/demand/predict?alias=canary", 404),
        ("/v1/models/demand%00/predict", 404),
        ("/v1/models/demand/predict?version=0", 422),
        ("/v1/models/demand/predict?version=latest", 422),
        ("/v1/models/demand/predict?version=99999999999999999999", 422),
        ("/v1/models/demand/predict?version=1&alias=production", 422),
    ],
)
def test_who_shall_answer_must_exist(quiet: Service, path: str, status: int) -> None:
    problem(quiet.http.post(path, content=f'{{"instances":[{GOOD}]}}'), status)


@pytest.mark.parametrize("query", ["", "?version=1", "?alias=production"])
def test_a_version_is_named_in_three_ways(quiet: Service, fake: FakePredictor, query: str) -> None:
    assert post(quiet, query=query).json()["version"] == 1


@pytest.mark.parametrize(
    ("query", "name", "detail"),
    [
        ("?verison=1", "verison", "unknown parameter verison; did you mean version?"),
        ("?horizon=2", "horizon", "unknown parameter here: horizon belongs in `parameters` of the body"),
    ],
)
def test_an_unknown_parameter_of_the_query_is_not_ignored(
    quiet: Service, query: str, name: str, detail: str
) -> None:
    errors = problem(post(quiet, query=query), 422)["errors"]
    assert errors == [{"pointer": f"/query/{name}", "detail": detail}]


def test_a_bad_request_names_the_task_and_its_fields(quiet: Service) -> None:
    detail = problem(post(quiet, {"text": "hello"}), 422)["detail"]
    assert detail.startswith("/instances/0: unknown field text; there are values, ")
    assert "This is a forecasting model: an instance has `values`, `start?`" in detail
    misplaced = quiet.http.post(PREDICT, json={"instances": [{"values": [1]}], "horizon": 3})
    detail = problem(misplaced, 422)["detail"]
    assert detail.startswith("unknown field here: horizon belongs in `parameters`.")
    for body, reason in (
        (
            {"instances": [{"values": ["many"]}]},
            "/instances/0/values/0: 'many' is not a number. This is",
        ),
        (
            {"instances": [{"values": [1]}] * 2, "parameters": {"horizon": 99}},
            "/parameters/horizon: The model",
        ),
        ({"instances": []}, f"/instances: takes 1 to {MAX_INSTANCES} instances. This is a forecasting model"),
    ):
        refused = problem(quiet.http.post(PREDICT, json=body), 422)
        assert refused["detail"].startswith(reason)
        assert "an instance has `values`, `start?`" in refused["detail"]
    broken = quiet.http.post(PREDICT, content='{"instances": [\n {"values": [1,]}]}')
    assert problem(broken, 422)["detail"].startswith("The body is not JSON: line 2, column ")


@pytest.mark.parametrize("seconds", ["0", "-1", "301", "nan", "inf", "soon", ""])
def test_an_odd_deadline_is_refused(quiet: Service, seconds: str) -> None:
    (error,) = problem(post(quiet, X_Request_Timeout=seconds), 422)["errors"]
    assert error["pointer"].lower() == "/header/x-request-timeout"


def test_a_body_over_the_limit_is_refused_however_it_comes(quiet: Service) -> None:
    large = b" " * 500_000
    problem(quiet.http.post(PREDICT, content=large), 413)
    problem(quiet.http.post(PREDICT, content=iter([large[:1000]] * 500)), 413)


def test_without_a_worker_the_answer_is_to_come_back(on_sqlite: Service, tmp_path: Path, plan: Plan) -> None:
    publish(on_sqlite, tmp_path / "one", plan)
    answer = post(on_sqlite)
    assert problem(answer, 503)["type"] == "/problems/unavailable"
    assert int(answer.headers["retry-after"]) >= 1


def test_a_predictor_that_hangs_costs_the_deadline_and_no_more(quiet: Service, fake: FakePredictor) -> None:
    fake.go.clear()
    answer = post(quiet, X_Request_Timeout="0.2")
    assert problem(answer, 504)["type"] == "/problems/deadline-passed"
    assert 0.2 <= answer.elapsed.total_seconds() < 2
    fake.go.set()
    assert post(quiet).status_code == 200


def test_a_full_queue_says_when_to_come_back(quiet: Service, fake: FakePredictor) -> None:
    fake.go.clear()
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(post, quiet, *map(level, range(1, 8)))
        until(lambda: quiet.state.lane.waiting_rows == 7, what="the request in the queue")
        refused = post(quiet, *map(level, (1, 2)))
        assert problem(refused, 429)["type"] == "/problems/queue-full"
        assert int(refused.headers["retry-after"]) >= 1
        fake.go.set()
        assert len(waiting.result(timeout=120).json()["predictions"]) == 7


@pytest.mark.parametrize(
    ("text", "status", "slug"),
    [
        (ReplyStatus.ERROR, 500, "prediction-failed"),
        (ReplyStatus.MISSING, 404, "not-found"),
        (ReplyStatus.EXPIRED, 504, None),
    ],
)
def test_what_the_predictor_says_becomes_a_problem(
    quiet: Service, fake: FakePredictor, network: Network, text: ReplyStatus, status: int, slug: str | None
) -> None:
    network.status = text
    result = problem(post(quiet), status)
    assert result["type"] == f"/problems/{slug or 'deadline-passed'}"
    assert result["detail"] == "why not"


def test_many_callers_at_once_get_their_own_answers(quiet: Service, fake: FakePredictor) -> None:
    barrier = threading.Barrier(8)

    def call(value: int) -> float:
        barrier.wait()
        return float(post(quiet, level(value)).json()["predictions"][0]["mean"][0])

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(call, range(1, 9))) == pytest.approx(range(1, 9))


def test_an_alias_moved_here_answers_the_very_next_request(
    on_sqlite: Service, redis_server: Valkey, tmp_path: Path, plan: Plan, network: Network
) -> None:
    for number in (1, 2):
        publish(on_sqlite, tmp_path / str(number), plan)
    with fake_predictor(redis_server.url, on_sqlite.settings.lane, network, Codec(TASK, plan.state)):
        until(lambda: post(on_sqlite).status_code == 200, what="the first answer")
        for version in (2, 1, 2):
            on_sqlite.http.put("/v1/models/demand/aliases/production", json={"version": version})
            assert post(on_sqlite).json()["version"] == version
        on_sqlite.http.put("/v1/models/demand/aliases/canary", json={"version": 1})
        assert post(on_sqlite, query="?alias=canary").json()["version"] == 1
        on_sqlite.http.delete("/v1/models/demand/aliases/canary")
        problem(post(on_sqlite, query="?alias=canary"), 404)
        assert on_sqlite.http.delete("/v1/models/demand/versions/1").status_code == 204
        problem(post(on_sqlite, query="?version=1"), 404)


def test_the_documented_request_is_the_one_that_works(quiet: Service, fake: FakePredictor) -> None:
    body = {
        "instances": [{"values": [1.0, None, 3.0], "start": "2024-01-01", "freq": "D", "item_id": "a"}],
        "parameters": {"horizon": 3, "quantiles": [0.1, 0.5, 0.9]},
    }
    (one,) = json.loads(quiet.http.post(PREDICT, json=body).content)["predictions"]
    assert set(one) == {"item_id", "mean", "median", "quantiles", "timestamps"}
    assert one["timestamps"] == ["2024-01-04", "2024-01-05", "2024-01-06"]
