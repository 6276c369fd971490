"""The blocking and the asynchronous client behind one call, so that a test is of both."""

import asyncio
from collections.abc import Callable
from inspect import isasyncgen, isawaitable, isgenerator
from typing import Any

import httpx

from recurra import AsyncClient, Client

Handler = Callable[[httpx.Request], httpx.Response]
Use = Callable[[Any], Any]
Caller = Callable[..., Any]  # of a handler and of what to do with a client


def blocking(handler: Handler, use: Use, **settings: Any) -> Any:
    """What `use` of a client returns; what it yields as a list."""
    with Client("http://server", transport=httpx.MockTransport(handler), **settings) as client:
        result = use(client)
        return list(result) if isgenerator(result) else result


def on_event_loop(handler: Handler, use: Use, **settings: Any) -> Any:
    """The same of an asynchronous client."""

    async def run() -> Any:
        async with AsyncClient("http://server", transport=httpx.MockTransport(handler), **settings) as client:
            result = use(client)
            if isasyncgen(result):
                return [item async for item in result]
            return await result if isawaitable(result) else result

    return asyncio.run(run())


CALLERS = {"blocking": blocking, "asynchronous": on_event_loop}
