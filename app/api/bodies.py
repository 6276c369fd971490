"""Bodies of requests, read whole into memory: each within a limit, and all together within another."""

import asyncio
from collections.abc import Mapping

from starlette.types import Receive

from app.errors import QueueFull, TooLarge
from app.memory import return_free_memory
from app.thread_pools import CLEANUPS, COMPUTING

MAX_WHOLE_BODIES = 8  # of the largest size, that are held at a time
MAX_INLINE_JOIN_BYTES = 1 << 20  # of a body that is put together on the event loop
MIN_RETURNED_BYTES = 4 << 20  # held together, after which freed memory is returned
RETURN_SECONDS = 1.0  # after the last of them was released


class BodyMemory:
    """How many bytes of bodies are held; those that come in one piece are too small to count."""

    def __init__(self) -> None:
        self.held = 0
        self._most = 0  # since memory was last returned
        self._returning: asyncio.Task[None] | None = None

    async def read(self, receive: Receive, headers: Mapping[bytes, bytes], limit: int) -> tuple[bytes, int]:
        """A body of at most `limit` bytes, and how many of them to `release` later.

        Raises `TooLarge`, `QueueFull` where too much is held already, and what `receive` raises.
        """
        announced = headers.get(b"content-length", b"")
        if announced.isdigit() and int(announced) > limit:  # nothing of it is held in memory
            raise _too_large(limit)
        message = await receive()
        body: bytes = message.get("body", b"")
        if not message.get("more_body") and len(body) <= limit:
            return body, 0
        parts, size = [body], 0
        try:
            while True:
                size += len(parts[-1])
                self.held += len(parts[-1])
                self._most = max(self._most, self.held)
                self._check(size, limit)
                if not message.get("more_body"):
                    return await _join(parts, size), size
                message = await receive()
                parts.append(message.get("body", b""))
        except BaseException:
            self.release(size)
            raise

    def _check(self, size: int, limit: int) -> None:
        if size > limit:
            raise _too_large(limit)
        if self.held > MAX_WHOLE_BODIES * limit:
            raise QueueFull("Too many large requests are under way; try again shortly.")

    def release(self, size: int) -> None:
        """Forget so many bytes; what large requests took goes back to the system once there are none."""
        self.held -= size
        if size and not self.held and self._most >= MIN_RETURNED_BYTES:
            asyncio.get_running_loop().call_later(RETURN_SECONDS, self._return_memory)

    def _return_memory(self) -> None:
        if not self.held and self._most:
            self._most = 0
            self._returning = asyncio.create_task(CLEANUPS.run(return_free_memory))


async def _join(parts: list[bytes], size: int) -> bytes:
    return b"".join(parts) if size <= MAX_INLINE_JOIN_BYTES else await COMPUTING.run(b"".join, parts)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"A prediction request may have {limit} bytes")
