"""Sends large requests on to another process, byte by byte as they come, and its answers back.

To parse, check and encode megabytes keeps Python's interpreter busy, in whatever thread: a process of its own
is what keeps the event loop free for everybody else's requests.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.forwarding.handover import FORWARD
from app.api.forwarding.process import RequestServer
from app.api.middleware import assign_request_id
from app.api.problems import error_response
from app.errors import AppError, Unavailable

LARGE_BYTES = 1 << 19  # of a body; less is parsed in a few milliseconds, and is most recordings
METHODS = frozenset({"POST", "PUT", "PATCH"})
EXCHANGE = "app.api.forwarding.exchange"  # the module, which is loaded for the first large request


class LargeRequestForwarder:
    """An application in front of another: it forwards large requests and leaves all others to that one."""

    def __init__(self, app: ASGIApp, server: RequestServer, seconds: Callable[[Scope], float | None]) -> None:
        """`seconds` is what a request may take once it has come; None where it has no deadline of its own."""
        self._app, self._server, self._seconds = app, server, seconds
        self._pool: Any = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection event."""
        if scope["type"] == "http" and is_large(scope):
            await self._handle(scope, receive, send)
            return
        scope[FORWARD] = self._handle
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
        exchanges = import_module(EXCHANGE)
        exchange = exchanges.Exchange(scope, receive, send, self._seconds(scope))
        try:
            path = self._server.ensure_running()
            if self._pool is None:
                self._pool = exchanges.open_pool(path)
            await exchange.run(self._pool, request_id, self._server)
        except (AppError, OSError) as error:
            if exchange.begun:  # uvicorn closes the connection of an answer that isn't complete
                raise
            problem = error if isinstance(error, AppError) else Unavailable("No process for large requests.")
            response = error_response(Request(scope), problem)
            response.headers["x-request-id"] = request_id.decode()
            await response(scope, receive, send)


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
