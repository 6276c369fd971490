"""How requests leave an API process for a lane: all of one turn of the event loop in one push."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from app.infrastructure.outages import OutageLog
from app.lanes import wire
from app.lanes.predictor_monitor import REDIS_TIMEOUT_SECONDS
from app.lanes.redis_connections import AsyncRedisConnection, Command

logger = logging.getLogger(__name__)

LANE_TTL_SECONDS = 600  # a lane that is neither served nor used expires
PUSH_BATCH_REQUESTS = 8  # pushed at once, so that a predictor computes while more requests are read


class RequestSender:
    """Pushes encoded requests into a lane, and withdraws those whose client has gone.

    `on_push` is called with the number of requests then in the lane, `on_failure` with the ids of requests
    that could not be pushed.
    """

    def __init__(
        self,
        url: str,
        lane: str,
        on_push: Callable[[int], None],
        on_failure: Callable[[Iterable[int]], None],
    ) -> None:
        self._lane, self._connection = wire.lane_key(lane), AsyncRedisConnection(url)
        self._on_push, self._on_failure = on_push, on_failure
        self._outage = OutageLog(logger, "lane push failed")
        self._outgoing: dict[int, bytes] = {}  # encoded requests that are not pushed yet, by id
        self._expiry_renewed = float("-inf")  # when the lane's expiry was last renewed

    def __contains__(self, request_id: int) -> bool:
        return request_id in self._outgoing

    def add(self, request_id: int, blob: bytes) -> None:
        """Push a request at the end of this turn of the event loop, or as soon as a few are waiting."""
        self._outgoing[request_id] = blob
        if len(self._outgoing) >= PUSH_BATCH_REQUESTS:
            self._push()
        elif len(self._outgoing) == 1:
            asyncio.get_running_loop().call_soon(self._push)

    def discard(self, request_id: int) -> None:
        """Do not push a request, if that has not happened yet."""
        self._outgoing.pop(request_id, None)

    def withdraw(self, request_id: int, blob: bytes, extra: Iterable[Command] = ()) -> None:
        """Remove a request from the lane, unless a predictor has taken it; `extra` commands go along."""
        if request_id in self._outgoing:
            return
        removal = ("LREM", self._lane, -1, blob)
        self._connection.send(removal, *extra, then=_log_failed_removal, within=REDIS_TIMEOUT_SECONDS)

    def _push(self) -> None:
        batch, self._outgoing = self._outgoing, {}
        if not batch:
            return
        commands: list[Command] = [("RPUSH", self._lane, *batch.values())]
        if (now := time.monotonic()) > self._expiry_renewed + LANE_TTL_SECONDS / 10:
            commands.append(("EXPIRE", self._lane, LANE_TTL_SECONDS))
            self._expiry_renewed = now
        self._connection.send(*commands, then=partial(self._after_push, batch), within=REDIS_TIMEOUT_SECONDS)

    def _after_push(self, batch: dict[int, bytes], results: list[Any], error: Exception | None) -> None:
        if error is not None:
            self._outage.failed(error)
            self._expiry_renewed = float("-inf")
            self._on_failure(batch)
        else:
            self._outage.worked()
            self._on_push(results[0])

    async def close(self) -> None:
        """Disconnect."""
        await self._connection.close()


def _log_failed_removal(_: list[Any], error: Exception | None) -> None:
    if error is not None:
        logger.warning("a cancelled request could not be removed from the lane: %s", error)
