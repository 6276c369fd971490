"""Notices between API processes that something has changed, so that all forget what they cached of it.

The subject is a model whose aliases have moved, or a key. The process that changes it commits first, then
tells all others over Redis and waits until each has acknowledged the notice. A process that cannot be reached
forgets anyway once its cached entry grows old.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from app.infrastructure.outages import OutageLog
from app.infrastructure.redis_failures import REDIS_FAILURES

log = logging.getLogger(__name__)

_encode = msgspec.json.encode
_decode = msgspec.json.Decoder(tuple[str, str]).decode  # a subject, and the list to acknowledge in

TIMEOUT_SECONDS = 1.0  # for the other processes' acknowledgements, and for Redis
MIN_RETRY_SECONDS, MAX_RETRY_SECONDS = 0.02, 2.0  # between attempts to connect
PING_SECONDS = 30.0  # without a message, after which the connection is tested
ACK_TTL_SECONDS = 10  # an unread acknowledgement expires


class Notices:
    """Cache invalidation in all API processes.

    `forget` is called with each subject that a process, this one included, names as changed; `forget_all`
    each time the connection is (re)made, as notices may have been missed until then.
    """

    def __init__(
        self, url: str, prefix: str, forget: Callable[[str], None], forget_all: Callable[[], None]
    ) -> None:
        self._forget, self._forget_all = forget, forget_all
        self._channel = f"{prefix}notices"
        self._name = secrets.token_hex(8)
        retry = Retry(NoBackoff(), 1)  # a pooled connection may have died with an earlier server
        self._redis: Any = Redis.from_url(url, protocol=2, socket_timeout=None, retry=retry)
        self._outage = OutageLog(log, "notices cannot be received")
        self._tried = asyncio.Event()  # set once the first attempt to connect has ended
        self._task: asyncio.Task[None] | None = None
        self.connected = False

    async def start(self) -> None:
        """Begin to listen; Redis need not be up."""
        self._task = asyncio.create_task(self._run())
        with suppress(TimeoutError):
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await self._tried.wait()

    async def close(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._redis.aclose()

    async def invalidate(self, subject: str) -> bool:
        """Have every process forget a subject; false when one has not acknowledged it within a second."""
        self._forget(subject)
        ack_list = f"{self._channel}:{secrets.token_hex(8)}"
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                listeners = await self._redis.publish(self._channel, _encode((subject, ack_list)))
                acknowledged: set[bytes] = set()
                while len(acknowledged) < listeners:
                    popped = await self._redis.blmpop(
                        TIMEOUT_SECONDS, 1, ack_list, direction="LEFT", count=listeners
                    )
                    acknowledged.update(popped[1] if popped else ())
        except REDIS_FAILURES as error:
            reason = str(error) or "no answer in time"
            log.warning("not every process has acknowledged that %s changed: %s", subject, reason)
            return False
        return True

    async def _run(self) -> None:
        pause = MIN_RETRY_SECONDS
        while True:
            try:
                await self._listen()
            except REDIS_FAILURES as error:
                self._outage.failed(str(error) or "no answer in time")
            pause = MIN_RETRY_SECONDS if self.connected else min(2 * pause, MAX_RETRY_SECONDS)
            self.connected = False
            self._tried.set()
            await asyncio.sleep(pause)

    async def _listen(self) -> None:
        """Handle messages until the connection no longer answers a ping."""
        async with self._redis.pubsub() as channel:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await channel.subscribe(self._channel)
            pinged = False
            while True:
                message = await channel.get_message(timeout=PING_SECONDS)
                if message is not None:
                    pinged = False
                    await self._handle(message)
                elif pinged:
                    return
                else:
                    await channel.ping()
                    pinged = True

    async def _handle(self, message: dict[str, Any]) -> None:
        if message["type"] == "subscribe":  # the client subscribes again by itself when it reconnects
            self._forget_all()
            self._outage.worked()
            self.connected = True
            self._tried.set()
        elif message["type"] == "message":
            try:
                subject, ack_list = _decode(message["data"])
            except (msgspec.MsgspecError, UnicodeDecodeError):
                log.warning("a notice cannot be decoded")
                self._forget_all()
                return
            self._forget(subject)
            await self._acknowledge(ack_list)

    async def _acknowledge(self, ack_list: str) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                pipeline = self._redis.pipeline(transaction=False)
                await pipeline.rpush(ack_list, self._name).expire(ack_list, ACK_TTL_SECONDS).execute()
        except REDIS_FAILURES as error:
            log.warning("a notice could not be acknowledged: %s", str(error) or "no answer in time")
