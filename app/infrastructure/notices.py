"""Notices between API processes: a model's names have moved, so whoever remembers them looks again.

The process that moves a name commits first, then tells all others over Redis and waits until each has
forgotten the old target. One that cannot be told looks again anyway when what it remembers grows old.
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
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

_encode = msgspec.json.encode
_decode = msgspec.json.Decoder(tuple[str, str]).decode  # a model, and where to acknowledge

FAILURES = (RedisError, OSError)
PATIENCE = 1.0  # seconds a mover waits for the others
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 2.0  # between attempts to connect
QUIET = 30.0  # seconds of silence after which the connection is tried
ACK_SECONDS = 10  # an acknowledgement that nobody reads disappears


class Notices:
    """Tells every process to forget, and forgets when told: everything each time it has (re)connected."""

    def __init__(
        self, url: str, prefix: str, forget: Callable[[str], None], forget_all: Callable[[], None]
    ) -> None:
        self._forget, self._forget_all = forget, forget_all
        self._channel = f"{prefix}notices"
        self._name = secrets.token_hex(8)
        retry = Retry(NoBackoff(), 1)  # a pooled connection may have died with an earlier server
        self._redis: Any = Redis.from_url(url, protocol=2, socket_timeout=None, retry=retry)
        self._tried = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.connected = False

    async def start(self) -> None:
        """Begin to listen; Redis need not be up."""
        self._task = asyncio.create_task(self._run())
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self._tried.wait()

    async def close(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._redis.aclose()

    async def tell(self, model: str) -> bool:
        """Have every process forget a model's names; false when one has not said so within a second."""
        self._forget(model)
        acks = f"{self._channel}:{secrets.token_hex(8)}"
        try:
            async with asyncio.timeout(PATIENCE):
                listeners = await self._redis.publish(self._channel, _encode((model, acks)))
                told: set[bytes] = set()
                while len(told) < listeners:
                    found = await self._redis.blmpop(PATIENCE, 1, acks, direction="LEFT", count=listeners)
                    told.update(found[1] if found else ())
        except FAILURES as error:
            log.warning("not every process knows that %s moved: %s", model, str(error) or "no answer in time")
            return False
        return True

    async def _run(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                await self._listen()
            except FAILURES as error:
                log.warning("notices are not heard: %s", str(error) or "no answer in time")
            pause = FIRST_PAUSE if self.connected else min(2 * pause, LONGEST_PAUSE)
            self.connected = False
            self._tried.set()
            await asyncio.sleep(pause)

    async def _listen(self) -> None:
        async with self._redis.pubsub() as channel:
            async with asyncio.timeout(PATIENCE):
                await channel.subscribe(self._channel)
            tested = False
            while True:
                heard = await channel.get_message(timeout=QUIET)
                if heard is not None:
                    tested = False
                    await self._hear(heard)
                elif tested:
                    return
                else:
                    await channel.ping()
                    tested = True

    async def _hear(self, heard: dict[str, Any]) -> None:
        if heard["type"] == "subscribe":  # the client subscribes again by itself when it reconnects
            self._forget_all()
            self.connected = True
            self._tried.set()
        elif heard["type"] == "message":
            try:
                model, acks = _decode(heard["data"])
            except (msgspec.MsgspecError, UnicodeDecodeError):
                log.warning("a notice cannot be read")
                self._forget_all()
                return
            self._forget(model)
            await self._acknowledge(acks)

    async def _acknowledge(self, acks: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                pipeline = self._redis.pipeline(transaction=False)
                await pipeline.rpush(acks, self._name).expire(acks, ACK_SECONDS).execute()
        except FAILURES as error:
            log.warning("a notice is not acknowledged: %s", str(error) or "no answer in time")
