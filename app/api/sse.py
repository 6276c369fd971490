"""Server-sent events: answers that begin before they are whole."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from app.api.raw import Headers

# A proxy that collects the events before it passes them on would take away what they are for.
HEADERS: Headers = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


def event(data: bytes, name: bytes | None = None) -> bytes:
    """One event; its data has no line breaks."""
    head = b"" if name is None else b"event: " + name + b"\n"
    return head + b"data: " + data + b"\n\n"


async def opened(chunks: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """The same once its first chunk is there: what goes wrong before can still be an answer of its own."""
    try:
        first = await anext(chunks)
    except BaseException:
        await chunks.aclose()
        raise
    return _whole(first, chunks)


async def _whole(first: bytes, chunks: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    async with aclosing(chunks):
        yield first
        async for chunk in chunks:
            yield chunk
