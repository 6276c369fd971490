"""Routes that bypass FastAPI: plain ASGI for the requests whose latency is counted in microseconds.

Dependency injection, nested routers and response classes cost more than a small network's forward pass. A raw
route is matched before FastAPI sees the request, and documented by an OpenAPI operation of its own.
"""

import asyncio
import logging
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request
from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send

from app.api.access.declared import Access, access_of
from app.api.access.identity import AccessControl, caller_of
from app.api.bodies import BodyMemory
from app.api.codings import decoded
from app.api.deps import AppState, state_of
from app.api.forwarding.handover import FORWARD, HandOver, read_request
from app.api.middleware import assign_request_id, log_request, record_request
from app.api.openapi import add_security, complete_document
from app.api.problems import as_app_error, error_event, error_response, internal_error
from app.errors import AppError, DeadlinePassed, Invalid, Problem
from app.lanes import Answer
from app.typedefs import Json
from app.validation.origins import SitePolicy

log = logging.getLogger(__name__)

Headers = list[tuple[bytes, bytes]]

DISCONNECT_CHECK_SECONDS = 0.05  # a request that takes longer is cancelled when its client disconnects
DEADLINE_GRACE_SECONDS = 0.1  # in which what waits for a predictor or a thread says so itself
DEFAULT_DEADLINE_SECONDS, MAX_DEADLINE_SECONDS = 30.0, 300.0
HANDED_OVER = 0  # in place of the status of a request that another process answers
TIMEOUT_HEADER = b"x-request-timeout"
JSON_TYPE = (b"content-type", b"application/json")

# OpenAPI parameters that several routes have
DEADLINE_PARAMETER: Json = {
    "name": "X-Request-Timeout",
    "in": "header",
    "schema": {"type": "number", "maximum": MAX_DEADLINE_SECONDS},
}
JSON_LENGTH_PARAMETER: Json = {
    "name": "Inference-Header-Content-Length",
    "in": "header",
    "schema": {"type": "integer"},
}


@dataclass(slots=True)
class Call:
    """One request: parameters of its path, raw query, headers (names in lower case), and whole body."""

    shared: AppState
    parameters: dict[str, str]
    query: bytes
    headers: dict[bytes, bytes]
    body: bytes
    started: float  # when the whole body had come, on the clock of time.perf_counter
    may_hand_over: bool = False  # to the process for large requests
    limit: asyncio.Timeout = field(default_factory=lambda: asyncio.timeout(None))  # around the endpoint

    def hand_over(self) -> None:
        """Leave a request that is much work to the process for large ones, if this is another one."""
        if self.may_hand_over:
            raise HandOver

    def left(self, seconds: float) -> float:
        """What is left of some seconds since the request had come."""
        return max(seconds - (time.perf_counter() - self.started), 0.0)

    def deadline(self) -> float:
        """Seconds the request may take once it has come, from its header `X-Request-Timeout`."""
        return deadline_seconds(self.headers.get(TIMEOUT_HEADER))

    def allow(self, seconds: float) -> None:
        """Let the request take so many seconds since it had come, and no more."""
        self.limit.reschedule(asyncio.get_running_loop().time() + self.left(seconds) + DEADLINE_GRACE_SECONDS)

    def json_length(self) -> int | None:
        """Bytes of JSON in a body with binary tensors, from the header `Inference-Header-Content-Length`."""
        header = self.headers.get(b"inference-header-content-length")
        if header is None:
            return None
        if not header.isdigit() or len(header) > 12:
            raise Invalid("Inference-Header-Content-Length is not a number of bytes")
        return int(header)

    def timing(self, answer: Answer) -> tuple[bytes, bytes]:
        """The header `Server-Timing`: milliseconds in the queue, of computing, and in all."""
        spent = (answer.queue_seconds, answer.compute_seconds, time.perf_counter() - self.started)
        phases = b"queue;dur=%.2f, compute;dur=%.2f, total;dur=%.2f" % tuple(1000 * part for part in spent)
        return b"server-timing", phases


def deadline_seconds(header: bytes | str | None) -> float:
    """The seconds of a header `X-Request-Timeout`; raises `Invalid`."""
    if header is None:
        return DEFAULT_DEADLINE_SECONDS
    try:
        seconds = float(header)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= MAX_DEADLINE_SECONDS:
        detail = f"takes seconds, more than 0 and at most {MAX_DEADLINE_SECONDS:g}"
        raise Invalid(f"X-Request-Timeout {detail}", [Problem("/header/x-request-timeout", detail)])
    return seconds


Body = bytes | AsyncGenerator[bytes]
Endpoint = Callable[[Call], Awaitable[tuple[Body, Headers]]]


class RawRoute:
    """A route for POST, with a path such as `/v1/models/{name}/predict`.

    The endpoint returns a body and headers, or raises; errors get the same responses as on FastAPI's routes.
    A body may be a stream of chunks, where an error becomes the last event. `operation` is the OpenAPI object
    under `post`.
    """

    def __init__(self, path: str, endpoint: Endpoint, operation: Json) -> None:
        self.path, self.operation = path, operation
        self._endpoint, self.access = endpoint, access_of(endpoint)
        self.pattern = re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", path) + r"\Z")

    async def handle(self, scope: Scope, receive: Receive, send: Send, match: re.Match[str]) -> None:
        """Handle one request."""
        started = time.perf_counter()
        headers = dict(scope["headers"])
        request_id = assign_request_id(scope, headers)
        app: Application = scope["app"]
        shared = state_of(scope)
        task: asyncio.Task[Any] = asyncio.current_task()  # type: ignore[assignment]
        status, disconnected, held = 200, False, 0
        content: Body
        try:
            limit = shared.limits.request_bytes
            body, held = await app.bodies.read(decoded(receive, headers), headers, limit)
            app.disconnects.add(task, receive)
            arrived = time.perf_counter()
            call = Call(
                shared, match.groupdict(), scope["query_string"], headers, body, arrived, FORWARD in scope
            )
            content, response_headers = await self._answer(call)
            if not isinstance(content, bytes):
                response_headers = [*response_headers, (b"x-request-id", request_id)]
                await send_stream(Request(scope), send, content, response_headers)
        except HandOver:
            app.disconnects.remove(task)
            status = HANDED_OVER
            await scope[FORWARD](*read_request(scope, receive, body), send)
        except asyncio.CancelledError:
            status, disconnected = 499, app.disconnects.remove(task)
            if not disconnected:
                raise
        except Exception as error:  # noqa: BLE001 - the outermost frame; unexpected errors are logged
            status, content, response_headers = _error_content(Request(scope), error)
        finally:
            app.disconnects.remove(task)
            app.bodies.release(held)
            if status != HANDED_OVER:  # which the other process records
                record_request("POST", self.path, status, time.perf_counter() - started)
        if not disconnected and status != HANDED_OVER and isinstance(content, bytes):
            response_headers += [(b"content-length", b"%d" % len(content)), (b"x-request-id", request_id)]
            await send({"type": "http.response.start", "status": status, "headers": response_headers})
            await send({"type": "http.response.body", "body": content})

    async def _answer(self, call: Call) -> tuple[Body, Headers]:
        """What the endpoint answers by the deadline, whatever it waits for; raises `DeadlinePassed`."""
        seconds = call.deadline()
        try:
            async with call.limit:
                call.allow(seconds)
                return await self._endpoint(call)
        except TimeoutError:
            if call.limit.expired():
                raise DeadlinePassed from None
            raise


async def send_stream(request: Request, send: Send, chunks: AsyncGenerator[bytes], headers: Headers) -> None:
    """Send each chunk when it is ready; an error after the first becomes the last event."""
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    try:
        async with aclosing(chunks):
            async for chunk in chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
    except Exception as error:  # noqa: BLE001 - as above
        _, content, _ = _error_content(request, error)
        await send({"type": "http.response.body", "body": error_event(request, content), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _error_content(request: Request, error: Exception) -> tuple[int, bytes, Headers]:
    """Status, body and headers of the response to an error; an unexpected one is logged."""
    known = as_app_error(error)
    if known is None:
        log.error("unexpected", exc_info=error, extra={"request_id": request.scope["request_id"]})
    response = internal_error(request) if known is None else error_response(request, known)
    headers = [header for header in response.raw_headers if header[0] != b"content-length"]
    return response.status_code, bytes(response.body), headers


class DisconnectWatcher:
    """Cancels requests whose client disconnects.

    Most requests end before the timer fires, and cost no task: only for the others a listener is started.
    """

    def __init__(self) -> None:
        self._unwatched: dict[asyncio.Task[Any], Receive] = {}  # added since the timer fired last
        self._listeners: dict[asyncio.Task[Any], asyncio.Task[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._disconnected: set[asyncio.Task[Any]] = set()

    def add(self, request: asyncio.Task[Any], receive: Receive) -> None:
        """Watch a request whose body has been read: `receive` has no other message left than its end."""
        self._unwatched[request] = receive
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(DISCONNECT_CHECK_SECONDS, self._start_listeners)

    def remove(self, request: asyncio.Task[Any]) -> bool:
        """Stop watching a request; True if it was cancelled because its client disconnected."""
        new = self._unwatched.pop(request, None)
        if new is None and (listener := self._listeners.pop(request, None)) is not None:
            listener.cancel()
        if request in self._disconnected:
            self._disconnected.discard(request)
            return True
        return False

    def _start_listeners(self) -> None:
        self._timer = None
        for request, receive in self._unwatched.items():
            self._listeners[request] = asyncio.create_task(self._listen(request, receive))
        self._unwatched.clear()

    async def _listen(self, request: asyncio.Task[Any], receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._disconnected.add(request)
        request.cancel()


async def _refuse(scope: Scope, receive: Receive, send: Send, error: AppError) -> None:
    """Answer a request, or a handshake, that no route gets to see."""
    request_id = assign_request_id(scope, dict(scope["headers"]))
    response = error_response(HTTPConnection(scope), error)
    response.headers["x-request-id"] = request_id.decode()
    record_request(scope.get("method", "GET"), "refused", error.status, 0.0)
    log_request(scope, error.status, 0.0)
    await response(scope, receive, send)


class Application(FastAPI):
    """A FastAPI application with raw routes in front of its own, and a policy on sites before all."""

    def __init__(
        self,
        raw: Sequence[RawRoute],
        sites: SitePolicy | None = None,
        declared: Mapping[str, Access] | None = None,
        **arguments: Any,
    ) -> None:
        """`declared` is what operations of FastAPI's routes need, by id; None where no keys are needed."""
        self._raw, self._sites, self._declared = raw, sites or SitePolicy(), declared
        self.disconnects, self.bodies = DisconnectWatcher(), BodyMemory()
        super().__init__(**arguments)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection event."""
        if scope["type"] in ("http", "websocket"):
            try:
                self._sites.check(scope)
                access: AccessControl | None = getattr(getattr(self.state, "shared", None), "access", None)
                if access is not None:
                    await access.identify(scope)
                if await self._handle_raw(scope, receive, send):
                    return
                if access is not None:
                    send = access.recorder(scope, send)
            except AppError as error:
                await _refuse(scope, receive, send, error)
                return
        await super().__call__(scope, receive, send)

    async def _handle_raw(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """Handle the request of a raw route; False for any other. Raises `Forbidden`."""
        if scope["type"] == "http" and scope["method"] == "POST":
            for route in self._raw:
                if match := route.pattern.match(scope["path"]):
                    route.access.check(caller_of(scope))
                    scope["app"] = self
                    await route.handle(scope, receive, send, match)
                    return True
        return False

    def deadline_of(self, scope: Scope) -> float | None:
        """Seconds that a request of a raw route wants to take once it has come; None where it names none.

        None as well where its header is not valid, which the route itself refuses.
        """
        header = next((value for name, value in scope["headers"] if name == TIMEOUT_HEADER), None)
        if header is None or not any(route.pattern.match(scope["path"]) for route in self._raw):
            return None
        try:
            return deadline_seconds(header)
        except Invalid:
            return None

    def openapi(self) -> Json:
        """The OpenAPI document, raw routes included."""
        if self.openapi_schema is None:
            raw = [(route.path, route.operation) for route in self._raw]
            complete_document(super().openapi(), raw)
            if self._declared is not None:
                own = {str(route.operation["operationId"]): route.access for route in self._raw}
                add_security(super().openapi(), {**self._declared, **own})
        return super().openapi()
