"""Carries out the steps of flows with blocking calls."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import httpx

from recurra.errors import ConnectionLost, RecurraError, ServerNotFound
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


class Driver:
    """Runs flows over one connection pool; may be used by several threads."""

    def __init__(self, http: httpx.Client, retries: Retries) -> None:
        self.http = http
        self.retries = retries

    def run(self, flow: Flow[Result]) -> Result:
        """Run a flow to its end; returns its result."""
        with ExitStack() as streams:
            return self._run(flow, Streams(streams))

    def iterate(self, flow: Flow[None]) -> Iterator[Any]:
        """Yield the items of a flow as it gives them; what it has open is closed when the iteration ends."""
        with ExitStack() as stack, closing(flow):
            streams = Streams(stack)
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
                    result, error = self._outcome(step, streams)

    def _run(self, flow: Flow[Result], streams: "Streams") -> Result:
        result: Any = None
        error: RecurraError | None = None
        with closing(flow):
            while True:
                try:
                    step = advance(flow, result, error)
                except StopIteration as end:
                    value: Result = end.value
                    return value
                result, error = self._outcome(step, streams)

    def _outcome(self, step: Step, streams: "Streams") -> tuple[Any, RecurraError | None]:
        """The result of a step, or its error, which is for the flow."""
        try:
            return self._carry_out(step, streams), None
        except RecurraError as error:
            return None, error

    def _carry_out(self, step: Step, streams: "Streams") -> Any:
        match step:
            case Send(call, stream):
                return self._run(send_with_retries(call, self.retries, stream=stream), streams)
            case Attempt():
                with connection_errors(str(self.http.base_url)):
                    return self._attempt(step, streams)
            case ReadLine(response):
                with connection_errors(str(self.http.base_url)):
                    return next(streams.lines(response), None)
            case ReadChunk(response):
                with connection_errors(str(self.http.base_url)):
                    return next(streams.chunks(response), None)
            case CloseStream(response):
                response.close()
            case Wait(seconds):
                time.sleep(seconds)
            case Compute(function):
                return function()
        return None

    def _attempt(self, attempt: Attempt, streams: "Streams") -> httpx.Response:
        call = attempt.call
        with form_with_file(call) as content:
            request = build_request(self.http, call, content)
            response = self.http.send(request, stream=attempt.stream)
        if attempt.stream:
            streams.closing.callback(response.close)
            if response.is_error:
                response.read()
        return response


class Streams:
    """The streamed responses of a flow, each with the one iterator over its lines or its bytes."""

    def __init__(self, closing: ExitStack) -> None:
        self.closing = closing
        self._iterators: dict[httpx.Response, Iterator[Any]] = {}

    def lines(self, response: httpx.Response) -> Iterator[str]:
        """What is left of a response, line by line."""
        return self._iterators.setdefault(response, response.iter_lines())

    def chunks(self, response: httpx.Response) -> Iterator[bytes]:
        """What is left of a response, as its bytes come."""
        return self._iterators.setdefault(response, response.iter_bytes())


@contextmanager
def connection_errors(url: str) -> Iterator[None]:
    """Errors of httpx become those of this package."""
    url = url.rstrip("/")
    try:
        yield
    except httpx.ConnectError as error:
        text = f"There is no server at {url}; start one with `recurra up`, or set RECURRA_URL"
        raise ServerNotFound(text) from error
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        raise ConnectionLost(f"{url}: {str(error) or type(error).__name__}") from error
