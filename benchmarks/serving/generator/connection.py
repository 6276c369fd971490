"""The client's side of one HTTP/1.1 connection, as cheap as Python makes it."""

import asyncio
from collections.abc import Callable
from typing import cast

BLANK = b"\r\n\r\n"
LENGTH = b"content-length:"

Reply = tuple[int, bytes]  # status and body; status 0 when the connection ended instead


class Connection(asyncio.Protocol):
    """One request at a time; `answered(connection, reply)` is called when its answer is whole."""

    def __init__(self, answered: Callable[["Connection", Reply], None]) -> None:
        self.answered = answered
        self.index = -1  # which body is on its way
        self.sent = 0.0  # when it was sent, or should have been
        self.busy = False
        self.alive = False
        self._buffer = b""
        self._transport: asyncio.WriteTransport  # from `connection_made` on

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready to send."""
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's is no subclass
        self.alive = True

    def send(self, request: bytes, index: int, when: float) -> None:
        """Start a request."""
        self.index, self.sent, self.busy = index, when, True
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Collect until the answer is whole."""
        if self._buffer:
            data = self._buffer + data
        end = data.find(BLANK)
        if end < 0:
            self._buffer = data
            return
        head = data[:end].lower()
        at = head.find(LENGTH)
        if at < 0:
            self.abort()
            return
        stop = head.find(b"\r", at)
        length = int(head[at + len(LENGTH) : stop if stop > 0 else end])
        if len(data) < end + len(BLANK) + length:
            self._buffer = data
            return
        self._buffer, self.busy = b"", False
        self.answered(self, (int(data[9:12]), data[end + len(BLANK) :]))

    def connection_lost(self, _: Exception | None) -> None:
        """A request on its way fails."""
        self.alive, self._buffer = False, b""
        if self.busy:
            self.busy = False
            self.answered(self, (0, b""))

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()
