"""Loading beside the loop: loaded versions are served, requests for others are parked, expire or fail."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from app.arrays import Floats
from app.errors import DeadlinePassed, NotFound, PredictionFailed, Unavailable
from app.lanes import Lane, RequestConsumer
from tests.support.factories.networks import lstm, store
from tests.support.fakes.lanes import open_lane, wait_until
from tests.support.fixtures.servers import Valkey, until, valkey
from workers.inference.artifact_cache import ArtifactCache
from workers.inference.engines import RETRY_FETCH_SECONDS, Engine, Engines, open_onnx
from workers.serving.loader import Loader
from workers.serving.predictor import Predictor
from workers.serving.spec import PredictorSpec

ROWS: list[Floats] = [np.ones((5, 3), np.float32)]


def test_versions_load_in_the_order_of_their_requests_and_each_is_reported() -> None:
    begun, go, loaded, ready = threading.Event(), threading.Event(), list[str](), list[list[str]]()

    def load(artifact: str) -> None:
        begun.set()
        assert go.wait(10)
        loaded.append(artifact)

    loader = Loader(load, lambda: ready.append(list(loaded)))
    loader.start()
    for artifact in ("a", "b", "a", "c", "b"):
        loader.request(artifact)
    assert begun.wait(10)
    loader.request("a")  # being loaded
    go.set()
    until(lambda: len(ready) == 3)
    loader.request("a")
    until(lambda: len(ready) == 4)
    loader.stop()
    assert loaded == ["a", "b", "c", "a"]
    assert ready[0] == ["a"]


def test_versions_queued_at_the_stop_are_not_loaded() -> None:
    begun, go, loaded = threading.Event(), threading.Event(), list[str]()

    def load(artifact: str) -> None:
        begun.set()
        assert go.wait(10)
        loaded.append(artifact)

    loader = Loader(load, lambda: None)
    loader.start()
    loader.request("a")
    loader.request("b")
    assert begun.wait(10)
    stopping = threading.Thread(target=loader.stop)
    stopping.start()
    until(loader._stopping.is_set)
    go.set()
    stopping.join()
    assert loaded == ["a"]


class FakeStore:
    """A store of three versions whose opening can be held back, and which can go away."""

    def __init__(self, root: Path) -> None:
        self.root, self.unreachable = root, False
        self.fetched: list[str] = []
        self.holds: dict[str, threading.Event] = {}
        self.opening = threading.Event()  # one that is held back has begun
        for version in range(3):
            store(root / "store" / f"a/{version}", lstm(seed=version))
        (root / "store/a/2/model.onnx").write_bytes(b"rubbish")

    def fetch(self, artifact: str, directory: Path) -> Path:
        self.fetched.append(artifact)
        if self.unreachable:
            raise OSError("connection refused")
        if not (self.root / "store" / artifact).is_dir():
            raise NotFound
        directory.mkdir()
        for file in (self.root / "store" / artifact).iterdir():
            (directory / file.name).write_bytes(file.read_bytes())
        if (event := self.holds.get(artifact)) is not None:
            self.opening.set()
            assert event.wait(20)
        return directory

    def hold(self, artifact: str) -> threading.Event:
        self.holds[artifact] = threading.Event()
        return self.holds[artifact]


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    with valkey() as running:
        yield running


@pytest.fixture
def fake_store(tmp_path: Path) -> FakeStore:
    return FakeStore(tmp_path)


@contextmanager
def serving(server: Valkey, fake_store: FakeStore, memory: int = 1 << 30) -> Iterator[Engines]:
    spec = PredictorSpec(server.url, "", "", fake_store.root.name, lane=fake_store.root.name)
    artifacts = ArtifactCache(fake_store.fetch, fake_store.root / "cache", 1 << 30)
    engines = Engines(artifacts, open_cpu, memory)
    predictor = Predictor(spec, RequestConsumer(spec.redis_url, spec.lane, spec.worker_id), engines)
    thread = threading.Thread(target=predictor.run)
    thread.start()
    observer = RequestConsumer(spec.redis_url, spec.lane, spec.worker_id)
    try:
        until(lambda: observer.read_presence() is not None)
        yield engines
    finally:
        observer.close()
        predictor.stop()
        for event in fake_store.holds.values():
            event.set()
        thread.join(10)
        assert not thread.is_alive()


def open_cpu(directory: Path) -> Engine:
    return open_onnx(directory, "cpu")


def call_lane(server: Valkey, fake_store: FakeStore, scenario: "Callable[[Lane], object]") -> None:
    async def run() -> None:
        async with open_lane(server.url, fake_store.root.name) as lane:
            await scenario(lane)  # type: ignore[misc]

    asyncio.run(run())


def test_while_one_version_loads_another_is_served(server: Valkey, fake_store: FakeStore) -> None:
    async def scenario(lane: Lane) -> None:
        await lane.send("a/0", ROWS, 10)
        parked = [asyncio.create_task(lane.send("a/1", ROWS, 20)) for _ in range(3)]
        assert await asyncio.to_thread(fake_store.opening.wait, 10)
        for _ in range(20):
            assert (await lane.send("a/0", ROWS, 2)).outputs[0].shape == (2,)
        assert not any(call.done() for call in parked)
        go.set()
        answers = await asyncio.gather(*parked)
        assert [answer.batch for answer in answers] == [3, 3, 3]
        assert all(answer.queue_seconds > 0 for answer in answers)

    go = fake_store.hold("a/1")
    with serving(server, fake_store):
        call_lane(server, fake_store, scenario)
    assert fake_store.fetched == ["a/0", "a/1"]


def test_parked_requests_expire(server: Valkey, fake_store: FakeStore) -> None:
    async def scenario(lane: Lane) -> None:
        with pytest.raises(DeadlinePassed):
            await lane.send("a/1", ROWS, 0.2)
        call = asyncio.create_task(lane.send("a/1", ROWS, 20))
        await asyncio.to_thread(fake_store.opening.wait, 10)
        go.set()
        assert (await call).batch == 1  # alone: the other was not computed

    go = fake_store.hold("a/1")
    with serving(server, fake_store):
        call_lane(server, fake_store, scenario)


def test_a_parked_request_is_answered_as_expired_when_its_time_comes(
    server: Valkey, fake_store: FakeStore
) -> None:
    spec = PredictorSpec(server.url, "", "", fake_store.root.name, lane=fake_store.root.name)
    engines = Engines(ArtifactCache(fake_store.fetch, fake_store.root / "cache", 1 << 30), open_cpu, 1 << 30)
    consumer = RequestConsumer(spec.redis_url, spec.lane, spec.worker_id)
    predictor = Predictor(spec, consumer, engines)

    async def scenario(lane: Lane) -> None:
        call = asyncio.create_task(lane.send("a/1", ROWS, 0.3))
        await wait_until(lambda: lane.waiting_rows)
        begun = time.monotonic()
        await asyncio.to_thread(predictor.serve_once)  # parks it; nothing loads, since no loader runs
        await asyncio.to_thread(predictor.serve_once)  # sleeps until it expires, not for two seconds
        assert time.monotonic() - begun < 1.5
        assert predictor._parked == {}
        with pytest.raises(DeadlinePassed):
            await call

    consumer.announce(predictor.presence())
    call_lane(server, fake_store, scenario)
    consumer.withdraw()
    consumer.close()


def test_a_cancellation_takes_none_but_its_own_request(server: Valkey, fake_store: FakeStore) -> None:
    spec = PredictorSpec(server.url, "", "", fake_store.root.name, lane=fake_store.root.name)
    engines = Engines(ArtifactCache(fake_store.fetch, fake_store.root / "cache", 1 << 30), open_cpu, 1 << 30)
    consumer = RequestConsumer(spec.redis_url, spec.lane, spec.worker_id)
    predictor = Predictor(spec, consumer, engines)

    async def scenario(lane: Lane) -> None:
        calls = [asyncio.create_task(lane.send("a/1", ROWS, 20, [{}])) for _ in range(2)]
        while len(predictor._parked.get("a/1", [])) < 2:  # nothing loads, since no loader runs
            await asyncio.to_thread(predictor.serve_once)
        first, second = predictor._parked["a/1"]
        calls[0].cancel()
        while len(predictor._parked["a/1"]) == 2:
            await asyncio.to_thread(predictor.serve_once)
        assert predictor._parked == {"a/1": [second]}
        assert first.reply_to == second.reply_to
        calls[1].cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    consumer.announce(predictor.presence())
    call_lane(server, fake_store, scenario)
    consumer.withdraw()
    consumer.close()


def test_a_preload_loads_a_version_before_it_is_used(server: Valkey, fake_store: FakeStore) -> None:
    sender = RequestConsumer(server.url, fake_store.root.name, fake_store.root.name)
    with serving(server, fake_store) as engines:
        sender.send_control(["a/1", "a/9", "a/0"])
        until(lambda: engines.loaded() == ["a/1", "a/0"])
    sender.close()


def test_preloads_sent_before_the_predictor_started_are_done(server: Valkey, fake_store: FakeStore) -> None:
    sender = RequestConsumer(server.url, fake_store.root.name, fake_store.root.name)
    sender.send_control(["a/1"])
    with serving(server, fake_store) as engines:
        until(lambda: engines.loaded() == ["a/1"])
    sender.close()


def test_unreachable_missing_and_damaged_are_distinguished(server: Valkey, fake_store: FakeStore) -> None:
    async def scenario(lane: Lane) -> None:
        fake_store.unreachable = True
        with pytest.raises(Unavailable, match="store is unreachable"):
            await lane.send("a/0", ROWS, 10)
        fake_store.unreachable = False
        with pytest.raises(NotFound):
            await lane.send("a/9", ROWS, 10)
        with pytest.raises(PredictionFailed, match="sha256"):
            await lane.send("a/2", ROWS, 10)
        begun = time.monotonic()
        while True:
            try:
                await lane.send("a/0", ROWS, 10)
            except Unavailable:
                assert time.monotonic() - begun < RETRY_FETCH_SECONDS + 1
                await asyncio.sleep(0.01)
            else:
                break

    with serving(server, fake_store):
        call_lane(server, fake_store, scenario)


def test_two_versions_that_do_not_fit_in_memory_together_are_both_served(
    server: Valkey, fake_store: FakeStore
) -> None:
    async def scenario(lane: Lane) -> None:
        calls = [lane.send(f"a/{number % 2}", ROWS, 20) for number in range(40)]
        answers = await asyncio.gather(*calls)
        assert len({answer.outputs[0].tobytes() for answer in answers}) == 2

    with serving(server, fake_store, memory=1) as engines:
        call_lane(server, fake_store, scenario)
        assert len(engines.loaded()) == 1


def test_requests_parked_at_the_stop_do_not_delay_it(server: Valkey, fake_store: FakeStore) -> None:
    async def scenario(lane: Lane) -> None:
        call = asyncio.create_task(lane.send("a/1", ROWS, 20))
        assert await asyncio.to_thread(fake_store.opening.wait, 10)
        predictor.stop()
        with pytest.raises(Unavailable):  # nobody else serves the lane
            await call
        go.set()
        await asyncio.to_thread(thread.join, 10)

    go = fake_store.hold("a/1")
    spec = PredictorSpec(server.url, "", "", fake_store.root.name, lane=fake_store.root.name)
    engines = Engines(ArtifactCache(fake_store.fetch, fake_store.root / "cache", 1 << 30), open_cpu, 1 << 30)
    predictor = Predictor(spec, RequestConsumer(spec.redis_url, spec.lane, spec.worker_id), engines)
    thread = threading.Thread(target=predictor.run)
    thread.start()
    observer = RequestConsumer(spec.redis_url, spec.lane, spec.worker_id)
    until(lambda: observer.read_presence() is not None)
    observer.close()
    call_lane(server, fake_store, scenario)
    assert not thread.is_alive()
