"""Server-sent events: responses that begin before their content is complete."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import Request
from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from app.api.raw import Headers, send_stream

# The last header keeps proxies from buffering: events must arrive when they are sent.
SSE_HEADERS: Headers = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


def event(data: bytes, name: bytes | None = None) -> bytes:
    """One event as bytes; `data` must not have line breaks."""
    head = b"" if name is None else b"event: " + name + b"\n"
    return head + b"data: " + data + b"\n\n"


async def after_first_chunk(chunks: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """Wait for the first chunk and return all chunks: an error before it still gets a response of its own."""
    try:
        first = await anext(chunks)
    except BaseException:
        await chunks.aclose()
        raise
    return _chain(first, chunks)


async def _chain(first: bytes, chunks: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    async with aclosing(chunks):
        yield first
        async for chunk in chunks:
            yield chunk


class EventStream(Response):
    """Server-sent events in answer to a request whose body is still being read.

    Starlette's streams would read the rest of it themselves, to notice when the client leaves.
    """

    def __init__(self, events: AsyncGenerator[bytes]) -> None:
        super().__init__()
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send each event when it is ready; an error becomes the last one."""
        del receive
        await send_stream(Request(scope), send, self._events, [*SSE_HEADERS])
