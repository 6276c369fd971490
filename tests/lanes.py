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
from app.lanes import Inbox, Lane, Presence, Reply, Request, Status, Tensor

ROW = np.arange(6, dtype=np.float32).reshape(2, 3)


def doubled(request: Request) -> Reply:
    return Reply(
        request.id, Status.OK, [Tensor.of(2 * item.array()) for item in request.instances], 0.25, 0.5
    )


class FakePredictor:
    """Answers from a thread; can be held, can forget what it received, can be reborn."""

    def __init__(self, url: str, lane: str, answer: Callable[[Request], Reply] = doubled) -> None:
        self.inbox = Inbox(url, lane, f"fake-{lane}")
        self.lane, self.answer = lane, answer
        self.seen: list[Request] = []
        self.go = threading.Event()
        self.go.set()
        self.ended = False
        self.thread = threading.Thread(target=self._serve)

    def live(self, boot: str = "first") -> None:
        self.inbox.announce(Presence(f"fake-{self.lane}", boot, 1, "cpu", self.lane, ["a/1"]))

    def _serve(self) -> None:
        while True:
            self.go.wait()
            try:
                requests = self.inbox.receive(64)
            except (redis.RedisError, OSError):
                if self.ended:
                    return
                continue
            if self.ended:
                return
            self.seen += requests
            self.go.wait()
            replies = [(request.reply, self.answer(request)) for request in requests]
            with suppress(redis.RedisError, OSError):  # what Redis takes along nobody waits for
                self.inbox.reply(replies)

    def end(self) -> None:
        self.ended = True
        try:
            self.inbox.withdraw()
            self.inbox.interrupt()
        except (redis.RedisError, OSError):
            pass
        self.go.set()
        self.thread.join()
        self.inbox.close()


@contextmanager
def predictor(url: str, lane: str, answer: Callable[[Request], Reply] = doubled) -> Iterator[FakePredictor]:
    fake = FakePredictor(url, lane, answer)
    fake.live()
    fake.thread.start()
    try:
        yield fake
    finally:
        fake.end()


@asynccontextmanager
async def opened(url: str, name: str, max_waiting: int = 4096) -> AsyncIterator[Lane]:
    lane = Lane(url, name, max_waiting)
    await lane.start()
    try:
        yield lane
    finally:
        await lane.close()


async def eventually(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


async def served(lane: Lane, seconds: float = 5.0) -> None:
    """Until the lane answers again."""
    deadline = time.monotonic() + seconds
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
