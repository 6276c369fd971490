"""Predictors that hang, stop, lie or die: real processes, and who ends and restarts them."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import redis

from app.errors import DeadlinePassed, Unavailable
from app.infrastructure.processes import alive
from app.lanes import Inbox, Lane, wire
from tests.lanes import opened
from tests.networks import lstm, store
from tests.servers import Valkey, until, valkey
from workers.inference.artifact_cache import ArtifactCache
from workers.inference.engines import Engines, open_onnx
from workers.serving.predictor import HUNG, Predictor
from workers.serving.processes import PredictorProcess
from workers.serving.spec import PredictorSpec

HANGING = """
import sys, time
from pathlib import Path
from workers.inference.engines import open_onnx
from workers.serving.predictor import main

class Hanging:
    def __init__(self, engine):
        self.engine, self.pace = engine, engine.pace

    def run(self, inputs, lengths):
        if inputs[0, 0, 0] == 666:
            time.sleep(60)
        return self.engine.run(inputs, lengths)

main(lambda directory, device: Hanging(open_onnx(directory, device)))
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    with valkey() as running:
        yield running


@pytest.fixture
def spec(server: Valkey, tmp_path: Path) -> PredictorSpec:
    store(tmp_path / "store/a/1", lstm())
    url, cache = (tmp_path / "store").as_uri(), str(tmp_path / "cache")
    return PredictorSpec(server.url, url, cache, f"{tmp_path.name}:0", lane=tmp_path.name)


@contextmanager
def kept(spec: PredictorSpec) -> Iterator[PredictorProcess]:
    process = PredictorProcess(spec)
    process.start()
    try:
        until(lambda: process.presence() is not None, what="the predictor's presence")
        yield process
    finally:
        process.stop()


def ask(spec: PredictorSpec, value: float = 1.0, seconds: float = 20.0) -> float:
    """Seconds until the lane answers, whatever happens meanwhile."""

    async def call(lane: Lane) -> None:
        while time.monotonic() < begun + seconds:
            try:
                await lane.send("a/1", [np.full((4, 3), value, np.float32)], min(5.0, seconds))
            except (Unavailable, DeadlinePassed):
                await asyncio.sleep(0.02)
            else:
                return
        raise AssertionError("it was not answered")

    async def run() -> None:
        async with opened(spec.redis_url, spec.lane) as lane:
            await call(lane)

    begun = time.monotonic()
    asyncio.run(run())
    return time.monotonic() - begun


def test_a_batch_that_hangs_ends_the_process(spec: PredictorSpec) -> None:
    child = subprocess.Popen([sys.executable, "-c", HANGING], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stderr is not None
    child.stdin.write(msgspec.json.encode(msgspec.structs.replace(spec, hang_seconds=1.5)) + b"\n")
    child.stdin.flush()
    inbox = Inbox(spec.redis_url, spec.lane, spec.worker_id)
    until(lambda: inbox.presence() is not None)
    inbox.close()
    ask(spec)
    begun = time.monotonic()
    with pytest.raises(AssertionError):
        ask(spec, 666.0, seconds=1)
    assert child.wait(15) == HUNG
    assert time.monotonic() - begun > 1.4
    assert b"hung" in child.stderr.read()
    child.stdin.close()
    child.stderr.close()


def test_an_idle_predictor_does_not_count_as_hung(spec: PredictorSpec) -> None:
    """It sleeps two seconds at a time in the server."""
    with kept(msgspec.structs.replace(spec, hang_seconds=3.0)) as process:
        pid = process.pid
        ended = threading.Event()
        ended.wait(4)
        assert process.pid == pid


def test_a_stopped_predictor_is_killed_and_replaced(spec: PredictorSpec) -> None:
    client: Any = redis.Redis.from_url(spec.redis_url)
    with kept(msgspec.structs.replace(spec, silent_seconds=0.5)) as process:
        ask(spec)
        until(lambda: process._known == ["a/1"], what="the keeper's look")
        first = process.pid
        assert first is not None
        os.kill(first, signal.SIGSTOP)
        client.delete(wire.predictor_key(spec.worker_id))  # as it expires after five seconds
        until(lambda: process.pid not in {None, first}, what="another process")
        assert not alive(first)
        ask(spec)
    client.close()


def test_while_redis_is_away_nobody_is_killed_for_being_silent(spec: PredictorSpec) -> None:
    with valkey() as fragile:
        there = msgspec.structs.replace(spec, redis_url=fragile.url, silent_seconds=0.5)
        with kept(there) as process:
            ask(there)
            pid = process.pid
            fragile.kill()
            threading.Event().wait(2.5)  # several looks of the keeper
            fragile.start()
            ask(there)
            assert process.pid == pid


def test_a_process_that_never_says_anything_is_replaced(
    spec: PredictorSpec, caplog: pytest.LogCaptureFixture
) -> None:
    process = PredictorProcess(msgspec.structs.replace(spec, silent_seconds=0.3, start_seconds=0.5))
    process._command = [sys.executable, "-c", "import time; time.sleep(60)"]
    process.start()
    until(lambda: "silent" in caplog.text)
    until(lambda: "ended with -9" in caplog.text)
    process.stop()


def test_what_a_killed_predictor_had_loaded_is_loaded_before_it_is_asked_for(
    spec: PredictorSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.serving.processes.STEADY_SECONDS", 0.0)
    with kept(spec) as process:
        ask(spec)
        until(lambda: process.loaded() == ["a/1"])
        first = process.pid
        until(lambda: process._known == ["a/1"])
        assert first is not None
        os.kill(first, signal.SIGKILL)
        until(lambda: (found := process.presence()) is not None and found.pid not in {first, None})
        until(lambda: process.loaded() == ["a/1"])


def test_a_killed_predictor_serves_again_within_seconds(spec: PredictorSpec) -> None:
    with kept(spec) as process:
        ask(spec)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        assert ask(spec) < 5  # about one on an idle machine


def test_a_loop_that_fails_says_nothing_more(spec: PredictorSpec) -> None:
    """A process whose loop has ended must not go on as if it served."""

    def fail(*_: object, **__: object) -> list[Any]:
        raise RuntimeError("a bug")

    engines = Engines(
        ArtifactCache(lambda *_: Path(), Path(spec.cache_dir), 1), lambda path: open_onnx(path, "cpu"), 1
    )
    inbox = Inbox(spec.redis_url, spec.lane, spec.worker_id)
    inbox.receive = fail  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="a bug"):
        Predictor(spec, inbox, engines).run()
    assert not any(thread.name in {"presence", "loader"} for thread in threading.enumerate())
    watcher = Inbox(spec.redis_url, spec.lane, spec.worker_id)
    assert watcher.presence() is None
    watcher.close()
