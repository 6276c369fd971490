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
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import internal_error
from app.services.serving.metrics import Histogram

log = logging.getLogger("recurra.access")

SAFE_REQUEST_ID = re.compile(rb"^[A-Za-z0-9._:-]{1,128}$")
_random = random.Random()  # noqa: S311 - an id is not a secret, and the system's source costs a system call
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
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
    """Gives each request an id, logs it, counts it, and answers unexpected errors with status 500."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection event."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = assign_request_id(scope, dict(scope["headers"]))
        status, responding = 500, False
        started = time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status, responding
            if message["type"] == "http.response.start":
                responding = True
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id)]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            log.exception("unexpected", extra={"request_id": scope["request_id"]})
            if responding:
                raise
            await internal_error(Request(scope))(scope, receive, send_with_id)
        finally:
            self._record(scope, status, time.perf_counter() - started)

    @staticmethod
    def _record(scope: Scope, status: int, seconds: float) -> None:
        record_request(scope["method"], getattr(scope.get("route"), "path", "unknown"), status, seconds)
        if log.isEnabledFor(logging.INFO):
            log.info(
                "%s %s %d %.1f ms", scope["method"], scope["path"], status, 1000 * seconds,
                extra={"request_id": scope["request_id"]},
            )  # fmt: skip
