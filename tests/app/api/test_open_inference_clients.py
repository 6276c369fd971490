"""The protocol as its users meet it: `tritonclient.http` and KServe's client against a real predictor."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from app.arrays import Array
from tests.support.factories.networks import lstm, store
from tests.support.factories.open_inference import HORIZON, forecasting, publish, sequences
from tests.support.fixtures.servers import Valkey, until
from tests.support.fixtures.service import Service, service
from workers.inference.engines import open_onnx
from workers.serving.processes import PredictorProcess
from workers.serving.spec import PredictorSpec

T = TypeVar("T")

TASK, GRAPH = "demand", "demand:network"
LENGTHS = np.array([7, 1, 4])


@pytest.fixture(scope="module")
def triton() -> Any:
    """The client's module, imported only where it is used: it is large."""
    return import_module("tritonclient.http")


@pytest.fixture(scope="module")
def kserve() -> Any:
    """KServe's package, likewise."""
    return import_module("kserve")


@pytest.fixture(scope="module")
def serving(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, redis_server: Valkey
) -> Iterator[tuple[Service, PredictorProcess]]:
    """A service with two versions and a predictor process of its own."""
    directory = tmp_path_factory.mktemp("clients")
    (directory / "test.db").write_bytes(sqlite_template.read_bytes())
    url = f"sqlite:///{directory / 'test.db'}"
    with service(directory, url, redis_server.url) as made:
        for seed in (1, 2):
            publish(made, directory / str(seed), seed=seed)
        spec = PredictorSpec(
            redis_server.url,
            made.settings.storage,
            str(directory / "cache"),
            "clients:0",
            lane=made.settings.lane,
        )
        process = PredictorProcess(spec)
        process.start()
        try:
            until(lambda: made.http.get("/v2/health/ready").status_code == 200, 30, "a predictor")
            yield made, process
        finally:
            process.stop()


@pytest.fixture
def running(serving: tuple[Service, PredictorProcess]) -> Service:
    return serving[0]


@pytest.fixture
def client(triton: Any, running: Service) -> Iterator[Any]:
    with triton.InferenceServerClient(f"{running.http.base_url.host}:{running.http.base_url.port}") as made:
        yield made


@pytest.fixture(scope="module")
def tensor(triton: Any) -> Callable[..., Any]:
    """What makes an input of Triton's client from an array."""

    def make(name: str, array: Array, *, binary: bool = True) -> Any:
        made = triton.InferInput(name, list(array.shape), triton.np_to_triton_dtype(array.dtype))
        made.set_data_from_numpy(array, binary_data=binary)
        return made

    return make


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Array, int], Array]:
    """What a version's network makes of one sequence at a time."""
    directory, plan = tmp_path_factory.mktemp("wanted"), forecasting()
    engines = {
        seed: open_onnx(
            store(directory / str(seed), lstm(plan.features, width=plan.outputs, seed=seed)), "cpu"
        )
        for seed in (1, 2)
    }

    def run(array: Array, version: int, lengths: Array = LENGTHS) -> Array:
        rows = [row[None, :size] for row, size in zip(array, lengths, strict=True)]
        return np.concatenate([engines[version].run(row, np.array([row.shape[1]])) for row in rows])

    return run


@pytest.mark.parametrize("sent", [True, False], ids=["sent binary", "sent JSON"])
@pytest.mark.parametrize("requested", [None, True, False], ids=["answer by default", "binary", "JSON"])
def test_triton_gets_what_the_network_computes(
    triton: Any,
    tensor: Callable[..., Any],
    client: Any,
    expected: Callable[[Array, int], Array],
    sent: bool,
    requested: bool | None,
) -> None:
    array = sequences(3, 7)
    inputs = [tensor("inputs", array, binary=sent), tensor("lengths", LENGTHS, binary=sent)]
    outputs = None if requested is None else [triton.InferRequestedOutput("outputs", binary_data=requested)]
    for version in (1, 2):
        result = client.infer(GRAPH, inputs, str(version), outputs=outputs, request_id=f"r{version}")
        np.testing.assert_allclose(result.as_numpy("outputs"), expected(array, version), atol=1e-5)
        message = result.get_response()
        assert (message["model_name"], message["model_version"], message["id"]) == (
            GRAPH,
            str(version),
            f"r{version}",
        )


def test_triton_forecasts(triton: Any, tensor: Callable[..., Any], client: Any, running: Service) -> None:
    values = np.array([[100.0 + 5 * (step % 12) for step in range(40)], [5.0] * 40])
    names = np.array(["a", "größer"], object)
    texts = {"item_id": names, "start": np.array(["2020-01-01", ""], object)}
    inputs = [tensor("values", values), *(tensor(name, text) for name, text in texts.items())]
    plain = [
        {"values": values[0].tolist(), "item_id": "a", "start": "2020-01-01"},
        {"values": values[1].tolist(), "item_id": "größer"},
    ]
    wish = {"horizon": 3, "quantiles": [0.1, 0.9]}
    body = {"instances": plain, "parameters": wish}
    text = running.http.post("/v1/models/demand/predict", json=body).json()["predictions"]
    for outputs in (None, [triton.InferRequestedOutput(name, False) for name in ("quantiles", "mean")]):
        result = client.infer(TASK, inputs, outputs=outputs, parameters=wish)
        np.testing.assert_allclose(result.as_numpy("mean"), [one["mean"] for one in text], rtol=1e-6)
        levels = [[one["quantiles"][key] for key in ("0.1", "0.9")] for one in text]
        np.testing.assert_allclose(
            result.as_numpy("quantiles"), np.array(levels).transpose(0, 2, 1), rtol=1e-6
        )


@pytest.mark.parametrize("packing", ["gzip", "deflate"])
def test_triton_compresses(
    tensor: Callable[..., Any], client: Any, expected: Callable[[Array, int], Array], packing: str
) -> None:
    array = sequences(3, 7)
    result = client.infer(
        GRAPH,
        [tensor("inputs", array), tensor("lengths", LENGTHS)],
        request_compression_algorithm=packing,
        response_compression_algorithm=packing,
    )
    np.testing.assert_allclose(result.as_numpy("outputs"), expected(array, 1), atol=1e-5)


def test_triton_names_a_sequence_of_calls(tensor: Callable[..., Any], client: Any) -> None:
    array = sequences(1, 5)
    answers = [
        client.infer(
            GRAPH,
            [tensor("inputs", array)],
            sequence_id=7,
            sequence_start=number == 0,
            sequence_end=number == 2,
            priority=1,
            timeout=5_000_000,
        ).as_numpy("outputs")
        for number in range(3)
    ]
    assert answers[0].shape == (1, forecasting().outputs)
    for answer in answers[1:]:
        np.testing.assert_array_equal(answer, answers[0])


def test_triton_sends_many_at_once(
    triton: Any, tensor: Callable[..., Any], running: Service, expected: Callable[[Array, int], Array]
) -> None:
    address = f"{running.http.base_url.host}:{running.http.base_url.port}"
    arrays = [sequences(3, 7 + seed, seed) for seed in range(12)]
    with triton.InferenceServerClient(address, concurrency=4) as client:
        waiting = [
            client.async_infer(GRAPH, [tensor("inputs", array), tensor("lengths", LENGTHS)])
            for array in arrays
        ]
        for array, one in zip(arrays, waiting, strict=True):
            result = one.get_result().as_numpy("outputs")
            np.testing.assert_allclose(result, expected(array, 1), atol=1e-5)


def test_triton_sees_who_lives(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    for name in (TASK, GRAPH):
        assert client.is_model_ready(name)
        assert client.is_model_ready(name, "2")
    assert not client.is_model_ready("nobody")
    assert not client.is_model_ready(TASK, "9")


def test_triton_reads_the_metadata(client: Any) -> None:
    server = client.get_server_metadata()
    assert (server["name"], "binary_tensor_data" in server["extensions"]) == ("recurra", True)
    message = client.get_model_metadata(GRAPH, "2")
    assert (message["name"], message["versions"], message["platform"]) == (GRAPH, ["1", "2"], "recurra")
    assert message["inputs"][0]["shape"] == [-1, -1, forecasting().features]
    assert [one["name"] for one in client.get_model_metadata(TASK)["outputs"]] == [
        "mean",
        "quantiles",
        "median",
    ]
    config = client.get_model_config(TASK)
    assert [one["name"] for one in config["input"]] == ["values", "start", "freq", "item_id", "lengths"]
    index = client.get_model_repository_index()
    assert {(one["name"], one["version"], one["state"]) for one in index} == {
        (name, version, "READY") for name in (TASK, GRAPH) for version in ("1", "2")
    }


def test_triton_counts(tensor: Callable[..., Any], client: Any) -> None:
    def counted() -> tuple[int, int]:
        (message,) = client.get_inference_statistics(GRAPH, "2")["model_stats"]
        return message["inference_count"], message["inference_stats"]["success"]["count"]

    rows, calls = counted()
    client.infer(GRAPH, [tensor("inputs", sequences(3, 7))], "2")
    assert counted() == (rows + 3, calls + 1)
    assert len(client.get_inference_statistics()["model_stats"]) >= 1


def test_triton_loads_ahead(
    triton: Any, client: Any, serving: tuple[Service, PredictorProcess], tmp_path: Path
) -> None:
    running, process = serving
    publish(running, tmp_path / "fresh", "fresh")
    artifact = artifact_of(running, "fresh")
    assert artifact not in process.loaded_artifacts()
    client.load_model("fresh")
    until(lambda: artifact in process.loaded_artifacts(), what="the version in memory")
    with pytest.raises(triton.InferenceServerException, match="cannot be unloaded"):
        client.unload_model("fresh")


def artifact_of(running: Service, model: str) -> str:
    version = running.http.get(f"/v1/models/{model}/versions/1").json()
    return f"artifacts/{version['job']}/1@{version['sha256']}"


@pytest.mark.parametrize(
    ("model", "name", "array", "message"),
    [
        ("nobody", "inputs", np.zeros((1, 2, 3), np.float32), "[404] There is no model nobody"),
        (GRAPH, "x", np.zeros((1, 2, 3), np.float32), '[400] input "x": there is no such input'),
        (
            GRAPH,
            "inputs",
            np.zeros((1, 2, 3), np.float32),
            '[400] input "inputs": has shape [1, 2, 3], takes',
        ),
        (TASK, "values", np.zeros((1, 0)), "[400] row 0: Expected `array` of length >= 1"),
        (TASK, "values", np.array([[1, np.inf]]), '[400] input "values": element [0, 1] is no finite number'),
        (TASK, "values", np.array([["x"]], object), '[400] input "values": has datatype BYTES, takes FP64'),
    ],
)
def test_triton_reads_our_errors(
    triton: Any, tensor: Callable[..., Any], client: Any, model: str, name: str, array: Array, message: str
) -> None:
    with pytest.raises(triton.InferenceServerException) as caught:
        client.infer(model, [tensor(name, array)])
    assert str(caught.value).startswith(message)


def by_kserve(kserve: Any, running: Service, call: Callable[[Any, str], Coroutine[Any, Any, T]]) -> T:
    async def run() -> T:
        async with kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v2")) as client:
            return await call(client, str(running.http.base_url))

    return asyncio.run(run())


async def requested(name: str, client: Any, url: str) -> bool:
    return bool(await client.is_model_ready(url, name))


def test_kserve_sees_who_lives(kserve: Any, running: Service) -> None:
    assert by_kserve(kserve, running, lambda client, url: client.is_server_live(url)) is True
    assert by_kserve(kserve, running, lambda client, url: client.is_server_ready(url)) is True
    for name, there in ((TASK, True), (GRAPH, True), ("nobody", False)):
        assert by_kserve(kserve, running, partial(requested, name)) is there


@pytest.mark.parametrize("sent", [True, False], ids=["sent binary", "sent JSON"])
@pytest.mark.parametrize("requested", [None, True, False], ids=["answer by default", "binary", "JSON"])
def test_kserve_gets_what_the_network_computes(
    kserve: Any, running: Service, expected: Callable[[Array, int], Array], sent: bool, requested: bool | None
) -> None:
    array = sequences(3, 7)
    inputs = []
    for name, datatype, values in (("inputs", "FP32", array), ("lengths", "INT64", LENGTHS)):
        made = kserve.InferInput(name, list(values.shape), datatype)
        made.set_data_from_numpy(values, binary_data=sent)
        inputs.append(made)
    outputs = (
        None
        if requested is None
        else [kserve.protocol.infer_type.RequestedOutput("outputs", {"binary_data": requested})]
    )
    request = kserve.InferRequest(GRAPH, inputs, request_id="k1", request_outputs=outputs)
    answer = by_kserve(kserve, running, lambda client, url: client.infer(url, request, GRAPH))
    np.testing.assert_allclose(answer.outputs[0].as_numpy(), expected(array, 1), atol=1e-5)
    assert (answer.model_name, answer.id) == (GRAPH, "k1")


@pytest.mark.parametrize("binary", [True, False])
def test_kserve_forecasts_and_reads_our_errors(kserve: Any, running: Service, binary: bool) -> None:
    values = kserve.InferInput("values", [1, 3], "FP64")
    values.set_data_from_numpy(np.array([[5.0, 5.0, 5.0]]), binary_data=binary)
    name = kserve.InferInput("item_id", [1], "BYTES")
    name.set_data_from_numpy(np.array(["größer"], object), binary_data=binary)
    request = kserve.InferRequest(TASK, [values, name], parameters={"horizon": HORIZON})
    answer = by_kserve(kserve, running, lambda client, url: client.infer(url, request, TASK))
    result = {one.name: one.as_numpy().shape for one in answer.outputs}
    assert result == {"mean": (1, HORIZON), "quantiles": (1, HORIZON, 3), "median": (1, HORIZON)}
    with pytest.raises(Exception, match="There is no model nobody"):
        by_kserve(kserve, running, lambda client, url: client.infer(url, request, "nobody"))


def test_both_clients_at_once(
    triton: Any, kserve: Any, tensor: Callable[..., Any], running: Service, expected: Callable[..., Array]
) -> None:
    address = f"{running.http.base_url.host}:{running.http.base_url.port}"

    def by_triton(array: Array) -> Array:
        with triton.InferenceServerClient(address) as client:
            result: Array = client.infer(GRAPH, [tensor("inputs", array)], "2").as_numpy("outputs")
            return result

    def through_kserve(array: Array) -> Array:
        made = kserve.InferInput("inputs", list(array.shape), "FP32")
        made.set_data_from_numpy(array, binary_data=True)
        request = kserve.InferRequest(GRAPH, [made])
        answer = by_kserve(kserve, running, lambda client, url: client.infer(url, request, GRAPH))
        result: Array = answer.outputs[0].as_numpy()
        return result

    arrays = [sequences(2, 3 + seed % 5, seed) for seed in range(24)]
    calls = [(by_triton, 2), (through_kserve, 1)] * 12
    with ThreadPoolExecutor(4) as pool:
        result = list(pool.map(lambda call, array: call[0](array), calls, arrays))
    for (_, version), array, answer in zip(calls, arrays, result, strict=True):
        whole = np.full(2, array.shape[1])
        np.testing.assert_allclose(answer, expected(array, version, whole), atol=1e-5)
