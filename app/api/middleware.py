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

from app.api.problems import unexpected
from app.services.serving.metrics import Histogram

log = logging.getLogger("recurra.access")

SANE = re.compile(rb"^[A-Za-z0-9._:-]{1,128}$")
_ids = random.Random()  # noqa: S311 - an id is no secret, and the system's source costs a system call
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Traffic(Collector):
    """Answers by method, route and status, and how long they took, in plain numbers until somebody asks."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, int], int] = {}
        self._seconds: dict[tuple[str, str], Histogram] = {}

    def note(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answer by its route's template: ids must not become label values."""
        if method not in METHODS:
            method = "other"  # clients may send anything
        key = method, route, status
        self._counts[key] = self._counts.get(key, 0) + 1
        histogram = self._seconds.get((method, route))
        if histogram is None:
            histogram = self._seconds[method, route] = Histogram(BOUNDS)
        histogram.observe(seconds)

    def collect(self) -> Iterator[Metric]:
        """Everything in Prometheus' form."""
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


_traffic = Traffic()
REGISTRY.register(_traffic)
note = _traffic.note


def identified(scope: Scope, headers: dict[bytes, bytes]) -> bytes:
    """The request's id, the caller's if it is sane; it is noted in the scope."""
    given = headers.get(b"x-request-id", b"")
    request_id = given if SANE.match(given) else b"%016x" % _ids.getrandbits(64)
    scope["request_id"] = request_id.decode()
    return request_id


class Traced:
    """Gives each request an id, notes its route, status and duration."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection event."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = identified(scope, dict(scope["headers"]))
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
        note(scope["method"], getattr(scope.get("route"), "path", "unknown"), status, seconds)
        if log.isEnabledFor(logging.INFO):
            log.info(
                "%s %s %d %.1f ms", scope["method"], scope["path"], status, 1000 * seconds,
                extra={"request_id": scope["request_id"]},
            )  # fmt: skip
