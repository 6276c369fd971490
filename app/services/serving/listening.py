"""Predictions while the instance is recorded: samples come in, texts go out, in turn."""

import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from app.errors import AppError, Invalid, Problem
from app.services.serving.predictions import PredictionService
from app.services.serving.version_router import Route
from app.tasks.contract import Listener, ListeningTask
from app.thread_pools import COMPUTING, DECODING_MEDIA
from app.typedefs import Json


def open_listening(route: Route, parameters: Any, sample_rate: int | None) -> Listener:
    """A listener of the version's task; raises `Invalid` where the task answers no live recordings."""
    task: object = route.task
    if not isinstance(task, ListeningTask):
        detail = f"{route.task.name} is not listened to while it is recorded"
        raise Invalid(detail, [Problem("", detail)])
    return task.listener(route.state, parameters, sample_rate)


async def listen(
    service: PredictionService,
    route: Route,
    listener: Listener,
    samples: AsyncIterator[bytes],
    seconds: float,
) -> AsyncGenerator[Json]:
    """The messages of a listener for samples as they come; each may take `seconds`.

    More samples are only read once those before them are answered, so a client that is too fast waits. Raises
    what the lane raises.
    """
    metrics = service.metrics_of(route)

    async def answer(pcm: bytes, *, ended: bool) -> Json | None:
        begun = time.perf_counter()

        def left() -> float:
            return max(begun + seconds - time.perf_counter(), 0.0)

        inputs = await DECODING_MEDIA.run_within(seconds, listener.feed, pcm, ended=ended)
        if inputs is None:
            return None
        service.admit(route)
        try:
            reply = await service.lane.send(route.artifact, [inputs], left())
        except AppError:
            metrics.record_failure(time.perf_counter() - begun)
            raise
        message = await COMPUTING.run_within(left(), listener.push, reply.outputs[0])
        metrics.record_answer(reply, time.perf_counter() - begun)
        return message

    async for pcm in samples:
        message = await answer(pcm, ended=False)
        while message is not None:  # a long piece has more than one answer
            yield message
            message = await answer(b"", ended=False)
    while (message := await answer(b"", ended=True)) is not None:
        yield message
    yield listener.close() | {"done": True}
