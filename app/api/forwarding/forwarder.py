"""Sends large requests on to another process, byte by byte as they come, and its answers back.

To parse, check and encode megabytes keeps Python's interpreter busy, in whatever thread: a process of its own
is what keeps the event loop free for everybody else's requests.
"""

import asyncio
import logging
from asyncio import FIRST_COMPLETED
from collections.abc import AsyncIterator, Callable

import httpcore
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.forwarding.process import RequestServer
from app.api.middleware import assign_request_id, client_address
from app.api.problems import error_response
from app.errors import AppError, DeadlinePassed, Unavailable

log = logging.getLogger(__name__)

LARGE_BYTES = 1 << 19  # of a body; less is parsed in a few milliseconds, and is most recordings
METHODS = frozenset({"POST", "PUT", "PATCH"})
IDLE_SECONDS = 30.0  # that a connection to the other process is kept: less than the server there keeps it
CHECK_SECONDS = 0.5  # after which a request that waits for an answer looks after the process
DEADLINE_GRACE_SECONDS = 0.15  # in which the other process says so itself
PER_CONNECTION = frozenset(  # headers of one connection (RFC 9110, 7.6.1), and those that this server sets
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade", b"expect"}
)
OF_THE_SENDER = frozenset({b"x-forwarded-for", b"x-forwarded-proto", b"x-request-id"})
OF_THE_ANSWER = PER_CONNECTION | {b"transfer-encoding", b"date", b"server"}


class ClientGone(Exception):
    """The client disconnected before its answer was complete."""


class LargeRequestForwarder:
    """An application in front of another: it forwards large requests and leaves all others to that one."""

    def __init__(self, app: ASGIApp, server: RequestServer, seconds: Callable[[Scope], float | None]) -> None:
        """`seconds` is what a request may take once it has come; None where it has no deadline of its own."""
        self._app, self._server, self._seconds = app, server, seconds
        self._pool: httpcore.AsyncConnectionPool | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection event."""
        if scope["type"] == "http" and is_large(scope):
            await self._handle(scope, receive, send)
            return
        await self._app(scope, receive, self._stopping(send) if scope["type"] == "lifespan" else send)

    def _stopping(self, send: Send) -> Send:
        """Sends the events of a lifespan; the other process is stopped before its end is complete."""

        async def send_event(event: Message) -> None:
            if event["type"].startswith("lifespan.shutdown"):
                await self._close()
            await send(event)

        return send_event

    async def _close(self) -> None:
        if self._pool is not None:
            await self._pool.aclose()
        await self._server.stop()

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request; cancelled when its client disconnects."""
        request_id = assign_request_id(scope, dict(scope["headers"]))
        exchange = _Exchange(scope, receive, send, self._seconds(scope))
        try:
            await exchange.run(self._connections(), request_id, self._server)
        except ClientGone:
            return
        except (AppError, OSError) as error:
            if exchange.begun:  # uvicorn closes the connection of an answer that isn't complete
                raise
            problem = error if isinstance(error, AppError) else Unavailable("No process for large requests.")
            response = error_response(Request(scope), problem)
            response.headers["x-request-id"] = request_id.decode()
            await response(scope, receive, send)

    def _connections(self) -> httpcore.AsyncConnectionPool:
        path = self._server.ensure_running()
        if self._pool is None:
            # The other process bounds how much it takes on, and says so: here none waits for a connection.
            self._pool = httpcore.AsyncConnectionPool(
                uds=path, max_connections=None, keepalive_expiry=IDLE_SECONDS
            )
        return self._pool


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, seconds: float | None) -> None:
        self._scope, self._receive, self._send, self._seconds = scope, receive, send, seconds
        self._limit = asyncio.timeout(None)
        self._sent = asyncio.Event()  # all of the body
        self.begun = False  # the answer

    async def run(
        self, connections: httpcore.AsyncConnectionPool, request_id: bytes, server: RequestServer
    ) -> None:
        """Raises `ClientGone`, `DeadlinePassed`, or `Unavailable` where the other process is lost."""
        forward = asyncio.ensure_future(self._forward(connections, request_id))
        watch = asyncio.ensure_future(self._watch())
        try:
            tasks = (forward, watch)
            while not (await asyncio.wait(tasks, timeout=CHECK_SECONDS, return_when=FIRST_COMPLETED))[0]:
                server.ensure_running()  # one that died before it took the connection is replaced
            if not forward.done():
                raise ClientGone
            forward.result()
        finally:
            for task in (forward, watch):
                task.cancel()
            await asyncio.gather(forward, watch, return_exceptions=True)

    async def _forward(self, connections: httpcore.AsyncConnectionPool, request_id: bytes) -> None:
        target = self._scope["raw_path"]
        if query := self._scope["query_string"]:
            target += b"?" + query
        url = httpcore.URL(scheme=b"http", host=b"large-requests", port=None, target=target)
        headers = forwarded_headers(self._scope, request_id)
        try:
            async with (
                self._limit,
                connections.stream(
                    self._scope["method"], url, headers=headers, content=self._body()
                ) as response,
            ):
                await self._answer(response)
        except TimeoutError:
            if not self._limit.expired():
                raise
            raise DeadlinePassed from None
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
            log.warning("the process for large requests is lost: %r", error)
            raise Unavailable("The process for large requests was lost; send the request again.") from error

    async def _body(self) -> AsyncIterator[bytes]:
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            if body := message.get("body"):
                yield body
            if not message.get("more_body"):
                break
        if self._seconds is not None:
            now = asyncio.get_running_loop().time()
            self._limit.reschedule(now + self._seconds + DEADLINE_GRACE_SECONDS)
        self._sent.set()

    async def _watch(self) -> None:
        """Ends when the client disconnects."""
        await self._sent.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _answer(self, response: httpcore.Response) -> None:
        headers = [(name.lower(), value) for name, value in response.headers]
        kept = [header for header in headers if header[0] not in OF_THE_ANSWER]
        self.begun = True
        self._limit.reschedule(None)  # a stream may take longer
        await self._send({"type": "http.response.start", "status": response.status, "headers": kept})
        async for chunk in response.aiter_stream():
            await self._send({"type": "http.response.body", "body": chunk, "more_body": True})
        await self._send({"type": "http.response.body", "body": b""})


def is_large(scope: Scope) -> bool:
    """Whether a request has a large body, or one whose size is not announced."""
    if scope["method"] not in METHODS:
        return False
    for name, value in scope["headers"]:
        if name == b"content-length":
            return not value.isdigit() or len(value) > 18 or int(value) > LARGE_BYTES
        if name == b"transfer-encoding":
            return True
    return False


def forwarded_headers(scope: Scope, request_id: bytes) -> list[tuple[bytes, bytes]]:
    """The headers of a request as the other process gets them, with the client's address and the id."""
    dropped = PER_CONNECTION | OF_THE_SENDER
    headers = [header for header in scope["headers"] if header[0] not in dropped]
    address = client_address(scope).encode()
    return [*headers, (b"x-forwarded-for", address), (b"x-request-id", request_id)]
