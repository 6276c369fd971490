"""Pure ASGI middleware: request ids, access log and metrics, without a cost per body."""

import logging
import re
import secrets
import time

from fastapi import Request
from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import unexpected

log = logging.getLogger("recurra.access")

SANE = re.compile(rb"^[A-Za-z0-9._:-]{1,128}$")
REQUESTS = Counter("recurra_http_requests", "HTTP requests answered", ["method", "route", "status"])
SECONDS = Histogram(
    "recurra_http_request_seconds",
    "Time to the end of the answer",
    ["method", "route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)


class Traced:
    """Gives each request an id, notes its route, status and duration."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection event."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"x-request-id", b"")
        request_id = given if SANE.match(given) else secrets.token_hex(8).encode()
        scope["request_id"] = request_id.decode()
        status, started_answer = 500, False
        started = time.perf_counter()

        async def traced_send(message: Message) -> None:
            nonlocal status, started_answer
            if message["type"] == "http.response.start":
                started_answer = True
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id)]
            await send(message)

        try:
            await self._app(scope, receive, traced_send)
        except Exception:
            log.exception("unexpected", extra={"request_id": scope["request_id"]})
            if started_answer:
                raise
            await unexpected(Request(scope))(scope, receive, traced_send)
        finally:
            self._note(scope, status, time.perf_counter() - started)

    @staticmethod
    def _note(scope: Scope, status: int, seconds: float) -> None:
        # The route's template, not the path: ids must not become label values.
        route = getattr(scope.get("route"), "path", "unknown")
        REQUESTS.labels(scope["method"], route, status).inc()
        SECONDS.labels(scope["method"], route).observe(seconds)
        if log.isEnabledFor(logging.INFO):
            log.info(
                "%s %s %d %.1f ms", scope["method"], scope["path"], status, 1000 * seconds,
                extra={"request_id": scope["request_id"]},
            )  # fmt: skip
