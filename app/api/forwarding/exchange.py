"""One large request on its way to another process, and its answer on the way back.

Loaded for the first one: the client of HTTP takes some megabytes, which an API without large requests saves.
"""

import asyncio
import logging
from asyncio import FIRST_COMPLETED
from collections.abc import AsyncIterator

import httpcore
from starlette.types import Receive, Scope, Send

from app.api.forwarding.process import RequestServer
from app.api.middleware import client_address
from app.errors import DeadlinePassed, Unavailable

log = logging.getLogger(__name__)

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


def open_pool(path: str) -> httpcore.AsyncConnectionPool:
    """Connections to the process that listens on the Unix socket of this path.

    It bounds how much it takes on, and says so: here none waits for a connection.
    """
    return httpcore.AsyncConnectionPool(uds=path, max_connections=None, keepalive_expiry=IDLE_SECONDS)


class Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, seconds: float | None) -> None:
        self._scope, self._receive, self._send, self._seconds = scope, receive, send, seconds
        self._limit = asyncio.timeout(None)
        self._sent = asyncio.Event()  # all of the body
        self.begun = False  # the answer

    async def run(
        self, connections: httpcore.AsyncConnectionPool, request_id: bytes, server: RequestServer
    ) -> None:
        """Return when the client has its answer, or has disconnected.

        Raises `DeadlinePassed`, or `Unavailable` where the other process is lost.
        """
        forward = asyncio.ensure_future(self._forward(connections, request_id))
        watch = asyncio.ensure_future(self._watch())
        try:
            tasks = (forward, watch)
            while not (await asyncio.wait(tasks, timeout=CHECK_SECONDS, return_when=FIRST_COMPLETED))[0]:
                server.ensure_running()  # one that died before it took the connection is replaced
            if forward.done():
                forward.result()
        except ClientGone:
            log.debug("a client left before the answer to its large request")
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


def forwarded_headers(scope: Scope, request_id: bytes) -> list[tuple[bytes, bytes]]:
    """The headers of a request as the other process gets them, with the client's address and the id."""
    dropped = PER_CONNECTION | OF_THE_SENDER
    headers = [header for header in scope["headers"] if header[0] not in dropped]
    address = client_address(scope).encode()
    return [*headers, (b"x-forwarded-for", address), (b"x-request-id", request_id)]
