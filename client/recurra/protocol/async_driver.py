"""Carries out the steps of flows on an event loop."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, closing
from typing import Any

import httpx

from recurra.errors import RecurraError
from recurra.protocol.driver import connection_errors
from recurra.protocol.requests import build_request, form_with_file
from recurra.protocol.retries import Retries, send_with_retries
from recurra.protocol.steps import (
    Attempt,
    CloseStream,
    Compute,
    Flow,
    Give,
    ReadChunk,
    ReadLine,
    Result,
    Send,
    Step,
    Wait,
    advance,
)


class AsyncDriver:
    """Runs flows over one connection pool; may be used by several tasks of its event loop."""

    def __init__(self, http: httpx.AsyncClient, retries: Retries) -> None:
        self.http = http
        self.retries = retries

    async def run(self, flow: Flow[Result]) -> Result:
        """Run a flow to its end; returns its result."""
        async with AsyncExitStack() as streams:
            return await self._run(flow, AsyncStreams(streams))

    async def iterate(self, flow: Flow[None]) -> AsyncGenerator[Any]:
        """Yield the items of a flow as it gives them; what it has open is closed when the iteration ends."""
        async with AsyncExitStack() as stack:
            stack.callback(flow.close)
            streams = AsyncStreams(stack)
            result: Any = None
            error: RecurraError | None = None
            while True:
                try:
                    step = advance(flow, result, error)
                except StopIteration:
                    return
                if isinstance(step, Give):
                    yield step.item
                    result, error = None, None
                else:
                    result, error = await self._outcome(step, streams)

    async def _run(self, flow: Flow[Result], streams: "AsyncStreams") -> Result:
        result: Any = None
        error: RecurraError | None = None
        with closing(flow):
            while True:
                try:
                    step = advance(flow, result, error)
                except StopIteration as end:
                    value: Result = end.value
                    return value
                result, error = await self._outcome(step, streams)

    async def _outcome(self, step: Step, streams: "AsyncStreams") -> tuple[Any, RecurraError | None]:
        """The result of a step, or its error, which is for the flow."""
        try:
            return await self._carry_out(step, streams), None
        except RecurraError as error:
            return None, error

    async def _carry_out(self, step: Step, streams: "AsyncStreams") -> Any:
        match step:
            case Send(call, stream):
                return await self._run(send_with_retries(call, self.retries, stream=stream), streams)
            case Attempt():
                with connection_errors(str(self.http.base_url)):
                    return await self._attempt(step, streams)
            case ReadLine(response):
                with connection_errors(str(self.http.base_url)):
                    return await anext(streams.lines(response), None)
            case ReadChunk(response):
                with connection_errors(str(self.http.base_url)):
                    return await anext(streams.chunks(response), None)
            case CloseStream(response):
                await response.aclose()
            case Wait(seconds):
                await asyncio.sleep(seconds)
            case Compute(function):
                return await asyncio.to_thread(function)
        return None

    async def _attempt(self, attempt: Attempt, streams: "AsyncStreams") -> httpx.Response:
        call = attempt.call
        with form_with_file(call) as content:
            request = build_request(self.http, call, content)
            response = await self.http.send(request, stream=attempt.stream)
        if attempt.stream:
            streams.closing.push_async_callback(response.aclose)
            if response.is_error:
                await response.aread()
        return response


class AsyncStreams:
    """The streamed responses of a flow, each with the one iterator over its lines or its bytes."""

    def __init__(self, closing: AsyncExitStack) -> None:
        self.closing = closing
        self._iterators: dict[httpx.Response, AsyncIterator[Any]] = {}

    def lines(self, response: httpx.Response) -> AsyncIterator[str]:
        """What is left of a response, line by line."""
        return self._iterators.setdefault(response, response.aiter_lines())

    def chunks(self, response: httpx.Response) -> AsyncIterator[bytes]:
        """What is left of a response, as its bytes come."""
        return self._iterators.setdefault(response, response.aiter_bytes())
