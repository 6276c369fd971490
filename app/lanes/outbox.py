"""What leaves an API process for a lane: every request of one turn of the event loop in one push."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from app.lanes import wire
from app.lanes.links import Command, Pipe
from app.lanes.lookout import REDIS_SECONDS

logger = logging.getLogger(__name__)

LANE_SECONDS = 600  # a lane that nobody serves or uses disappears
PUSH_AT = 8  # requests: a predictor computes the first ones while more are being read


class Outbox:
    """Pushes requests, and takes back those that nobody waits for.

    `pushed` is called with how many are in the lane, `failed` with the numbers of those that could not leave.
    """

    def __init__(
        self, url: str, lane: str, pushed: Callable[[int], None], failed: Callable[[Iterable[int]], None]
    ) -> None:
        self._lane, self._pipe = wire.lane_key(lane), Pipe(url)
        self._pushed, self._failed = pushed, failed
        self._outgoing: dict[int, bytes] = {}  # encoded, not yet pushed
        self._kept = float("-inf")  # when the lane's expiry was last put off

    def __contains__(self, number: int) -> bool:
        return number in self._outgoing

    def add(self, number: int, blob: bytes) -> None:
        """Push with all that waits at the end of this turn of the event loop, or as soon as a few do."""
        self._outgoing[number] = blob
        if len(self._outgoing) >= PUSH_AT:
            self._push()
        elif len(self._outgoing) == 1:
            asyncio.get_running_loop().call_soon(self._push)

    def drop(self, number: int) -> None:
        """Do not push it, if that has not happened."""
        self._outgoing.pop(number, None)

    def take_back(self, number: int, blob: bytes, elsewhere: Iterable[Command] = ()) -> None:
        """What no predictor has taken yet is not computed any more; `elsewhere` tells the others."""
        if number in self._outgoing:
            return
        taken = ("LREM", self._lane, -1, blob)
        self._pipe.send(taken, *elsewhere, then=_ignore, within=REDIS_SECONDS)

    def _push(self) -> None:
        batch, self._outgoing = self._outgoing, {}
        if not batch:
            return
        commands: list[Command] = [("RPUSH", self._lane, *batch.values())]
        if (now := time.monotonic()) > self._kept + LANE_SECONDS / 10:
            commands.append(("EXPIRE", self._lane, LANE_SECONDS))
            self._kept = now
        self._pipe.send(*commands, then=partial(self._after_push, batch), within=REDIS_SECONDS)

    def _after_push(self, batch: dict[int, bytes], answers: list[Any], error: Exception | None) -> None:
        if error is not None:
            logger.warning("lane push failed: %s", error)
            self._kept = float("-inf")
            self._failed(batch)
        else:
            self._pushed(answers[0])

    async def close(self) -> None:
        """Disconnect."""
        await self._pipe.close()


def _ignore(_: list[Any], error: Exception | None) -> None:
    if error is not None:
        logger.warning("a request nobody waits for could not be taken back: %s", error)
