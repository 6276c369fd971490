"""Calls of the public API: what the page asks the service for, in the name of a visitor."""

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from app.typedefs import Json
from recurra import operations
from recurra.async_rest import AsyncRestClient
from recurra.errors import RecurraError, RequestRefused
from recurra.protocol.problems import parse_problem

LIST_PAGE_ENTRIES = 200  # of a page of a list
STANDARD_ALIAS = "production"  # that answers where nobody is named
MAX_LISTED = 100  # entries of a list that are shown
STREAM_TIMEOUT = httpx.Timeout(20.0, read=120.0)


@dataclass
class CallRefused(Exception):
    """A call that was not answered with what it asked for, as its problem document (RFC 9457)."""

    problem: Json

    def __str__(self) -> str:
        return str(self.problem.get("detail") or self.problem.get("title") or self.problem.get("status"))

    @property
    def status(self) -> int:
        """The status of the answer; 0 without an answer."""
        status = self.problem.get("status")
        return status if isinstance(status, int) else 0


@dataclass(frozen=True)
class ServiceCall:
    """A call as somebody could make it by hand."""

    method: str
    path: str
    body: Json | None = None  # JSON
    form: dict[str, str] | None = None  # of an upload, beside its file
    filename: str = ""


def path_of(*parts: object) -> str:
    """A path of the API, its parts quoted."""
    return "/v1/" + "/".join(quote(str(part), safe="") for part in parts)


class ServiceClient:
    """The API as one visitor may use it; every method raises `CallRefused`."""

    def __init__(self, rest: AsyncRestClient) -> None:
        self._rest = rest

    async def close(self) -> None:
        """Close the connections."""
        await self._rest.close()

    async def send(self, method: str, path: str, **content: Any) -> httpx.Response:
        """Send one request, again where that is safe; a status of 400 or more raises `CallRefused`."""
        with _refusals():
            return await self._rest.send(method, path, **content)

    async def get(self, path: str, **query: Any) -> Json:
        """GET a JSON object; query parameters that are None are left out."""
        query = {name: value for name, value in query.items() if value is not None}
        answer: Json = (await self.send("GET", path, params=query)).json()
        return answer

    async def text(self, path: str, **query: Any) -> str:
        """GET a text, such as a picture in SVG."""
        return (await self.send("GET", path, params=query)).text

    async def entries(self, path: str, limit: int = 50, **query: Any) -> list[Json]:
        """GET the first entries of a list."""
        page = await self.get(path, limit=min(limit, LIST_PAGE_ENTRIES), **query)
        entries: list[Json] = page["data"]
        return entries

    async def make(self, call: ServiceCall) -> Json:
        """Make a call with JSON; a POST is made once, however often it is sent."""
        headers = {"Idempotency-Key": uuid.uuid4().hex} if call.method == "POST" else {}
        response = await self.send(call.method, call.path, json=call.body, headers=headers)
        answer: Json = response.json() if response.content else {}
        return answer

    async def upload(self, call: ServiceCall, path: Path) -> Json:
        """Upload a file, streamed from disk."""
        fields = dict(call.form or {})
        flow = operations.upload(path, fields.pop("task"), fields, filename=call.filename)
        with _refusals():
            return await self._rest.driver.run(flow)

    async def changed_job(self, job_id: str, etag: str, seconds: int) -> tuple[Json | None, str]:
        """The job and its entity tag once it differs from the tag; None if it does not for so long."""
        headers = {"If-None-Match": etag, "Prefer": f"wait={seconds}"} if etag else {}
        response = await self.send("GET", path_of("jobs", job_id), headers=headers, timeout=seconds + 20.0)
        if response.status_code == 304:
            return None, etag
        return response.json(), response.headers.get("ETag", "")

    async def lines(self, path: str, limit: int, max_bytes: int) -> list[Json]:
        """The first lines of JSON Lines, at most so many and within so many bytes."""
        rows: list[Json] = []
        size = 0
        async with self._stream("GET", path) as response:
            async for line in response.aiter_lines():
                size += len(line)
                if len(rows) >= limit or size > max_bytes:
                    break
                rows.append(json.loads(line))
        return rows

    async def events(self, call: ServiceCall) -> AsyncIterator[tuple[str, Json]]:
        """The server-sent events that answer a call: the name of each, empty by default, and its data."""
        async with self._stream(call.method, call.path, json=call.body) as response:
            name = ""
            async for line in response.aiter_lines():
                field, _, value = line.partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    yield name, json.loads(value)
                    name = ""

    async def listen(self, path: str, samples: AsyncIterator[bytes]) -> AsyncGenerator[Json]:
        """The messages about a recording while its samples come, the last with `done`."""
        http = self._rest.driver.http
        url = str(http.base_url.join(path)).replace("http", "ws", 1)
        headers = {name: http.headers[name] for name in ("Authorization",) if name in http.headers}
        try:
            async with connect(url, additional_headers=headers, proxy=None) as socket:
                sending = asyncio.create_task(_send_samples(socket, samples))
                try:
                    async for text in socket:
                        message: Json = json.loads(text)
                        if "error" in message:
                            raise CallRefused(message["error"])
                        yield message
                finally:
                    sending.cancel()
        except InvalidStatus as error:
            raise CallRefused(_problem_of(error)) from error
        except (OSError, TimeoutError, WebSocketException) as error:
            raise _unreachable(error) from error

    @asynccontextmanager
    async def _stream(self, method: str, path: str, **content: Any) -> AsyncIterator[httpx.Response]:
        http = self._rest.driver.http
        try:
            async with http.stream(method, path, timeout=STREAM_TIMEOUT, **content) as response:
                if response.is_error:
                    await response.aread()
                    raise CallRefused(parse_problem(response))
                yield response
        except httpx.HTTPError as error:
            raise _unreachable(error) from error


@contextmanager
def _refusals() -> Iterator[None]:
    """What the client of Recurra raises, as `CallRefused`."""
    try:
        yield
    except RequestRefused as error:
        raise CallRefused(error.problem) from error
    except RecurraError as error:
        raise _unreachable(error) from error


async def _send_samples(socket: ClientConnection, samples: AsyncIterator[bytes]) -> None:
    """Send a recording as it comes; that the other side has closed is seen where its messages are read."""
    with suppress(ConnectionClosed):
        async for piece in samples:
            await socket.send(piece)
        await socket.send("end")


def _problem_of(error: InvalidStatus) -> Json:
    """The problem document that a handshake was answered with."""
    try:
        problem: Json = json.loads(error.response.body or b"")
    except ValueError:
        return {"status": error.response.status_code, "title": "Refused", "detail": str(error)}
    return problem


def _unreachable(error: Exception) -> CallRefused:
    detail = f"The service does not answer: {str(error) or type(error).__name__}."
    return CallRefused({"status": 0, "title": "No answer", "detail": detail, "errors": []})
