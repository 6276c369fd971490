"""Where the predictors' replies to one API process arrive."""

import asyncio
import logging
import secrets
from collections.abc import Callable
from typing import Any

import msgspec

from app.infrastructure.outages import OutageLog
from app.lanes import wire
from app.lanes.redis_connections import AsyncRedisConnection
from app.lanes.wire import Reply

logger = logging.getLogger(__name__)

MAX_MESSAGES_PER_POP = 256
RETRY_SECONDS = 0.1  # after a failure


class ReplyReceiver:
    """Pops the replies to one API process and hands each to `deliver`, until it is closed."""

    def __init__(self, url: str, deliver: Callable[[Reply], None]) -> None:
        self.key = wire.reply_key(secrets.token_hex(8))
        self._connection, self._deliver = AsyncRedisConnection(url), deliver
        self._closed = False
        self._outage = OutageLog(logger, "lane replies cannot be read")
        self.interrupted = False  # the connection was lost, and perhaps replies or waiting requests with it

    def listen(self) -> None:
        """Start a blocking pop; each one that ends starts the next."""
        if not self._closed:
            pop = ("BLMPOP", wire.BLOCKING_POP_SECONDS, 1, self.key, "LEFT", "COUNT", MAX_MESSAGES_PER_POP)
            self._connection.send(pop, then=self._receive, within=wire.BLOCKING_POP_SECONDS + 1)

    def _receive(self, results: list[Any], error: Exception | None) -> None:
        if error is not None:
            self.interrupted = True
            if not self._closed:
                self._outage.failed(error)
                asyncio.get_running_loop().call_later(RETRY_SECONDS, self.listen)
            return
        self._outage.worked()
        self.listen()
        for blob in results[0][1] if results[0] else ():
            try:
                replies = wire.decode_replies(blob)
            except msgspec.MsgspecError:
                logger.exception("dropped replies that cannot be decoded")
                continue
            for reply in replies:
                self._deliver(reply)

    async def close(self) -> None:
        """Stop listening and disconnect."""
        self._closed = True
        await self._connection.close()
