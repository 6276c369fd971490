"""Pure ASGI middleware: request ids, access log and metrics, without a cost per body."""

import logging
import random
import re
import time
from collections.abc import Iterator

from fastapi import Request
from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.middleware.body_limit import MAX_BODY_SIZE_SCOPE_KEY
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.codings import UnsupportedCoding, decoded
from app.api.problems import error_response, internal_error
from app.errors import TooLarge
from app.services.serving.metrics import Histogram

log = logging.getLogger("recurra.access")

SAFE_REQUEST_ID = re.compile(rb"^[A-Za-z0-9._:-]{1,128}$")
_random = random.Random()  # noqa: S311 - an id is not a secret, and the system's source costs a system call
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
ANSWER_STARTS = ("http.response.start", "websocket.accept", "websocket.http.response.start")
BODY_HEADERS = (b"content-encoding", b"content-length")  # they describe a body before it is decoded
LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class HttpMetrics(Collector):
    """Prometheus collector of requests by method, route and status, and of their durations."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, int], int] = {}
        self._seconds: dict[tuple[str, str], Histogram] = {}

    def record(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a response; `route` is the path's template, as ids must not become label values."""
        if method not in METHODS:
            method = "other"  # clients may send any word
        key = method, route, status
        self._counts[key] = self._counts.get(key, 0) + 1
        histogram = self._seconds.get((method, route))
        if histogram is None:
            histogram = self._seconds[method, route] = Histogram(LATENCY_BUCKETS)
        histogram.observe(seconds)

    def collect(self) -> Iterator[Metric]:
        """Yield the counts and the histograms of durations."""
        requests = CounterMetricFamily(
            "recurra_http_requests", "HTTP requests answered", labels=["method", "route", "status"]
        )
        for (method, route, status), count in list(self._counts.items()):
            requests.add_metric([method, route, str(status)], count)
        yield requests
        seconds = HistogramMetricFamily(
            "recurra_http_request_seconds", "Time to the end of the answer", labels=["method", "route"]
        )
        for labels, histogram in list(self._seconds.items()):
            seconds.add_metric(labels, histogram.cumulative(), histogram.total)
        yield seconds


_metrics = HttpMetrics()
REGISTRY.register(_metrics)
record_request = _metrics.record


def assign_request_id(scope: Scope, headers: dict[bytes, bytes]) -> bytes:
    """Put the request's id into the scope and return it: the caller's, if it is safe to log, or a new one."""
    header = headers.get(b"x-request-id", b"")
    request_id = header if SAFE_REQUEST_ID.match(header) else b"%016x" % _random.getrandbits(64)
    scope["request_id"] = request_id.decode()
    return request_id


class RequestIdMiddleware:
    """Gives each request an id, logs it, counts it, and answers unexpected errors with status 500.

    The application behind it sees bodies without their content coding, and HEAD as GET (RFC 9110, 9.3.2).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection event."""
        headers = dict(scope.get("headers", ()))
        if scope["type"] in ("http", "websocket"):
            send = _IdentifiedSender(send, assign_request_id(scope, headers))
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        plain = _plain_scope(scope)
        response = _ResponseSender(send, plain, headers_only=scope["method"] == "HEAD")
        started = time.perf_counter()
        try:
            await self._app(plain, decoded(receive, headers), response)
        except UnsupportedCoding as error:
            await error_response(Request(plain), error)(plain, receive, response)
        except Exception:
            if not response.complete:
                log.exception("unexpected", extra={"request_id": scope["request_id"]})
                if response.begun:
                    raise
                await internal_error(Request(plain))(plain, receive, response)
        finally:
            self._record(scope, plain, response.status, time.perf_counter() - started)

    @staticmethod
    def _record(scope: Scope, plain: Scope, status: int, seconds: float) -> None:
        record_request(scope["method"], getattr(plain.get("route"), "path", "unknown"), status, seconds)
        log_request(scope, status, seconds)


def log_request(scope: Scope, status: int, seconds: float) -> None:
    """Write a line about a request, or a handshake, and who sent it."""
    if log.isEnabledFor(logging.INFO):
        log.info(
            "%s %s %s %d %.1f ms", client_address(scope), scope.get("method", "GET"), scope["path"], status,
            1000 * seconds, extra={"request_id": scope["request_id"]},
        )  # fmt: skip


def client_address(scope: Scope) -> str:
    """The address that a connection comes from; `-` over a Unix socket."""
    client = scope.get("client")
    return client[0] if client else "-"


def _plain_scope(scope: Scope) -> Scope:
    """The scope of the same request with GET for HEAD, and without what describes a coded body."""
    if scope["method"] == "HEAD":
        scope = {**scope, "method": "GET"}
    if any(name == b"content-encoding" for name, _ in scope["headers"]):
        headers = [header for header in scope["headers"] if header[0] not in BODY_HEADERS]
        scope = {**scope, "headers": headers}
    return scope


def _is_plain_refusal(head: Message) -> bool:
    """Whether it is the framework's own refusal of a body that is announced to be too large."""
    kinds = [value for name, value in head.get("headers", ()) if name == b"content-type"]
    return head["status"] == TooLarge.status and bool(kinds) and kinds[0].startswith(b"text/plain")


class _IdentifiedSender:
    """Sends messages, with the request's id where they begin the answer to a request or a handshake."""

    def __init__(self, send: Send, request_id: bytes) -> None:
        self._send, self._request_id = send, request_id

    async def __call__(self, message: Message) -> None:
        if message["type"] in ANSWER_STARTS:
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", self._request_id)]
        await self._send(message)


class _ResponseSender:
    """Sends the messages of a response, or only its head, and remembers how far it is."""

    def __init__(self, send: Send, scope: Scope, *, headers_only: bool) -> None:
        self._send, self._scope, self._headers_only = send, scope, headers_only
        self.status = 500
        self.begun = self.complete = False
        self._replaced = False  # by a problem, of which the application knows nothing

    async def __call__(self, message: Message) -> None:
        if self._replaced:
            return
        if message["type"] == "http.response.start" and _is_plain_refusal(message):
            error = TooLarge(f"The body may have {self._scope.get(MAX_BODY_SIZE_SCOPE_KEY, 0)} bytes here")
            response = error_response(Request(self._scope), error)
            head = {"type": "http.response.start", "status": error.status, "headers": response.raw_headers}
            await self._forward(head)
            await self._forward({"type": "http.response.body", "body": response.body})
            self._replaced = True
            return
        await self._forward(message)

    async def _forward(self, message: Message) -> None:
        if self.complete:
            raise OSError("the response is complete")  # which ends a stream, as a client that is gone does
        if message["type"] == "http.response.start":
            self.begun = True
            self.status = message["status"]
        elif self._headers_only:
            self.complete = True
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)
