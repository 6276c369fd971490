"""Where the predictors' replies to one API process arrive."""

import asyncio
import logging
import secrets
from collections.abc import Callable
from typing import Any

import msgspec

from app.lanes import wire
from app.lanes.links import Pipe
from app.lanes.wire import Reply

logger = logging.getLogger(__name__)

AT_ONCE = 256  # messages
PAUSE_SECONDS = 0.1  # after a failure


class Mailbox:
    """Waits in the server for replies and hands each to `deliver`, until it is closed."""

    def __init__(self, url: str, deliver: Callable[[Reply], None]) -> None:
        self.key = wire.reply_key(secrets.token_hex(8))
        self._pipe, self._deliver = Pipe(url), deliver
        self._closed = False
        self.broken = False  # the connection was lost, and with it perhaps replies or what waits in lanes

    def listen(self) -> None:
        """Ask for what comes next."""
        if not self._closed:
            pop = ("BLMPOP", wire.BLOCK_SECONDS, 1, self.key, "LEFT", "COUNT", AT_ONCE)
            self._pipe.send(pop, then=self._receive, within=wire.BLOCK_SECONDS + 1)

    def _receive(self, answers: list[Any], error: Exception | None) -> None:
        if error is not None:
            self.broken = True
            if not self._closed:
                logger.warning("lane replies cannot be read: %s", error)
                asyncio.get_running_loop().call_later(PAUSE_SECONDS, self.listen)
            return
        self.listen()
        for blob in answers[0][1] if answers[0] else ():
            try:
                replies = wire.decode_replies(blob)
            except msgspec.MsgspecError:
                logger.exception("dropped replies that cannot be read")
                continue
            for reply in replies:
                self._deliver(reply)

    async def close(self) -> None:
        """Stop listening."""
        self._closed = True
        await self._pipe.close()
