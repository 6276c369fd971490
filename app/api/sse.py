"""Server-sent events: responses that begin before their content is complete."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from app.api.raw import Headers

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
