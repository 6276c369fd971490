"""A predictor that is a thread, and ways to open a lane and wait for it."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import numpy as np
import redis

from app.errors import DeadlinePassed, Unavailable
from app.lanes import Lane, PredictorPresence, Reply, ReplyStatus, Request, RequestConsumer, Tensor
from app.prediction.codec import Codec
from tests.support.fixtures.servers import patient
from workers.serving.batching import Replies
from workers.serving.json_requests import JsonRequests

ROW = np.arange(6, dtype=np.float32).reshape(2, 3)


def double(request: Request) -> Reply:
    return Reply(
        request.id, ReplyStatus.OK, [Tensor.of(2 * item.array()) for item in request.instances], 0.25, 0.5
    )


class FakePredictor:
    """Answers from a thread; can be held back, and can lose what it received.

    With a codec it reads requests that come as JSON; `answer` then gets what the network reads.
    """

    def __init__(
        self,
        url: str,
        lane: str,
        answer: Callable[[Request], Reply] = double,
        codec: Codec | None = None,
    ) -> None:
        self.consumer = RequestConsumer(url, lane, f"fake-{lane}")
        self.lane, self.answer, self.codec = lane, answer, codec
        self.received: list[Request] = []
        self.computed: list[Request] = []
        self.go = threading.Event()
        self.go.set()
        self.ended = False
        self.presence: PredictorPresence | None = None
        self.announced = 0.0
        self.thread = threading.Thread(target=self._serve)

    def announce(self, instance_id: str = "first") -> None:
        self.presence = PredictorPresence(f"fake-{self.lane}", instance_id, 1, "cpu", self.lane, ["a/1"])
        self.announced = 0.0
        self._stay_present()

    def _stay_present(self) -> None:
        """Its presence lasts five seconds, which a busy machine may take for anything."""
        if self.presence is not None and not self.ended and time.monotonic() - self.announced > 1:
            self.announced = time.monotonic()
            self.consumer.announce(self.presence)

    def _serve(self) -> None:
        while True:
            self.go.wait()
            try:
                self._stay_present()
                requests = self.consumer.receive(64)
            except (redis.RedisError, OSError):
                if self.ended:
                    return
                continue
            if self.ended:
                return
            self.received += requests
            self.go.wait()
            replies = self._replies(requests)
            with suppress(redis.RedisError, OSError):  # nobody waits for replies that are lost with Redis
                self.consumer.send_replies(replies)

    def _replies(self, requests: list[Request]) -> Replies:
        if self.codec is None:
            return self._compute(requests)
        with_json = JsonRequests(self.codec)
        encoded, ended = with_json.encode([one for one in requests if one.body], time.time())
        return ended + with_json.decode(self._compute(encoded + [one for one in requests if not one.body]))

    def _compute(self, requests: list[Request]) -> Replies:
        self.computed += requests
        return [(request.reply_to, self.answer(request)) for request in requests]

    def end(self) -> None:
        self.ended = True
        with suppress(redis.RedisError, OSError):
            self.consumer.interrupt()
        self.go.set()
        self.thread.join()
        with suppress(redis.RedisError, OSError):
            self.consumer.withdraw()
        self.consumer.close()


@contextmanager
def fake_predictor(
    url: str, lane: str, answer: Callable[[Request], Reply] = double, codec: Codec | None = None
) -> Iterator[FakePredictor]:
    fake = FakePredictor(url, lane, answer, codec)
    fake.announce()
    fake.thread.start()
    try:
        yield fake
    finally:
        fake.end()


@asynccontextmanager
async def open_lane(url: str, name: str, max_waiting: int = 4096) -> AsyncIterator[Lane]:
    lane = Lane(url, name, max_waiting)
    await lane.start()
    try:
        yield lane
    finally:
        await lane.close()


async def wait_until(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + patient(seconds)
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


async def wait_until_served(lane: Lane, seconds: float = 5.0) -> None:
    """Until the lane answers again."""
    deadline = time.monotonic() + patient(seconds)
    while True:
        try:
            await lane.send("a/1", [ROW], 1.0)
        except (Unavailable, DeadlinePassed):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        else:
            return


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)
