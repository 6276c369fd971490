"""Predictors that hang, stop, stay silent or die: real processes, ended and restarted."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import redis

from app.errors import DeadlinePassed, Unavailable
from app.infrastructure.processes.managed import is_alive
from app.lanes import Lane, RequestConsumer, wire
from tests.support.factories.networks import lstm, store
from tests.support.fakes.lanes import open_lane
from tests.support.fakes.predictors import running_predictor
from tests.support.fixtures.servers import Valkey, until, valkey
from workers.inference.artifact_cache import ArtifactCache
from workers.inference.engines import Engines, open_onnx
from workers.serving.predictor import HUNG_EXIT_STATUS, Predictor
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
        self.output, self.stride, self.decoder = engine.output, engine.stride, None
        self.codec = None

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


def send_until_answered(spec: PredictorSpec, value: float = 1.0, seconds: float = 20.0) -> float:
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
        async with open_lane(spec.redis_url, spec.lane) as lane:
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
    consumer = RequestConsumer(spec.redis_url, spec.lane, spec.worker_id)
    until(lambda: consumer.read_presence() is not None)
    consumer.close()
    send_until_answered(spec)
    begun = time.monotonic()
    with pytest.raises(AssertionError):
        send_until_answered(spec, 666.0, seconds=1)
    assert child.wait(15) == HUNG_EXIT_STATUS
    assert time.monotonic() - begun > 1.4
    assert b"hung" in child.stderr.read()
    child.stdin.close()
    child.stderr.close()


def test_an_idle_predictor_does_not_count_as_hung(spec: PredictorSpec) -> None:
    """It sleeps two seconds at a time in the server."""
    with running_predictor(msgspec.structs.replace(spec, hang_seconds=3.0)) as process:
        pid = process.pid
        ended = threading.Event()
        ended.wait(4)
        assert process.pid == pid


def test_a_stopped_predictor_is_killed_and_replaced(spec: PredictorSpec) -> None:
    client: Any = redis.Redis.from_url(spec.redis_url)
    with running_predictor(msgspec.structs.replace(spec, silent_seconds=0.5)) as process:
        send_until_answered(spec)
        until(lambda: process._last_loaded == ["a/1"], what="the check of its presence")
        first = process.pid
        assert first is not None
        os.kill(first, signal.SIGSTOP)
        client.delete(wire.predictor_key(spec.worker_id))  # as it expires after five seconds
        until(lambda: process.pid not in {None, first}, what="another process")
        assert not is_alive(first)
        send_until_answered(spec)
    client.close()


def test_while_redis_is_unreachable_no_silent_process_is_killed(spec: PredictorSpec) -> None:
    with valkey() as fragile:
        fragile_spec = msgspec.structs.replace(spec, redis_url=fragile.url, silent_seconds=0.5)
        with running_predictor(fragile_spec) as process:
            send_until_answered(fragile_spec)
            pid = process.pid
            fragile.kill()
            threading.Event().wait(2.5)  # several checks
            fragile.start()
            send_until_answered(fragile_spec)
            assert process.pid == pid


def test_a_process_that_never_announces_itself_is_replaced(
    spec: PredictorSpec, caplog: pytest.LogCaptureFixture
) -> None:
    process = PredictorProcess(msgspec.structs.replace(spec, silent_seconds=0.3, start_seconds=0.5))
    process._command = [sys.executable, "-c", "import time; time.sleep(60)"]
    process.start()
    until(lambda: "silent" in caplog.text)
    until(lambda: "ended with -9" in caplog.text)
    process.stop()


def test_versions_a_killed_predictor_had_loaded_are_preloaded(
    spec: PredictorSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.serving.processes.HEALTHY_SECONDS", 0.0)
    with running_predictor(spec) as process:
        send_until_answered(spec)
        until(lambda: process.loaded_artifacts() == ["a/1"])
        first = process.pid
        until(lambda: process._last_loaded == ["a/1"])
        assert first is not None
        os.kill(first, signal.SIGKILL)
        until(lambda: (presence := process.read_presence()) is not None and presence.pid not in {first, None})
        until(lambda: process.loaded_artifacts() == ["a/1"])


def test_a_killed_predictor_serves_again_within_seconds(spec: PredictorSpec) -> None:
    with running_predictor(spec) as process:
        send_until_answered(spec)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        assert send_until_answered(spec) < 5  # about one on an idle machine


def test_a_loop_that_fails_announces_nothing_more(spec: PredictorSpec) -> None:
    """A process whose loop has ended must not appear to serve."""

    def fail(*_: object, **__: object) -> list[Any]:
        raise RuntimeError("a bug")

    engines = Engines(
        ArtifactCache(lambda *_: Path(), Path(spec.cache_dir), 1), lambda path: open_onnx(path, "cpu"), 1
    )
    consumer = RequestConsumer(spec.redis_url, spec.lane, spec.worker_id)
    consumer.receive = fail  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="a bug"):
        Predictor(spec, consumer, engines).run()
    assert not any(thread.name in {"presence", "loader"} for thread in threading.enumerate())
    observer = RequestConsumer(spec.redis_url, spec.lane, spec.worker_id)
    assert observer.read_presence() is None
    observer.close()
