"""Redis dies and is back at once: nobody waits for the deadline, nobody gets another's answer."""

import asyncio
import random
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.errors import Unavailable
from app.lanes import Lane, PredictorPresence, Reply, ReplyStatus, RequestConsumer
from tests.support.factories.networks import lstm, store
from tests.support.fakes.lanes import run, wait_until
from tests.support.fixtures.servers import Valkey, until, valkey
from workers.inference.engines import open_onnx
from workers.serving.processes import PredictorProcess
from workers.serving.spec import PredictorSpec

RESTARTS, CALLERS = 8, 8
ARTIFACT = "artifacts/a/1"
DEADLINE, PATIENCE = 10.0, 3.5  # seconds that a call may take, and those in which it must be told of a loss


@pytest.fixture(params=["forgets", "remembers"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Valkey]:
    """A server that loses everything, as the embedded one does, or at most its last second."""
    kept = ("--appendonly", "yes", "--appendfsync", "everysec", "--dir", str(tmp_path))
    with valkey(*(kept if request.param == "remembers" else ())) as running:
        yield running


@pytest.fixture
def spec(server: Valkey, tmp_path: Path) -> PredictorSpec:
    store(tmp_path / "store" / ARTIFACT, lstm(seed=1))
    return PredictorSpec(server.url, (tmp_path / "store").as_uri(), str(tmp_path / "cache"), "w:0", lane="l")


def test_redis_restarts_at_once(server: Valkey, spec: PredictorSpec, tmp_path: Path) -> None:
    engine = open_onnx(tmp_path / "store" / ARTIFACT, "cpu")
    rng = np.random.default_rng(4)
    rows = [rng.normal(size=(steps, 3)).astype(np.float32) for steps in range(1, 20)]  # (time, features)
    expected = [engine.run(row[None], np.array([len(row)]))[0] for row in rows]
    taken: list[float] = []
    right = 0

    async def call(lane: Lane, source: random.Random, stop: asyncio.Event) -> None:
        nonlocal right
        while not stop.is_set():
            which, begun = source.randrange(len(rows)), time.monotonic()
            try:
                answer = await lane.send(ARTIFACT, [rows[which]], DEADLINE)
            except Unavailable:
                await asyncio.sleep(0.02)
            else:
                assert np.allclose(answer.outputs[0], expected[which], atol=1e-5)
                right += 1
            taken.append(time.monotonic() - begun)

    async def scenario() -> None:
        source = random.Random(0)  # noqa: S311 - a repeatable test, no secret
        lane, stop = Lane(spec.redis_url, spec.lane), asyncio.Event()
        await lane.start()
        callers = [asyncio.create_task(call(lane, source, stop)) for _ in range(CALLERS)]
        for _ in range(RESTARTS):
            before, deadline = right, time.monotonic() + 2 * DEADLINE
            while right < before + 50:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.01)
            await asyncio.sleep(source.uniform(0, 0.5))  # between any two looks at who is there
            await asyncio.to_thread(restart)
        stop.set()
        await asyncio.gather(*callers)
        await lane.close()

    def restart() -> None:
        server.kill()
        server.start()

    process = PredictorProcess(spec)
    process.start()
    try:
        until(lambda: process.read_presence() is not None, what="the predictor's presence")
        run(scenario())
    finally:
        process.stop()
    assert right > 50 * RESTARTS
    assert max(taken) < PATIENCE, sorted(taken)[-CALLERS:]


def test_what_was_taken_when_redis_restarts_is_sent_again(tmp_path: Path) -> None:
    """The predictor lives on, but had no server to send its answer to; nobody saw the outage."""
    kept = ("--appendonly", "yes", "--appendfsync", "always", "--dir", str(tmp_path))
    row = np.ones((2, 3), np.float32)

    async def scenario(server: Valkey, consumer: RequestConsumer) -> None:
        lane = Lane(server.url, "l")
        await lane.start()
        call = asyncio.create_task(lane.send("a/1", [row], 20))
        await wait_until(lambda: lane.waiting_rows)
        (taken,) = await asyncio.to_thread(consumer.receive, 8)
        await lane.predictors()  # the next look is half a second away
        server.kill()
        await asyncio.to_thread(server.start)
        again = await asyncio.to_thread(consumer.receive, 8)
        assert again == [taken]
        answer = Reply(taken.id, ReplyStatus.OK, taken.instances)
        await asyncio.to_thread(consumer.send_replies, [(taken.reply_to, answer), (taken.reply_to, answer)])
        assert np.array_equal((await call).outputs[0], row)
        await lane.close()

    with valkey(*kept) as server:
        consumer = RequestConsumer(server.url, "l", "w")
        consumer.announce(PredictorPresence("w", "first", 1, "cpu", "l", []))
        run(scenario(server, consumer))
        consumer.close()
