"""Loading beside the loop: what is in memory is served, the rest is parked, expires, or is refused."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from app.errors import DeadlinePassed, NotFound, PredictionFailed, Unavailable
from app.lanes import Inbox, Lane
from app.tasks.contract import Floats
from tests.lanes import eventually, opened
from tests.networks import lstm, store
from tests.servers import Valkey, until, valkey
from workers.inference.artifact_cache import ArtifactCache
from workers.inference.engines import AWAY_SECONDS, Engine, Engines, open_onnx
from workers.serving.loader import Loader
from workers.serving.predictor import Predictor
from workers.serving.spec import PredictorSpec

ROWS: list[Floats] = [np.ones((5, 3), np.float32)]


def test_versions_load_in_the_order_they_were_wanted_and_each_says_ready() -> None:
    begun, go, loaded, ready = threading.Event(), threading.Event(), list[str](), list[list[str]]()

    def load(artifact: str) -> None:
        begun.set()
        assert go.wait(10)
        loaded.append(artifact)

    loader = Loader(load, lambda: ready.append(list(loaded)))
    loader.start()
    for artifact in ("a", "b", "a", "c", "b"):
        loader.want(artifact)
    assert begun.wait(10)
    loader.want("a")  # being loaded
    go.set()
    until(lambda: len(ready) == 3)
    loader.want("a")
    until(lambda: len(ready) == 4)
    loader.stop()
    assert loaded == ["a", "b", "c", "a"]
    assert ready[0] == ["a"]


def test_what_is_queued_at_the_stop_is_not_loaded() -> None:
    begun, go, loaded = threading.Event(), threading.Event(), list[str]()

    def load(artifact: str) -> None:
        begun.set()
        assert go.wait(10)
        loaded.append(artifact)

    loader = Loader(load, lambda: None)
    loader.start()
    loader.want("a")
    loader.want("b")
    assert begun.wait(10)
    stopping = threading.Thread(target=loader.stop)
    stopping.start()
    until(loader._stopping.is_set)
    go.set()
    stopping.join()
    assert loaded == ["a"]


class Shelf:
    """A store of three versions whose opening can be held back, and which can go away."""

    def __init__(self, root: Path) -> None:
        self.root, self.away = root, False
        self.fetched: list[str] = []
        self.held: dict[str, threading.Event] = {}
        self.opening = threading.Event()  # one that is held back has begun
        for version in range(3):
            store(root / "store" / f"a/{version}", lstm(seed=version))
        (root / "store/a/2/model.onnx").write_bytes(b"rubbish")

    def fetch(self, artifact: str, directory: Path) -> Path:
        self.fetched.append(artifact)
        if self.away:
            raise OSError("connection refused")
        if not (self.root / "store" / artifact).is_dir():
            raise NotFound
        directory.mkdir()
        for file in (self.root / "store" / artifact).iterdir():
            (directory / file.name).write_bytes(file.read_bytes())
        if (event := self.held.get(artifact)) is not None:
            self.opening.set()
            assert event.wait(20)
        return directory

    def hold(self, artifact: str) -> threading.Event:
        self.held[artifact] = threading.Event()
        return self.held[artifact]


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    with valkey() as running:
        yield running


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


@contextmanager
def serving(server: Valkey, shelf: Shelf, memory: int = 1 << 30) -> Iterator[Engines]:
    spec = PredictorSpec(server.url, "", "", shelf.root.name, lane=shelf.root.name)
    artifacts = ArtifactCache(shelf.fetch, shelf.root / "cache", 1 << 30)
    engines = Engines(artifacts, open_cpu, memory)
    predictor = Predictor(spec, Inbox(spec.redis_url, spec.lane, spec.worker_id), engines)
    thread = threading.Thread(target=predictor.run)
    thread.start()
    watcher = Inbox(spec.redis_url, spec.lane, spec.worker_id)
    try:
        until(lambda: watcher.presence() is not None)
        yield engines
    finally:
        watcher.close()
        predictor.stop()
        for event in shelf.held.values():
            event.set()
        thread.join(10)
        assert not thread.is_alive()


def open_cpu(directory: Path) -> Engine:
    return open_onnx(directory, "cpu")


def through(server: Valkey, shelf: Shelf, scenario: "Callable[[Lane], object]") -> None:
    async def run() -> None:
        async with opened(server.url, shelf.root.name) as lane:
            await scenario(lane)  # type: ignore[misc]

    asyncio.run(run())


def test_while_one_version_loads_another_is_served(server: Valkey, shelf: Shelf) -> None:
    async def scenario(lane: Lane) -> None:
        await lane.send("a/0", ROWS, 10)
        parked = [asyncio.create_task(lane.send("a/1", ROWS, 20)) for _ in range(3)]
        assert await asyncio.to_thread(shelf.opening.wait, 10)
        for _ in range(20):
            assert (await lane.send("a/0", ROWS, 2)).outputs[0].shape == (2,)
        assert not any(call.done() for call in parked)
        go.set()
        answers = await asyncio.gather(*parked)
        assert [answer.batch for answer in answers] == [3, 3, 3]
        assert all(answer.queue_seconds > 0 for answer in answers)

    go = shelf.hold("a/1")
    with serving(server, shelf):
        through(server, shelf, scenario)
    assert shelf.fetched == ["a/0", "a/1"]


def test_parked_requests_expire(server: Valkey, shelf: Shelf) -> None:
    async def scenario(lane: Lane) -> None:
        with pytest.raises(DeadlinePassed):
            await lane.send("a/1", ROWS, 0.2)
        patient = asyncio.create_task(lane.send("a/1", ROWS, 20))
        await asyncio.to_thread(shelf.opening.wait, 10)
        go.set()
        assert (await patient).batch == 1  # alone: the other was not computed

    go = shelf.hold("a/1")
    with serving(server, shelf):
        through(server, shelf, scenario)


def test_a_parked_request_is_answered_as_expired_when_its_time_comes(server: Valkey, shelf: Shelf) -> None:
    spec = PredictorSpec(server.url, "", "", shelf.root.name, lane=shelf.root.name)
    engines = Engines(ArtifactCache(shelf.fetch, shelf.root / "cache", 1 << 30), open_cpu, 1 << 30)
    inbox = Inbox(spec.redis_url, spec.lane, spec.worker_id)
    predictor = Predictor(spec, inbox, engines)

    async def scenario(lane: Lane) -> None:
        call = asyncio.create_task(lane.send("a/1", ROWS, 0.3))
        await eventually(lambda: lane.waiting)
        begun = time.monotonic()
        await asyncio.to_thread(predictor.step)  # parks it; nothing loads, since no loader runs
        await asyncio.to_thread(predictor.step)  # sleeps until it expires, not for two seconds
        assert time.monotonic() - begun < 1.5
        assert predictor._parked == {}
        with pytest.raises(DeadlinePassed):
            await call

    inbox.announce(predictor.presence())
    through(server, shelf, scenario)
    inbox.withdraw()
    inbox.close()


def test_an_order_loads_a_version_ahead_of_its_use(server: Valkey, shelf: Shelf) -> None:
    teller = Inbox(server.url, shelf.root.name, shelf.root.name)
    with serving(server, shelf) as engines:
        teller.order(["a/1", "a/9", "a/0"])
        until(lambda: engines.loaded() == ["a/1", "a/0"])
    teller.close()


def test_orders_that_came_before_the_predictor_are_carried_out(server: Valkey, shelf: Shelf) -> None:
    teller = Inbox(server.url, shelf.root.name, shelf.root.name)
    teller.order(["a/1"])
    with serving(server, shelf) as engines:
        until(lambda: engines.loaded() == ["a/1"])
    teller.close()


def test_away_missing_and_damaged_are_told_apart(server: Valkey, shelf: Shelf) -> None:
    async def scenario(lane: Lane) -> None:
        shelf.away = True
        with pytest.raises(Unavailable, match="store is unreachable"):
            await lane.send("a/0", ROWS, 10)
        shelf.away = False
        with pytest.raises(NotFound):
            await lane.send("a/9", ROWS, 10)
        with pytest.raises(PredictionFailed, match="sha256"):
            await lane.send("a/2", ROWS, 10)
        begun = time.monotonic()
        while True:
            try:
                await lane.send("a/0", ROWS, 10)
            except Unavailable:
                assert time.monotonic() - begun < AWAY_SECONDS + 1
                await asyncio.sleep(0.01)
            else:
                break

    with serving(server, shelf):
        through(server, shelf, scenario)


def test_two_versions_that_do_not_fit_together_are_both_served(server: Valkey, shelf: Shelf) -> None:
    async def scenario(lane: Lane) -> None:
        calls = [lane.send(f"a/{number % 2}", ROWS, 20) for number in range(40)]
        answers = await asyncio.gather(*calls)
        assert len({answer.outputs[0].tobytes() for answer in answers}) == 2

    with serving(server, shelf, memory=1) as engines:
        through(server, shelf, scenario)
        assert len(engines.loaded()) == 1


def test_what_is_parked_at_the_stop_does_not_keep_the_predictor(server: Valkey, shelf: Shelf) -> None:
    async def scenario(lane: Lane) -> None:
        call = asyncio.create_task(lane.send("a/1", ROWS, 20))
        assert await asyncio.to_thread(shelf.opening.wait, 10)
        predictor.stop()
        with pytest.raises(Unavailable):  # nobody else serves the lane
            await call
        go.set()
        await asyncio.to_thread(thread.join, 10)

    go = shelf.hold("a/1")
    spec = PredictorSpec(server.url, "", "", shelf.root.name, lane=shelf.root.name)
    engines = Engines(ArtifactCache(shelf.fetch, shelf.root / "cache", 1 << 30), open_cpu, 1 << 30)
    predictor = Predictor(spec, Inbox(spec.redis_url, spec.lane, spec.worker_id), engines)
    thread = threading.Thread(target=predictor.run)
    thread.start()
    watcher = Inbox(spec.redis_url, spec.lane, spec.worker_id)
    until(lambda: watcher.presence() is not None)
    watcher.close()
    through(server, shelf, scenario)
    assert not thread.is_alive()
