"""The real predictor process: through the lane, killed, drained, orphaned, and inside a Celery worker."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import msgspec
import numpy as np
import pytest
import redis

from app.arrays import Floats, Ints
from app.errors import DeadlinePassed, NotFound, PredictionFailed, Unavailable
from app.infrastructure.processes.managed import is_alive
from app.infrastructure.storage import Storage
from app.lanes import Lane, RequestConsumer
from app.lanes.wire import lane_key
from tests.support.factories.networks import lstm, store
from tests.support.fakes.predictors import call_lane, running_predictor
from tests.support.fixtures.servers import Valkey, until, valkey
from workers.inference.artifact_cache import ArtifactCache
from workers.inference.engines import Engine, Engines, open_onnx
from workers.serving.predictor import Predictor
from workers.serving.processes import PredictorProcess
from workers.serving.spec import PredictorSpec

CELERY_WORKER = """
import sys, msgspec
from celery import Celery
from workers.serving.processes import ServingConfig
from workers.serving.processes import predictor_step

app = Celery(broker="memory://")
app.steps["worker"].add(predictor_step(msgspec.json.decode(sys.argv[1], type=ServingConfig)))
app.worker_main(["worker", "--pool", sys.argv[2], "-c", "1", "--without-gossip", "--without-mingle"])
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    with valkey() as running_predictor:
        yield running_predictor


@pytest.fixture(scope="module")
def store_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two versions and a damaged one."""
    root = tmp_path_factory.mktemp("store")
    store(root / "artifacts/good/1", lstm(seed=1))
    store(root / "artifacts/good/2", lstm(seed=2))
    store(root / "artifacts/bad/1", lstm(seed=3))
    (root / "artifacts/bad/1/model.onnx").write_bytes(b"rubbish")
    return root


@pytest.fixture
def spec(server: Valkey, store_dir: Path, tmp_path: Path) -> PredictorSpec:
    return PredictorSpec(
        server.url, store_dir.as_uri(), str(tmp_path / "cache"), f"{tmp_path.name}:0", lane=tmp_path.name
    )


async def send_until_answered(lane: Lane, rows: list[Floats], tries: int = 200) -> list[Floats]:
    """Send until it is answered."""
    for _ in range(tries):
        try:
            return (await lane.send("artifacts/good/1", rows, 5)).outputs
        except (Unavailable, DeadlinePassed):
            await asyncio.sleep(0.02)
    raise AssertionError("it never came back")


def sequences(lengths: list[int], seed: int = 0) -> list[Floats]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(steps, 3)).astype(np.float32) for steps in lengths]


def compute_alone(store_dir: Path, version: int, arrays: list[Floats]) -> list[Floats]:
    engine = open_onnx(store_dir / f"artifacts/good/{version}", "cpu")
    return [engine.run(array[None], np.array([len(array)]))[0] for array in arrays]


def test_mixed_lengths_and_versions_are_answered_as_if_alone(spec: PredictorSpec, store_dir: Path) -> None:
    arrays = sequences([1, 7, 64, 30, 31, 200, 7, 2] * 5)
    expected = {version: compute_alone(store_dir, version, arrays) for version in (1, 2)}

    async def scenario(lane: Lane) -> None:
        async def check(version: int, index: int) -> None:
            answer = await lane.send(f"artifacts/good/{version}", arrays[index : index + 2], 10)
            for output, target in zip(answer.outputs, expected[version][index : index + 2], strict=True):
                np.testing.assert_allclose(output, target, atol=1e-6)

        await asyncio.gather(*(check(version, index) for index in range(40) for version in (1, 2)))

    with running_predictor(spec) as process:
        call_lane(spec, scenario)
        until(lambda: sorted(process.loaded_artifacts()) == ["artifacts/good/1", "artifacts/good/2"])


def test_a_damaged_or_missing_version_fails_its_own_requests_only(spec: PredictorSpec) -> None:
    rows = sequences([5])

    async def scenario(lane: Lane) -> None:
        results = await asyncio.gather(
            *(lane.send(f"artifacts/{name}", rows, 10) for name in ("bad/1", "good/1", "none/1", "bad/1")),
            lane.send("artifacts/good/1", [np.zeros((4, 9), np.float32)], 10),
            return_exceptions=True,
        )
        kinds = [type(result).__name__ for result in results]
        assert kinds == ["PredictionFailed", "Answer", "NotFound", "PredictionFailed", "PredictionFailed"]
        with pytest.raises(PredictionFailed, match="sha256"):
            await lane.send("artifacts/bad/1", rows, 10)
        with pytest.raises(NotFound):
            await lane.send("artifacts/none/1", rows, 10)
        await lane.send("artifacts/good/1", rows, 10)

    with running_predictor(spec):
        call_lane(spec, scenario)


def test_a_killed_predictor_is_replaced_and_its_requests_are_answered(spec: PredictorSpec) -> None:
    rows = sequences([9])

    async def scenario(lane: Lane) -> None:
        before = (await lane.send("artifacts/good/1", rows, 10)).outputs
        first = process.pid
        assert first is not None
        os.kill(first, signal.SIGSTOP)  # so that it surely dies with requests in hand
        calls = [asyncio.create_task(lane.send("artifacts/good/1", rows, 20)) for _ in range(20)]
        await asyncio.sleep(0)
        os.kill(first, signal.SIGKILL)
        for answer in await asyncio.gather(*calls):
            assert np.array_equal(answer.outputs, before)
        assert process.pid not in {None, first}

    with running_predictor(spec) as process:
        call_lane(spec, scenario)


def test_a_predictor_outlives_redis(spec: PredictorSpec, tmp_path: Path) -> None:
    rows = sequences([9])

    async def scenario(lane: Lane) -> None:
        before = await send_until_answered(lane, rows)
        fragile.kill()
        with pytest.raises(Unavailable):
            await lane.send("artifacts/good/1", rows, 5)
        fragile.start()
        assert np.array_equal(await send_until_answered(lane, rows), before)
        assert process.pid == pid

    with valkey() as fragile:
        fragile_spec = msgspec.structs.replace(spec, redis_url=fragile.url)
        with running_predictor(fragile_spec) as process:
            pid = process.pid
            call_lane(fragile_spec, scenario)


def spawn(spec: PredictorSpec) -> subprocess.Popen[bytes]:
    child = subprocess.Popen([sys.executable, "-m", "workers.serving.predictor"], stdin=subprocess.PIPE)
    assert child.stdin is not None
    child.stdin.write(msgspec.json.encode(spec) + b"\n")
    child.stdin.flush()
    consumer = RequestConsumer(spec.redis_url, spec.lane, spec.worker_id)
    until(lambda: consumer.read_presence() is not None)
    consumer.close()
    return child


def test_a_predictor_on_a_cpu_has_no_torch_and_ends_well_on_sigterm(spec: PredictorSpec) -> None:
    child = spawn(spec)
    assert "libtorch" not in Path(f"/proc/{child.pid}/maps").read_text()
    child.terminate()
    assert child.wait(5) == 0
    assert child.stdin is not None
    child.stdin.close()


def test_a_predictor_ends_with_its_stdin(spec: PredictorSpec) -> None:
    child = spawn(spec)
    assert child.stdin is not None
    child.stdin.close()
    assert child.wait(5) == 0


class HeldEngines:
    """A predictor in a thread, whose engines say that they compute, and wait until they may."""

    def __init__(self, spec: PredictorSpec) -> None:
        self.computing, self.release = threading.Event(), threading.Event()
        artifacts = ArtifactCache(Storage(spec.storage_url).fetch, Path(spec.cache_dir), 1 << 30)
        engines = Engines(artifacts, self._open, 1 << 30)
        consumer = RequestConsumer(spec.redis_url, spec.lane, spec.worker_id)
        self.predictor = Predictor(spec, consumer, engines)
        self._thread = threading.Thread(target=self.predictor.run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release.set()
        self.predictor.stop()
        self._thread.join(10)
        assert not self._thread.is_alive()

    def _open(self, directory: Path) -> Engine:
        engine = open_onnx(directory, "cpu")
        compute = engine.run

        def run(inputs: Floats, lengths: Ints) -> Floats:
            self.computing.set()
            self.release.wait(10)
            return compute(inputs, lengths)

        engine.run = run  # type: ignore[method-assign]
        return engine


def test_requests_already_received_are_answered_after_stop(spec: PredictorSpec, store_dir: Path) -> None:
    async def scenario(lane: Lane) -> None:
        call = asyncio.create_task(send_until_answered(lane, rows))
        await asyncio.to_thread(held.computing.wait, 10)
        held.predictor.stop()
        held.release.set()
        assert np.array_equal(await call, compute_alone(store_dir, 1, rows))

    rows = sequences([9])
    with HeldEngines(spec) as held:
        call_lane(spec, scenario)


@pytest.mark.parametrize("stopped", [False, True])
def test_a_large_request_lets_others_go_first(spec: PredictorSpec, store_dir: Path, stopped: bool) -> None:
    order = list[str]()

    async def ask(lane: Lane, name: str, rows: list[Floats]) -> None:
        outputs = await send_until_answered(lane, rows)
        order.append(name)
        np.testing.assert_allclose(outputs, compute_alone(store_dir, 1, rows), atol=1e-6)

    async def scenario(lane: Lane) -> None:
        large = asyncio.create_task(ask(lane, "large", sequences([9] * (3 * spec.max_batch))))
        await asyncio.to_thread(held.computing.wait, 10)
        small = asyncio.create_task(ask(lane, "small", sequences([9])))
        async with asyncio.timeout(20):
            while not requests.llen(lane_key(spec.lane)):
                await asyncio.sleep(0)
        if stopped:
            held.predictor.stop()
        held.release.set()
        await large
        if stopped:
            small.cancel()
        await asyncio.gather(small, return_exceptions=stopped)

    with HeldEngines(spec) as held, redis.Redis.from_url(spec.redis_url) as requests:
        call_lane(spec, scenario)
    assert order == (["large"] if stopped else ["small", "large"])


@pytest.mark.parametrize(("pool", "end"), [("solo", signal.SIGTERM), ("prefork", signal.SIGKILL)])
def test_in_a_celery_worker_no_predictor_is_left(spec: PredictorSpec, pool: str, end: signal.Signals) -> None:
    config = msgspec.json.encode(
        {
            "redis_url": spec.redis_url,
            "storage_url": spec.storage_url,
            "cache_dir": spec.cache_dir,
            "worker_id": spec.lane,
            "lane": spec.lane,
        }
    )
    worker = subprocess.Popen([sys.executable, "-c", CELERY_WORKER, config, pool], stderr=subprocess.DEVNULL)
    consumer = RequestConsumer(spec.redis_url, spec.lane, f"{spec.lane}:0")
    try:
        until(lambda: consumer.read_presence() is not None, what="the predictor's presence")
        presence = consumer.read_presence()
        assert presence is not None
        answer = call_lane(spec, lambda lane: send_until_answered(lane, sequences([4])))
        assert answer[0].shape == (2,)
        worker.send_signal(end)
        assert worker.wait(10) == (0 if end is signal.SIGTERM else -signal.SIGKILL)
        until(lambda: not is_alive(presence.pid), what="the predictor's end")
        assert consumer.read_presence() is None
    finally:
        worker.kill()
        worker.wait()
        consumer.close()


def test_a_predictor_that_cannot_start_is_restarted_ever_more_slowly(
    spec: PredictorSpec, caplog: pytest.LogCaptureFixture
) -> None:
    process = PredictorProcess(msgspec.structs.replace(spec, storage_url="ftp://nowhere"))
    process.start()
    until(lambda: "again in 0.2 s" in caplog.text, seconds=20)
    assert process.read_presence() is None
    process.stop()
    assert "again in 0.1 s" in caplog.text
