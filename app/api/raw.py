"""Routes without the framework: plain ASGI for the requests where microseconds count.

Dependency solving, nested routers and response classes cost more than a small network's forward pass. A raw
route is matched before FastAPI sees the request, and documented by the OpenAPI operation it carries.
"""

import asyncio
import logging
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from starlette.types import Receive, Scope, Send

from app.api.deps import House
from app.api.middleware import identified, note
from app.api.problems import answer as refusal
from app.api.problems import broken_off, translated, unexpected
from app.errors import Invalid, Problem, TooLarge
from app.lanes import Answer
from app.typedefs import Json

log = logging.getLogger(__name__)

Headers = list[tuple[bytes, bytes]]

WATCH_SECONDS = 0.05  # a request that waits longer is dropped when its client goes away
DEADLINE, LONGEST = 30.0, 300.0  # seconds
JSON_TYPE = (b"content-type", b"application/json")


@dataclass(slots=True)
class Call:
    """One request: its path's parameters, raw query, headers (names in lower case), and whole body."""

    house: House
    parameters: dict[str, str]
    query: bytes
    headers: dict[bytes, bytes]
    body: bytes
    begun: float  # on the clock of time.perf_counter

    def deadline(self) -> float:
        """Seconds the request may take, from its `X-Request-Timeout`."""
        given = self.headers.get(b"x-request-timeout")
        if given is None:
            return DEADLINE
        try:
            seconds = float(given)
        except ValueError:
            seconds = 0.0
        if not 0 < seconds <= LONGEST:
            detail = f"takes seconds, more than 0 and at most {LONGEST:g}"
            raise Invalid(f"X-Request-Timeout {detail}", [Problem("/header/x-request-timeout", detail)])
        return seconds

    def json_length(self) -> int | None:
        """How many bytes of a body with binary tensors are JSON, from `Inference-Header-Content-Length`."""
        given = self.headers.get(b"inference-header-content-length")
        if given is None:
            return None
        if not given.isdigit() or len(given) > 12:
            raise Invalid("Inference-Header-Content-Length is no number of bytes")
        return int(given)

    def timing(self, answer: Answer) -> tuple[bytes, bytes]:
        """Where the time went, as a `Server-Timing` header in milliseconds."""
        spent = (answer.queue_seconds, answer.compute_seconds, time.perf_counter() - self.begun)
        phases = b"queue;dur=%.2f, compute;dur=%.2f, total;dur=%.2f" % tuple(1000 * part for part in spent)
        return b"server-timing", phases


Body = bytes | AsyncGenerator[bytes]
Endpoint = Callable[[Call], Awaitable[tuple[Body, Headers]]]


class RawRoute:
    """POST to a path like `/v1/models/{name}/predict`; the endpoint gives a body and headers, or raises.

    A body may come chunk by chunk, and what it raises then is its last event. `operation` is the OpenAPI
    object under `post`; errors are answered as on every other path.
    """

    def __init__(self, path: str, endpoint: Endpoint, operation: Json) -> None:
        self.path, self.operation = path, operation
        self._endpoint = endpoint
        self.pattern = re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", path) + r"\Z")

    async def answer(self, scope: Scope, receive: Receive, send: Send, match: re.Match[str]) -> None:
        """Handle one request."""
        begun = time.perf_counter()
        headers = dict(scope["headers"])
        request_id = identified(scope, headers)
        app: Application = scope["app"]
        house: House = app.state.house
        task: asyncio.Task[Any] = asyncio.current_task()  # type: ignore[assignment]
        status, gone = 200, False
        answered: Body
        try:
            body = await _body(receive, house.limits.request_bytes)
            app.watch.enter(task, receive)
            call = Call(house, match.groupdict(), scope["query_string"], headers, body, begun)
            answered, more = await self._endpoint(call)
            if not isinstance(answered, bytes):
                await _stream(Request(scope), send, answered, [*more, (b"x-request-id", request_id)])
        except asyncio.CancelledError:
            status, gone = 499, app.watch.leave(task)  # nobody is there to be told
            if not gone:
                raise
        except Exception as error:  # noqa: BLE001 - the outermost frame; what it does not know is logged
            status, answered, more = _refused(Request(scope), error)
        finally:
            app.watch.leave(task)
            note("POST", self.path, status, time.perf_counter() - begun)
        if isinstance(answered, bytes) and not gone:
            more += [(b"content-length", b"%d" % len(answered)), (b"x-request-id", request_id)]
            await send({"type": "http.response.start", "status": status, "headers": more})
            await send({"type": "http.response.body", "body": answered})


async def _stream(request: Request, send: Send, chunks: AsyncGenerator[bytes], headers: Headers) -> None:
    """Send chunks as they come; an error after the first of them is told as an event."""
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    try:
        async with aclosing(chunks):
            async for chunk in chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
    except Exception as error:  # noqa: BLE001 - as above
        _, said, _ = _refused(request, error)
        await send({"type": "http.response.body", "body": broken_off(request, said), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _refused(request: Request, error: Exception) -> tuple[int, bytes, Headers]:
    known = translated(error)
    if known is None:
        log.error("unexpected", exc_info=error, extra={"request_id": request.scope["request_id"]})
    refused = unexpected(request) if known is None else refusal(request, known)
    headers = [header for header in refused.raw_headers if header[0] != b"content-length"]
    return refused.status_code, bytes(refused.body), headers


class Watch:
    """Cancels requests whose client went away; one timer looks for those that wait for long."""

    def __init__(self) -> None:
        self._young: dict[asyncio.Task[Any], Receive] = {}  # since the last look
        self._listeners: dict[asyncio.Task[Any], asyncio.Task[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.gone: set[asyncio.Task[Any]] = set()

    def enter(self, call: asyncio.Task[Any], receive: Receive) -> None:
        """A request whose body is read; `receive` tells nothing but its end."""
        self._young[call] = receive
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WATCH_SECONDS, self._look)

    def leave(self, call: asyncio.Task[Any]) -> bool:
        """It is answered, or was cancelled; whether its client went away."""
        if self._young.pop(call, None) is None and (listener := self._listeners.pop(call, None)) is not None:
            listener.cancel()
        if call in self.gone:
            self.gone.discard(call)
            return True
        return False

    def _look(self) -> None:
        self._timer = None
        for call, receive in self._young.items():
            self._listeners[call] = asyncio.create_task(self._listen(call, receive))
        self._young.clear()

    async def _listen(self, call: asyncio.Task[Any], receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.gone.add(call)
        call.cancel()


async def _body(receive: Receive, limit: int) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        if len(body) > limit:
            raise TooLarge(f"A prediction request may have {limit} bytes")
        return body
    parts, size = [body], len(body)
    while message.get("more_body"):
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise TooLarge(f"A prediction request may have {limit} bytes")
    return b"".join(parts)


class Application(FastAPI):
    """FastAPI with raw routes in front of its own."""

    def __init__(self, raw: Sequence[RawRoute], **arguments: Any) -> None:
        self._raw = raw
        self.watch = Watch()
        super().__init__(**arguments)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection event."""
        if scope["type"] == "http" and scope["method"] == "POST":
            for route in self._raw:
                if match := route.pattern.match(scope["path"]):
                    scope["app"] = self
                    await route.answer(scope, receive, send, match)
                    return
        await super().__call__(scope, receive, send)

    def openapi(self) -> Json:
        """The document, raw routes included."""
        if self.openapi_schema is None:
            document = super().openapi()
            for route in self._raw:
                document["paths"].setdefault(route.path, {})["post"] = route.operation
        return super().openapi()
