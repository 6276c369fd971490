"""The Open Inference Protocol over HTTP: routes, bodies, errors, limits; the test plays the predictor."""

import gzip
import json
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
from sqlalchemy.exc import OperationalError

from app.lanes import ReplyStatus
from app.prediction.codec import Codec
from app.prediction.request_parsing import MAX_INLINE_BYTES
from app.services.open_inference.predict import MAX_INLINE_ELEMENTS
from app.tasks import TASKS
from app.typedefs import Json
from tests.support.factories.open_inference import HORIZON, Network, forecasting, publish, sequences
from tests.support.fakes.lanes import FakePredictor, fake_predictor
from tests.support.fixtures.servers import Valkey, until
from tests.support.fixtures.service import Service, service

TASK, GRAPH = "/v2/models/demand", "/v2/models/demand:network"
VALUES: Json = {"name": "values", "datatype": "FP64", "shape": [1, 3], "data": [5.0, 5.0, 5.0]}
LIMIT = 2_000_000


@pytest.fixture(scope="module")
def quiet(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, redis_server: Valkey
) -> Iterator[Service]:
    """One service with two versions of a model and small limits."""
    directory = tmp_path_factory.mktemp("inference")
    (directory / "test.db").write_bytes(sqlite_template.read_bytes())
    url = f"sqlite:///{directory / 'test.db'}"
    with service(directory, url, redis_server.url, max_waiting=64, max_request_bytes=LIMIT) as made:
        for seed in (1, 2):
            publish(made, directory / str(seed), seed=seed)
        yield made


@pytest.fixture(scope="module")
def network() -> Network:
    return Network()


@pytest.fixture(scope="module")
def serving(quiet: Service, redis_server: Valkey, network: Network) -> Iterator[FakePredictor]:
    with fake_predictor(
        redis_server.url, quiet.settings.lane, network, Codec(TASKS["forecasting"], forecasting().state)
    ) as made:
        until(lambda: infer(quiet).status_code == 200, what="the first answer")
        yield made


@pytest.fixture
def fake(serving: FakePredictor, network: Network) -> Iterator[FakePredictor]:
    """The predictor, as if it had been asked nothing yet."""
    serving.announce()  # its presence lasts five seconds
    serving.received.clear()
    yield serving
    serving.go.set()
    network.status, network.echo = ReplyStatus.OK, 0.0


def infer(
    running: Service, *inputs: Json, path: str = TASK, headers: dict[str, str] | None = None, **fields: Any
) -> httpx.Response:
    body = json.dumps({"inputs": list(inputs) or [VALUES], **fields})
    return running.http.post(f"{path}/infer", content=body, headers=headers)


def binary(running: Service, path: str, *inputs: tuple[Json, bytes], **fields: Any) -> httpx.Response:
    message = [{**head, "parameters": {"binary_data_size": len(data)}} for head, data in inputs]
    head = json.dumps({"inputs": message, **fields}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    return running.http.post(
        f"{path}/infer", content=head + b"".join(one for _, one in inputs), headers=headers
    )


def outputs(answer: httpx.Response) -> dict[str, Any]:
    """The answer's tensors as arrays, whatever their form."""
    assert answer.status_code == 200, answer.text
    length = answer.headers.get("inference-header-content-length")
    kind = "application/json" if length is None else "application/octet-stream"
    assert answer.headers["content-type"] == kind
    head = json.loads(answer.content[: None if length is None else int(length)])
    rest, result = b"" if length is None else answer.content[int(length) :], {}
    for one in head["outputs"]:
        dtype = {"FP32": "<f4", "FP64": "<f8"}[one["datatype"]]
        size = one.get("parameters", {}).get("binary_data_size")
        data = np.array(one["data"], dtype) if size is None else np.frombuffer(rest[:size], dtype)
        rest = rest[size or 0 :]
        result[one["name"]] = data.reshape(one["shape"])
    assert rest == b""
    return result


def error(answer: httpx.Response, status: int) -> str:
    """The sentence of a refusal, checked for its form."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    body = answer.json()
    assert list(body) == ["error"]
    return str(body["error"])


def features(array: Any) -> Json:
    return {"name": "inputs", "datatype": "FP32", "shape": list(array.shape)}


def test_a_forecast_through_tensors_is_the_forecast(quiet: Service, fake: FakePredictor) -> None:
    levels = [[5.0] * 20, [7.0] * 20]
    instances = [{"values": values} for values in levels]
    plain = quiet.http.post("/v1/models/demand/predict", json={"instances": instances}).json()["predictions"]
    answer = infer(quiet, {**VALUES, "shape": [2, 20], "data": levels}, id="42")
    result = outputs(answer)
    assert result["mean"].tolist() == [one["mean"] for one in plain]
    assert result["median"].tolist() == [one["median"] for one in plain]
    for pointer, key in enumerate(plain[0]["quantiles"]):
        assert result["quantiles"][:, :, pointer].tolist() == [one["quantiles"][key] for one in plain]
    body = answer.json()
    assert (body["model_name"], body["model_version"], body["id"]) == ("demand", "1", "42")
    assert body["outputs"][1]["parameters"] == {"keys": "0.1,0.5,0.9"}
    assert result["quantiles"].shape == (2, HORIZON, 3)


def test_both_protocols_warn_of_what_a_request_lacks(quiet: Service, fake: FakePredictor) -> None:
    rows = [[5.0, 6.0, 5.0], [6.0, 5.0, 6.0]]
    instances: list[Json] = [{"values": rows[0]}, {"values": rows[1], "start": "2024-01-01"}]
    plain = quiet.http.post("/v1/models/demand/predict", json={"instances": instances}).json()["predictions"]
    (warning,) = plain[0]["warnings"]
    assert warning.startswith("`start` is missing")
    assert "warnings" not in plain[1]
    start = {"name": "start", "datatype": "BYTES", "shape": [2], "data": ["", "2024-01-01"]}
    data = {**VALUES, "shape": [2, 3], "data": rows}
    assert infer(quiet, data, start).json()["parameters"] == {"warnings": f"row 0: {warning}"}
    assert "parameters" not in infer(quiet, data, {**start, "data": ["2024-01-01"] * 2}).json()


def test_parameters_and_optional_inputs_reach_the_task(quiet: Service, fake: FakePredictor) -> None:
    text = {"name": "item_id", "datatype": "BYTES", "shape": [1], "data": ["x"]}
    start = {"name": "start", "datatype": "BYTES", "shape": [1], "data": ["2024-01-01"]}
    freq = {"name": "freq", "datatype": "BYTES", "shape": [1], "data": ["D"]}
    wish = {"horizon": 2, "quantiles": [0.5], "timeout": 5_000_000, "sequence_id": 9, "priority": 1}
    result = outputs(infer(quiet, text, VALUES, start, freq, parameters=wish))
    assert result["mean"].shape == (1, 2)
    assert result["quantiles"].shape == (1, 2, 1)
    message = infer(quiet, VALUES, {**freq, "data": ["MS"]})
    assert error(message, 400).startswith('input "freq", row 0: ')


def test_missing_values_are_null_or_nan(quiet: Service, fake: FakePredictor) -> None:
    in_json = outputs(infer(quiet, {**VALUES, "data": [5.0, None, 5.0]}))
    head = {name: VALUES[name] for name in ("name", "datatype", "shape")}
    in_binary = outputs(binary(quiet, TASK, (head, np.array([5.0, np.nan, 5.0]).tobytes())))
    assert in_json["mean"].tolist() == in_binary["mean"].tolist() == [pytest.approx([5.0] * HORIZON)]
    removed = infer(quiet, {**VALUES, "data": [None] * 3})
    assert "At least one value must be observed" in error(removed, 400)


def test_a_forecast_does_not_depend_on_the_padding_of_its_row(quiet: Service, fake: FakePredictor) -> None:
    rng = np.random.default_rng(0)
    levels = rng.normal(50, 5, (3, 30))
    sizes = [30, 7, 18]
    lengths = {"name": "lengths", "datatype": "INT64", "shape": [3], "data": sizes}
    together = outputs(infer(quiet, {**VALUES, "shape": [3, 30], "data": levels.tolist()}, lengths))
    for row, size in enumerate(sizes):
        alone = {**VALUES, "shape": [1, size], "data": levels[row, :size].tolist()}
        result = outputs(infer(quiet, alone))
        for name, array in result.items():
            np.testing.assert_array_equal(array[0], together[name][row])
    observed = [len(tensor.array()) for tensor in fake.received[0].instances]
    assert observed == [len(one.instances[0].array()) for one in fake.received[1:]]


@pytest.mark.parametrize("wish", [False, True])
def test_a_graph_answers_what_its_network_says(
    quiet: Service, fake: FakePredictor, network: Network, wish: bool
) -> None:
    network.echo = 1.0
    array = sequences(3, 7)
    lengths = {"name": "lengths", "datatype": "INT64", "shape": [3], "data": [7, 1, 4]}
    parameters = {"binary_data_output": wish}
    by_json = infer(
        quiet, {**features(array), "data": array.ravel().tolist()}, lengths, path=GRAPH, parameters=parameters
    )
    by_bytes = binary(
        quiet,
        GRAPH,
        (features(array), array.tobytes()),
        ({"name": "lengths", "datatype": "INT64", "shape": [3]}, np.array([7, 1, 4]).tobytes()),
        parameters=parameters,
    )
    width = forecasting().outputs
    expected = [np.resize(row[:size].sum(axis=0), width) for row, size in zip(array, (7, 1, 4), strict=True)]
    for answer in (by_json, by_bytes):
        assert ("inference-header-content-length" in answer.headers) == wish
        np.testing.assert_array_equal(outputs(answer)["outputs"], expected)
    assert by_json.content == by_bytes.content
    assert b'"model_name":"demand:network"' in by_json.content
    for observed in fake.received:
        assert [tensor.shape[0] for tensor in observed.instances] == [7, 1, 4]


def test_a_raw_body_is_one_sequence(quiet: Service, fake: FakePredictor, network: Network) -> None:
    network.echo = 1.0
    array = sequences(1, 5)
    raw = {"Inference-Header-Content-Length": "0"}
    answer = quiet.http.post(f"{GRAPH}/infer", content=array.tobytes(), headers=raw)
    expected = np.resize(array[0].sum(axis=0), forecasting().outputs)
    np.testing.assert_array_equal(outputs(answer)["outputs"], [expected])
    network.echo, values = 0.0, np.array([5.0] * 9).tobytes()
    result = outputs(quiet.http.post(f"{TASK}/infer", content=values, headers=raw))
    assert result["mean"].tolist() == [pytest.approx([5.0] * HORIZON)]


@pytest.mark.parametrize("kind", [None, "application/json", "application/octet-stream", "text/plain", "x"])
def test_the_content_type_does_not_matter(quiet: Service, fake: FakePredictor, kind: str | None) -> None:
    request = quiet.http.build_request("POST", f"{TASK}/infer", content=json.dumps({"inputs": [VALUES]}))
    request.headers.pop("content-type", None)
    if kind is not None:
        request.headers["content-type"] = kind
    assert quiet.http.send(request).status_code == 200


def zstd(data: bytes) -> bytes:
    frame: bytes = pa.compress(data, "zstd", asbytes=True)
    return frame


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "identity": bytes,
    "GZIP": gzip.compress,
    "zstd": zstd,
}


@pytest.mark.parametrize("encoding", PACKERS)
def test_bodies_may_be_compressed(quiet: Service, fake: FakePredictor, encoding: str) -> None:
    headers = {"Content-Encoding": encoding}
    array = sequences(1, 4)
    message = {**features(array), "parameters": {"binary_data_size": array.nbytes}}
    head = json.dumps({"inputs": [message]}).encode()
    for content, length in (
        (json.dumps({"inputs": [{**features(array), "data": array.tolist()}]}).encode(), None),
        (head + array.tobytes(), len(head)),
    ):
        sized = {} if length is None else {"Inference-Header-Content-Length": str(length)}
        packed = PACKERS[encoding](content)
        answer = quiet.http.post(f"{GRAPH}/infer", content=packed, headers={**headers, **sized})
        assert outputs(answer)["outputs"].shape == (1, forecasting().outputs)


@pytest.mark.parametrize(
    ("content", "encoding", "status", "message"),
    [
        (b"{}", "gzip", 400, "The body is not gzip"),
        (gzip.compress(b"{}" * 500)[:-9], "gzip", 400, "ends within its gzip stream"),
        (gzip.compress(b"{}") + b"more", "gzip", 400, "The body is not gzip"),
        (zlib.compress(np.random.default_rng(0).bytes(LIMIT + 1)), "deflate", 413, "bytes"),
        (gzip.compress(b" " * 100 * LIMIT), "gzip", 413, "bytes"),
        (b"{}", "zstd", 400, "The body is not zstd"),
        (zstd(b"{}" * 500)[:-9], "zstd", 400, "ends within its zstd stream"),
        (zstd(b" " * 100 * LIMIT), "zstd", 413, "200 times"),
        (b"{}", "br", 415, "Content-Encoding: br is not read"),
        (b"{}", "gzip, gzip", 415, "Content-Encoding: gzip, gzip is not read"),
    ],
    ids=[
        "not gzip",
        "cut off",
        "something behind",
        "just too large",
        "a bomb",
        "not zstd",
        "cut frame",
        "a bomb of zstd",
        "brotli",
        "twice",
    ],
)
def test_a_bad_encoding_is_refused(
    quiet: Service, content: bytes, encoding: str, status: int, message: str
) -> None:
    answer = quiet.http.post(f"{TASK}/infer", content=content, headers={"Content-Encoding": encoding})
    assert message in error(answer, status)


def test_a_body_over_the_limit_is_refused(quiet: Service) -> None:
    error(quiet.http.post(f"{TASK}/infer", content=b" " * (LIMIT + 1)), 413)


def test_a_large_body_is_read_beside_the_loop(quiet: Service, fake: FakePredictor) -> None:
    values = np.random.default_rng(0).normal(9, 1, 60_000)
    body = {**VALUES, "shape": [1, len(values)], "data": values.tolist()}
    assert len(json.dumps(body)) > MAX_INLINE_BYTES
    assert outputs(infer(quiet, body))["mean"].shape == (1, HORIZON)
    assert "element [0, 59999]" in error(infer(quiet, {**body, "data": [*values[1:], "x"]}), 400)


def test_many_rows_are_handled_beside_the_loop(quiet: Service, fake: FakePredictor) -> None:
    levels = np.repeat(np.arange(1.0, 61.0)[:, None], 100, axis=1)
    assert levels.size > MAX_INLINE_ELEMENTS
    result = outputs(infer(quiet, {**VALUES, "shape": [60, 100], "data": levels.tolist()}))
    np.testing.assert_allclose(result["mean"], levels[:, :HORIZON])


def test_a_large_binary_body_is_read_beside_the_loop(
    quiet: Service, fake: FakePredictor, network: Network
) -> None:
    network.echo = 1.0
    array = sequences(2, 3000)
    assert array.nbytes > MAX_INLINE_BYTES
    result = outputs(binary(quiet, GRAPH, (features(array), array.tobytes())))["outputs"]
    expected = [np.resize(row.sum(axis=0), forecasting().outputs) for row in array]
    np.testing.assert_allclose(result, expected, rtol=1e-5)


BAD: dict[str, tuple[str, Json, str]] = {
    "no inputs": (TASK, {"inputs": []}, 'input "values" is missing'),
    "no body": (TASK, {}, '"inputs" is missing: the model takes values, start, '),
    "text among numbers": (
        TASK,
        {"inputs": [{**VALUES, "data": [1, "2", 3]}]},
        'input "values": element [0, 1] is "2", which is no FP64',
    ),
    "an unknown parameter": (
        TASK,
        {"inputs": [VALUES], "parameters": {"magic": 1}},
        "parameters: unknown field magic; there are horizon, quantiles",
    ),
    "too far": (
        TASK,
        {"inputs": [VALUES], "parameters": {"horizon": 5}},
        f'parameter "horizon": The model was trained for a horizon of {HORIZON}.',
    ),
    "an odd time stamp": (
        TASK,
        {"inputs": [VALUES, {"name": "start", "datatype": "BYTES", "shape": [1], "data": ["soon"]}]},
        'input "start", row 0: ',
    ),
    "no steps": (TASK, {"inputs": [{**VALUES, "shape": [1, 0], "data": []}]}, "row 0: Expected `array`"),
    "another width": (
        GRAPH,
        {"inputs": [{"name": "inputs", "datatype": "FP32", "shape": [1, 1, 1], "data": [1]}]},
        'input "inputs": has shape [1, 1, 1], takes [-1, -1, ',
    ),
    "an odd timeout": (
        TASK,
        {"inputs": [VALUES], "parameters": {"timeout": "soon"}},
        'parameter "timeout": takes a whole number of microseconds',
    ),
    "a negative timeout": (
        TASK,
        {"inputs": [VALUES], "parameters": {"timeout": -1}},
        'parameter "timeout": takes a whole number of microseconds',
    ),
    "an unknown output": (
        TASK,
        {"inputs": [VALUES], "outputs": [{"name": "mode"}]},
        'there is no output "mode"; the outputs are mean, quantiles, median',
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_request_is_refused_in_a_sentence_and_asks_nobody(
    quiet: Service, fake: FakePredictor, case: str
) -> None:
    path, body, message = BAD[case]
    assert message in error(quiet.http.post(f"{path}/infer", json=body), 400)
    assert fake.received == []


@pytest.mark.parametrize("length", ["-1", "x", "1.5", "", "9" * 20, "+3"])
def test_an_odd_length_of_the_json_is_refused(quiet: Service, length: str) -> None:
    message = infer(quiet, headers={"Inference-Header-Content-Length": length})
    assert error(message, 400) == "Inference-Header-Content-Length is not a number of bytes"


@pytest.mark.parametrize("seconds", ["0", "-1", "301", "nan", "soon"])
def test_an_odd_deadline_is_refused(quiet: Service, seconds: str) -> None:
    assert "X-Request-Timeout" in error(infer(quiet, headers={"X-Request-Timeout": seconds}), 400)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v2/models/none/infer", 404),
        ("POST", "/v2/models/demand/versions/9/infer", 404),
        ("POST", "/v2/models/demand/versions/0/infer", 404),
        ("POST", "/v2/models/demand/versions/99999999999999/infer", 404),
        ("POST", "/v2/models/demand/versions/canary/infer", 404),
        ("POST", "/v2/models/demand%00/infer", 404),
        ("POST", "/v2/models/:network/infer", 404),
        ("GET", "/v2/models/none", 404),
        ("GET", "/v2/models/none/ready", 404),
        ("GET", "/v2/models/none:network/config", 404),
        ("GET", "/v2/models/none/stats", 404),
        ("GET", "/v2/models/demand/versions/9", 404),
        ("GET", "/v2/models/demand/versions/9/ready", 404),
        ("GET", "/v2/models/demand/versions/9/stats", 404),
        ("POST", "/v2/repository/models/none/load", 404),
        ("POST", "/v2/repository/models/none/unload", 404),
        ("GET", "/v2/nothing", 404),
        ("GET", "/v2/models/demand/trace/setting", 404),
        ("GET", "/v2/models/demand/infer", 405),
        ("PUT", "/v2/models/demand/versions/1/infer", 405),
        ("POST", "/v2/models/demand", 405),
        ("DELETE", "/v2", 405),
        ("GET", "/v2/repository/index", 405),
    ],
)
def test_a_missing_resource_is_reported_in_the_same_form(
    quiet: Service, method: str, path: str, status: int
) -> None:
    body = json.dumps({"inputs": [VALUES]}) if method == "POST" else None
    assert error(quiet.http.request(method, path, content=body), status)


def test_paths_that_only_look_alike_keep_their_form(quiet: Service) -> None:
    assert quiet.http.get("/v2x").headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("version", ["1", "2", "production"])
def test_a_version_is_a_number_or_an_alias(quiet: Service, fake: FakePredictor, version: str) -> None:
    answer = infer(quiet, path=f"{TASK}/versions/{version}")
    assert answer.json()["model_version"] == {"production": "1"}.get(version, version)
    assert quiet.http.get(f"{GRAPH}/versions/{version}").json()["versions"] == ["1", "2"]


def test_the_timing_is_a_header(quiet: Service, fake: FakePredictor) -> None:
    timing = infer(quiet).headers["server-timing"]
    assert timing.startswith("queue;dur=1.50, compute;dur=2.25, total;dur=")


def test_a_predictor_that_hangs_costs_the_deadline_and_no_more(quiet: Service, fake: FakePredictor) -> None:
    fake.go.clear()
    for answer in (
        infer(quiet, parameters={"timeout": 200_000}),
        infer(quiet, headers={"X-Request-Timeout": "0.2"}),
    ):
        assert error(answer, 504)
        assert 0.2 <= answer.elapsed.total_seconds() < 2


def test_a_full_queue_says_when_to_come_back(quiet: Service, fake: FakePredictor) -> None:
    fake.go.clear()
    rows = {**VALUES, "shape": [60, 3], "data": [5.0] * 180}
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(infer, quiet, rows)
        until(lambda: quiet.state.lane.waiting_rows == 60, what="the request in the queue")
        refused = infer(quiet, {**rows, "shape": [5, 3], "data": [5.0] * 15})
        assert error(refused, 429)
        assert int(refused.headers["retry-after"]) >= 1
        fake.go.set()
        assert outputs(waiting.result(timeout=120))["mean"].shape == (60, HORIZON)


@pytest.mark.parametrize(
    ("text", "status"), [(ReplyStatus.ERROR, 500), (ReplyStatus.MISSING, 404), (ReplyStatus.EXPIRED, 504)]
)
def test_what_the_predictor_says_is_passed_on(
    quiet: Service, fake: FakePredictor, network: Network, text: ReplyStatus, status: int
) -> None:
    network.status = text
    assert error(infer(quiet), status) == "why not"


def test_an_unexpected_error_reveals_nothing(
    quiet: Service, fake: FakePredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr("app.services.open_inference.predict.parse_inference_request", broken)
    assert "secret" not in error(infer(quiet), 500)


def test_a_fault_of_ours_elsewhere_has_the_same_form(quiet: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr("app.services.open_inference.metadata.index", broken)
    assert "secret" not in error(quiet.http.post("/v2/repository/index"), 500)


def test_an_unreachable_database_is_reported(quiet: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise OperationalError("SELECT secret", {}, Exception("hunter2"))

    monkeypatch.setattr("app.services.open_inference.metadata.index", broken)
    answer = quiet.http.post("/v2/repository/index")
    assert "The database is unavailable" in error(answer, 503)
    assert int(answer.headers["retry-after"]) >= 1


def test_without_a_worker_everything_says_so(on_sqlite: Service, tmp_path: Path) -> None:
    publish(on_sqlite, tmp_path / "one")
    refused = infer(on_sqlite)
    assert "No serving worker" in error(refused, 503)
    assert int(refused.headers["retry-after"]) >= 1
    for path, message in (
        ("/v2/health/ready", {"live": True}),
        (f"{TASK}/ready", {"name": "demand"}),
        (f"{GRAPH}/versions/1/ready", {"name": "demand:network"}),
    ):
        answer = on_sqlite.http.get(path)
        assert answer.status_code == 503
        assert {**message, "ready": False}.items() <= answer.json().items()
        assert "No serving worker" in answer.json()["error"]
        assert int(answer.headers["retry-after"]) >= 1
    assert on_sqlite.http.get("/v2/health/live").json() == {"live": True}
    assert on_sqlite.http.get(TASK).status_code == 200


def test_with_a_worker_everything_is_ready(quiet: Service, fake: FakePredictor) -> None:
    until(lambda: quiet.http.get("/v2/health/ready").status_code == 200, what="readiness")
    assert quiet.http.get("/v2/health/ready").json() == {"live": True, "ready": True}
    assert quiet.http.get(f"{TASK}/ready").json() == {"name": "demand", "ready": True}
    assert quiet.http.get(f"{GRAPH}/versions/2/ready").json() == {"name": "demand:network", "ready": True}


def test_the_server_lists_its_extensions(quiet: Service) -> None:
    message = quiet.http.get("/v2").json()
    assert message["name"] == "recurra"
    assert message["version"]
    assert "binary_tensor_data" in message["extensions"]


def test_metadata_of_a_task_and_its_graph(quiet: Service) -> None:
    assert quiet.http.get(TASK).json() == {
        "name": "demand",
        "versions": ["1", "2"],
        "platform": "recurra",
        "inputs": [
            {"name": "values", "datatype": "FP64", "shape": [-1, -1]},
            {"name": "start", "datatype": "BYTES", "shape": [-1]},
            {"name": "freq", "datatype": "BYTES", "shape": [-1]},
            {"name": "item_id", "datatype": "BYTES", "shape": [-1]},
            {"name": "lengths", "datatype": "INT64", "shape": [-1]},
        ],
        "outputs": [
            {"name": "mean", "datatype": "FP64", "shape": [-1, -1]},
            {"name": "quantiles", "datatype": "FP64", "shape": [-1, -1, -1]},
            {"name": "median", "datatype": "FP64", "shape": [-1, -1]},
        ],
    }
    plan = forecasting()
    graph = quiet.http.get(GRAPH).json()
    assert graph["inputs"] == [
        {"name": "inputs", "datatype": "FP32", "shape": [-1, -1, plan.features]},
        {"name": "lengths", "datatype": "INT64", "shape": [-1]},
    ]
    assert graph["outputs"] == [{"name": "outputs", "datatype": "FP32", "shape": [-1, plan.outputs]}]


def test_the_configuration_says_the_same(quiet: Service) -> None:
    message = quiet.http.get(f"{TASK}/config").json()
    assert message["max_batch_size"] == 4096
    assert [(one["name"], one["data_type"], one["dims"], one["optional"]) for one in message["input"]] == [
        ("values", "TYPE_FP64", [-1], False),
        ("start", "TYPE_STRING", [], True),
        ("freq", "TYPE_STRING", [], True),
        ("item_id", "TYPE_STRING", [], True),
        ("lengths", "TYPE_INT64", [], True),
    ]
    assert [one["dims"] for one in message["output"]] == [[-1], [-1, -1], [-1]]
    graph = quiet.http.get(f"{GRAPH}/versions/2/config").json()
    assert [one["data_type"] for one in graph["input"]] == ["TYPE_FP32", "TYPE_INT64"]


def test_the_index_has_every_version_twice(quiet: Service) -> None:
    rows = quiet.http.post("/v2/repository/index").json()
    assert [(one["name"], one["version"]) for one in rows] == [
        ("demand", "1"),
        ("demand:network", "1"),
        ("demand", "2"),
        ("demand:network", "2"),
    ]
    assert {(one["state"], one["reason"]) for one in rows} == {("READY", "")}
    assert quiet.http.post("/v2/repository/index", content=b'{"ready":true}').json() == rows


def test_a_preload_is_sent_to_every_serving_worker(quiet: Service, fake: FakePredictor) -> None:
    for name, body in (("demand", b""), ("demand:network", b"{}")):
        answer = quiet.http.post(f"/v2/repository/models/{name}/load", content=body)
        assert (answer.status_code, answer.json()) == (200, {})


def test_unloading_is_refused_with_a_reason(quiet: Service) -> None:
    assert "cannot be unloaded" in error(quiet.http.post("/v2/repository/models/demand/unload"), 400)


def stats(running: Service, path: str) -> Any:
    (result,) = running.http.get(f"{path}/stats").raise_for_status().json()["model_stats"]
    return result


def test_statistics_count_rows_batches_and_failures(
    quiet: Service, fake: FakePredictor, network: Network
) -> None:
    path = f"{TASK}/versions/2"
    before = stats(quiet, path)
    assert infer(quiet, {**VALUES, "shape": [4, 3], "data": [5.0] * 12}, path=path).status_code == 200
    network.status = ReplyStatus.ERROR
    error(infer(quiet, path=path), 500)
    after = stats(quiet, path)
    assert after["inference_count"] - before["inference_count"] == 4
    assert after["execution_count"] - before["execution_count"] == 1
    grown = {
        phase: after["inference_stats"][phase]["count"] - before["inference_stats"][phase]["count"]
        for phase in after["inference_stats"]
    }
    assert grown == {
        "success": 1,
        "fail": 1,
        "queue": 1,
        "compute_input": 1,
        "compute_infer": 1,
        "compute_output": 0,
        "cache_hit": 0,
        "cache_miss": 0,
    }
    spent = after["inference_stats"]
    assert spent["compute_infer"]["ns"] - before["inference_stats"]["compute_infer"]["ns"] == 2_250_000
    assert spent["success"]["ns"] >= spent["compute_input"]["ns"] >= 0
    assert after["last_inference"] > before["last_inference"]


def test_statistics_of_all_versions_and_all_models(quiet: Service, fake: FakePredictor) -> None:
    assert infer(quiet).status_code == 200
    rows = quiet.http.get(f"{TASK}/stats").json()["model_stats"]
    assert [(one["name"], one["version"]) for one in rows] == [("demand", "1"), ("demand", "2")]
    everything = quiet.http.get("/v2/models/stats").json()["model_stats"]
    assert ("demand", "1") in [(one["name"], one["version"]) for one in everything]


def test_many_callers_at_once_get_their_own_answers(
    quiet: Service, fake: FakePredictor, network: Network
) -> None:
    network.echo = 1.0
    barrier = threading.Barrier(8)

    def call(seed: int) -> None:
        array = sequences(2, 3 + seed, seed)
        barrier.wait()
        for _ in range(5):
            result = outputs(binary(quiet, GRAPH, (features(array), array.tobytes())))["outputs"]
            expected = [np.resize(row.sum(axis=0), forecasting().outputs) for row in array]
            np.testing.assert_array_equal(result, expected)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(call, range(8)))
