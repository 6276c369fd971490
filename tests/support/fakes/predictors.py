"""A predictor process, and a lane to call it through."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from app.lanes import Lane
from tests.support.fixtures.servers import until
from workers.serving.processes import PredictorProcess
from workers.serving.spec import PredictorSpec

T = TypeVar("T")


@contextmanager
def running_predictor(spec: PredictorSpec) -> Iterator[PredictorProcess]:
    process = PredictorProcess(spec)
    process.start()
    try:
        until(lambda: process.read_presence() is not None, what="the predictor's presence")
        yield process
    finally:
        process.stop()
        assert not process.alive()


def call_lane(spec: PredictorSpec, scenario: Callable[[Lane], Awaitable[T]]) -> T:
    """Run a scenario on a lane that refuses nothing for being slow: what is slow here is the machine."""

    async def run() -> T:
        lane = Lane(spec.redis_url, spec.lane, max_seconds=600)
        await lane.start()
        try:
            return await scenario(lane)
        finally:
            await lane.close()

    return asyncio.run(run())
