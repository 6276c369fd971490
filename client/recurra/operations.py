"""The calls of the REST interface, as flows over the JSON of its requests and responses."""

import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from recurra.errors import ConnectionLost, Json, RecurraError, RequestRefused, Unavailable, refused
from recurra.protocol.problems import json_object
from recurra.protocol.server_events import read_event
from recurra.protocol.steps import (
    IDEMPOTENCY_KEY,
    Call,
    CloseStream,
    FilePart,
    Flow,
    Give,
    ReadChunk,
    Send,
    UploadProgress,
    Wait,
)

LONG_POLL_SECONDS = 30
MAX_PAGE_ENTRIES = 200
RECONNECT_SECONDS = 60.0  # for which a watched job is polled while the server does not answer
MIN_POLL_SECONDS = 1.0  # for servers that do not hold a long poll
POLL_TIMEOUT = httpx.Timeout(60.0, read=2.0 * LONG_POLL_SECONDS)
UPLOAD_TIMEOUT = httpx.Timeout(60.0, read=900.0)  # the server checks the whole file before it answers
TERMINAL = frozenset({"succeeded", "failed", "cancelled"})  # a job in these states never changes

Query = Mapping[str, str | int]


def quoted(*steps: str | int) -> str:
    """A path under /v1 of these steps, each quoted."""
    return "/v1/" + "/".join(quote(str(step), safe="") for step in steps)


def idempotency_header() -> dict[str, str]:
    """A header with a new key, by which a repeated POST is recognised."""
    return {IDEMPOTENCY_KEY: uuid.uuid4().hex}


def respond(call: Call) -> Flow[httpx.Response]:
    """The response to a call."""
    response: httpx.Response = yield Send(call)
    return response


def call_json(call: Call) -> Flow[Json]:
    """The JSON object that a call answers."""
    return json_object((yield Send(call)))


def get(path: str, query: Query | None = None) -> Flow[Json]:
    """GET a JSON object."""
    return call_json(Call("GET", path, {"params": dict(query or {})}))


def create(path: str, body: Json, query: Query | None = None) -> Flow[Json]:
    """POST what makes something, once however often it is sent."""
    content = {"json": body, "params": dict(query or {}), "headers": idempotency_header()}
    return call_json(Call("POST", path, content))


def ask(path: str, body: Json, query: Query | None = None, seconds: float | None = None) -> Flow[Json]:
    """POST a question, which changes nothing; it is answered within `seconds`, where these are named."""
    return call_json(question(path, body, query, seconds))


def question(path: str, body: Json, query: Query | None, seconds: float | None = None) -> Call:
    """The call of a question."""
    content: dict[str, Any] = {"json": body, "params": dict(query or {})}
    if seconds is not None:
        content["headers"] = {"X-Request-Timeout": f"{seconds:g}"}
        content["timeout"] = httpx.Timeout(60.0, read=seconds + 30.0)
    return Call("POST", path, content, harmless=True)


def pages(path: str, limit: int, query: Query | None = None) -> Flow[list[Json]]:
    """GET the first `limit` entries of a list, page by page."""
    entries: list[Json] = []
    filters = dict(query or {})
    while len(entries) < limit:
        page = yield from get(path, {**filters, "limit": min(limit - len(entries), MAX_PAGE_ENTRIES)})
        entries += page["data"]
        if not page["has_more"]:
            break
        filters["cursor"] = page["next_cursor"]
    return entries


def upload(
    path: Path,
    task: str,
    fields: Mapping[str, str],
    progress: UploadProgress | None = None,
    filename: str | None = None,
) -> Flow[Json]:
    """Upload a data set, streamed from disk; `progress` is called with the bytes of each chunk."""
    content = {"data": {"task": task, **fields}, "headers": idempotency_header(), "timeout": UPLOAD_TIMEOUT}
    part = FilePart(path, filename or path.name, progress)
    return call_json(Call("POST", "/v1/datasets", content, part))


def act(job_id: str, verb: str) -> Flow[Json]:
    """`cancel`, `pause` or `resume` a job; repeating it is harmless."""
    return call_json(Call("POST", quoted("jobs", job_id, verb), harmless=True))


def watch(job_id: str) -> Flow[None]:
    """Give the job now, and whenever it has changed, until its end; survives a restart of the server."""
    path, last_response = quoted("jobs", job_id), time.monotonic()
    etag: str | None = None
    while True:
        sent = time.monotonic()
        headers = {} if etag is None else {"Prefer": f"wait={LONG_POLL_SECONDS}", "If-None-Match": etag}
        content = {"headers": headers, "timeout": POLL_TIMEOUT}
        try:
            response: httpx.Response = yield Send(Call("GET", path, content))
        except RecurraError as error:
            unavailable = not isinstance(error, RequestRefused) or isinstance(error, Unavailable)
            if not etag or not unavailable or time.monotonic() - last_response > RECONNECT_SECONDS:
                raise
            yield Wait(1.0)
            continue
        last_response = time.monotonic()
        if response.status_code == httpx.codes.NOT_MODIFIED:
            yield Wait(max(0.0, sent + MIN_POLL_SECONDS - last_response))
            continue
        etag, job = response.headers.get("ETag", ""), json_object(response)
        yield Give(job)
        if job["status"] in TERMINAL:
            return


def job_events(job_id: str, after: int = 0) -> Flow[None]:
    """Give each event of a job until its end; a stream that breaks is taken up where it ended."""
    lost_at: float | None = None
    while True:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
        content = {"headers": headers, "timeout": POLL_TIMEOUT}
        try:
            response = yield Send(Call("GET", quoted("jobs", job_id, "events"), content), stream=True)
            while (event := (yield from read_event(response))) is not None:
                after, lost_at = int(event.id), None
                yield Give(event.data)
            yield CloseStream(response)
        except ConnectionLost:
            lost_at = lost_at or time.monotonic()
            if time.monotonic() - lost_at > RECONNECT_SECONDS:
                raise
            yield Wait(1.0)
            continue
        job = yield from get(quoted("jobs", job_id))
        if job["status"] in TERMINAL and (yield from _is_last(job_id, after)):
            return
        yield Wait(MIN_POLL_SECONDS)


def _is_last(job_id: str, after: int) -> Flow[bool]:
    page = yield from get(quoted("jobs", job_id, "events"), {"after": after, "limit": 1})
    return not page["data"]


def version(model: str, number: int | None = None) -> Flow[Json]:
    """A version of a model, by default the newest."""
    if number is None:
        number = (yield from get(quoted("models", model)))["latest_version"]
    return (yield from get(quoted("models", model, "versions", number or 0)))


def prediction_body(instances: Sequence[Any], parameters: Json) -> Json:
    """The body of a request for predictions."""
    return {"instances": list(instances)} | ({"parameters": parameters} if parameters else {})


def stream(model: str, instances: Sequence[Any], parameters: Json, which: Query) -> Flow[None]:
    """Give each piece of a streamed answer, and at last the whole answer, which has `predictions`."""
    body = prediction_body(instances, {**parameters, "stream": True})
    call = question(quoted("models", model, "predict"), body, which)
    response = yield Send(call, stream=True)
    while (event := (yield from read_event(response))) is not None:
        if event.name == "error":
            raise refused(event.data)
        if event.name in {"", "done"}:
            yield Give(event.data)
        if event.name == "done":
            return
    raise ConnectionLost(f"{response.url}: the response ended early")


def save(path: str, target: Path) -> Flow[int]:
    """Save a response's body as a file, whole or not at all; returns the number of bytes."""
    partial = target.with_name(f"{target.name}.part")
    response = yield Send(Call("GET", path), stream=True)
    with partial.open("wb") as file:
        while (chunk := (yield ReadChunk(response))) is not None:
            file.write(chunk)
    partial.replace(target)
    return target.stat().st_size
