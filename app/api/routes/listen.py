"""Live transcripts: over a WebSocket, or of a request in lines that is answered while it is sent."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any

import msgspec
import orjson
from fastapi import APIRouter, Query, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import Response
from starlette.requests import ClientDisconnect

from app.api import sse
from app.api.access.declared import requires
from app.api.deps import StateDep, check_query, state_of
from app.api.problems import as_app_error, problem, problem_document
from app.api.raw import DEADLINE_PARAMETER, DEFAULT_DEADLINE_SECONDS, deadline_seconds
from app.api.response_schemas import TEXT_CONTENT
from app.errors import DeadlinePassed, Invalid, Problem, QueueFull, pointer
from app.services.access.callers import Scope
from app.services.jobs.batch_predictions import parse_parameters
from app.services.serving.listening import listen, open_listening
from app.services.serving.predictions import PredictionService
from app.services.serving.version_router import MAX_VERSION, Route, VersionSelector
from app.tasks.contract import Listener
from app.typedefs import Json

router = APIRouter(tags=["predictions"])

MAX_MESSAGE_BYTES = 1 << 20  # of samples
MAX_LINE_BYTES = 2 * MAX_MESSAGE_BYTES  # of JSON with base64
MAX_LISTENERS = 256  # of one process, over WebSockets
MAX_SILENCE_SECONDS = 60.0  # between two messages of a client
END_MESSAGE = "end"
REFUSED, FAILED = 1008, 1011  # closing codes of RFC 6455
LINES_TYPES = ("application/jsonl", "application/x-ndjson")  # a page of another origin must ask to send them
_listening: set[WebSocket] = set()
ModelVersion = Annotated[int | None, Query(ge=1, le=MAX_VERSION)]


class RecordingChunk(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A line of a request: some samples. The first line may have the task's parameters, too."""

    audio_base64: bytes = b""
    parameters: dict[str, Any] = {}


LINES_SCHEMA: Json = {
    "type": "string",
    "format": "binary",
    "description": """Lines of JSON: `{"audio_base64"}`, each some 16-bit little-endian mono samples.
The first line may have the task's `parameters`, too.""",
}
LISTEN_OPERATION: Json = {
    "parameters": [DEADLINE_PARAMETER],
    "requestBody": {"required": True, "content": {kind: {"schema": LINES_SCHEMA} for kind in LINES_TYPES}},
}


@router.websocket("/v1/models/{name}/listen")
@requires(Scope.PREDICT)
async def listen_live(
    socket: WebSocket,
    name: str,
    version: ModelVersion = None,
    alias: str | None = None,
    sample_rate: int | None = None,
) -> None:
    """Transcribe what is spoken now.

    The client sends 16-bit little-endian mono samples in binary messages, and the text `end`. The answers are
    `{"text","final","start","words"}`, where a text that is not final may change, and last the prediction
    with `"done": true`.
    """
    if len(_listening) >= MAX_LISTENERS:
        raise QueueFull("Too many recordings are listened to already; try again shortly.")
    _listening.add(socket)
    try:
        await _converse(socket, name, version, alias, sample_rate)
    finally:
        _listening.discard(socket)


async def _converse(
    socket: WebSocket, name: str, version: int | None, alias: str | None, sample_rate: int | None
) -> None:
    """Answer the messages of a handshake that is accepted."""
    await socket.accept()
    service = state_of(socket.scope).predictions
    try:
        check_query(socket)
        route = await choose_route(service, name, version, alias)
        listener = open_listening(route, route.task.parameters(), sample_rate)
        messages = listen(service, route, listener, received_samples(socket), DEFAULT_DEADLINE_SECONDS)
        async with aclosing(messages):
            async for message in messages:
                await socket.send_text(orjson.dumps(message, None, orjson.OPT_SERIALIZE_NUMPY).decode())
        await socket.close()
    except WebSocketDisconnect:
        return
    except Exception as error:
        known = as_app_error(error)
        if known is None:
            raise
        document = problem_document(socket, known.status, known.code, known.message, known.problems)
        await socket.send_text(json.dumps({"error": document}))
        await socket.close(REFUSED if known.status < 500 else FAILED)


@router.get("/v1/models/{name}/listen", include_in_schema=False)
@requires(Scope.PREDICT)
async def require_upgrade(
    request: Request, version: str = "", alias: str = "", sample_rate: str = ""
) -> Response:
    """Refuse a GET that is no handshake (RFC 9110, 15.5.22), whatever the handshake's parameters are."""
    del version, alias, sample_rate
    detail = "GET is for WebSockets here; POST takes a recording in lines."
    headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
    return problem(request, 426, "upgrade-required", detail, headers=headers)


@router.post(
    "/v1/models/{name}/listen",
    response_class=Response,
    responses={200: {"content": {"text/event-stream": TEXT_CONTENT}}},
    openapi_extra=LISTEN_OPERATION,
    operation_id="listen",
)
@requires(Scope.PREDICT)
async def listen_to_lines(
    name: str,
    request: Request,
    shared: StateDep,
    version: ModelVersion = None,
    alias: str | None = None,
    sample_rate: int | None = None,
) -> Response:
    """Transcribe a recording while it is sent.

    The body is JSON Lines of `{"audio_base64"}`, each some more 16-bit little-endian mono samples. It is
    answered while it comes, by server-sent events: `{"text","final","start","words"}`, where a text that is
    not final may change, and last `done` with the answer of a prediction, or `error`. `X-Request-Timeout` has
    the seconds that each answer may take once its samples have come.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in LINES_TYPES:
        detail = f"takes {' or '.join(LINES_TYPES)}"
        raise Invalid(f"Content-Type {detail}", [Problem("/header/content-type", detail)])
    seconds = deadline_seconds(request.headers.get(DEADLINE_PARAMETER["name"]))
    route = await choose_route(shared.predictions, name, version, alias)
    lines = received_lines(request)
    first = parse_line(1, await anext(lines, b"{}"))
    listener = open_listening(route, parse_parameters(route.task, first.parameters), sample_rate)
    samples = samples_of_lines(first, lines)
    return sse.EventStream(_listen_events(shared.predictions, route, listener, samples, seconds))


async def _listen_events(
    service: PredictionService,
    route: Route,
    listener: Listener,
    samples: AsyncGenerator[bytes],
    seconds: float,
) -> AsyncGenerator[bytes]:
    messages = listen(service, route, listener, samples, seconds)
    async with aclosing(samples), aclosing(messages):
        try:
            async for message in messages:
                if not message.pop("done", False):
                    yield sse.event(orjson.dumps(message, None, orjson.OPT_SERIALIZE_NUMPY))
                    continue
                answer = {"model": route.model, "version": route.version, "predictions": [message]}
                yield sse.event(orjson.dumps(answer, None, orjson.OPT_SERIALIZE_NUMPY), b"done")
        except ClientDisconnect:
            return


async def samples_of_lines(first: RecordingChunk, lines: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """The samples of a request's lines; raises `Invalid`, whose pointer has the line's number."""
    async with aclosing(lines):
        yield first.audio_base64
        number = 1
        async for line in lines:
            number += 1
            chunk = parse_line(number, line)
            if chunk.parameters:
                problem = Problem(pointer("row", number, "parameters"), "only the first line has parameters")
                raise Invalid(problem.detail, [problem])
            yield chunk.audio_base64


def parse_line(number: int, line: bytes) -> RecordingChunk:
    """A line of a request; raises `Invalid`."""
    try:
        return msgspec.json.decode(line, type=RecordingChunk)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"Line {number}: {error}", [Problem(pointer("row", number), str(error))]) from None


async def received_lines(request: Request) -> AsyncGenerator[bytes]:
    """The lines of a request's body as they come, without empty ones; raises `Invalid`, `DeadlinePassed`."""
    parts, pending = aiter(request.stream()), bytearray()
    while True:
        try:
            async with asyncio.timeout(DEFAULT_DEADLINE_SECONDS):
                part = await anext(parts, None)
        except TimeoutError:
            raise DeadlinePassed("Nothing more of the recording came.") from None
        pending += b"\n" if part is None else part
        *lines, rest = bytes(pending).split(b"\n")
        for line in lines:
            _check_line(line)
            if line.strip():
                yield line
        if part is None:
            return
        _check_line(rest)
        pending = bytearray(rest)


def _check_line(line: bytes) -> None:
    if len(line) > MAX_LINE_BYTES:
        raise Invalid(f"a line may have {MAX_LINE_BYTES:,} bytes")


async def choose_route(
    service: PredictionService, name: str, version: int | None, alias: str | None
) -> Route:
    """The version that a query names; raises `Invalid` and `NotFound`."""
    if version is not None and alias is not None:
        detail = "name a version or an alias, not both"
        raise Invalid(detail, [Problem("/query/alias", detail)])
    return (await service.versions.choose(VersionSelector(name, version, alias))).route


async def received_samples(socket: WebSocket) -> AsyncIterator[bytes]:
    """The binary messages of a client until it says that the recording has ended."""
    while True:
        try:
            async with asyncio.timeout(MAX_SILENCE_SECONDS):
                message = await socket.receive()
        except TimeoutError:
            raise DeadlinePassed("Nothing more of the recording came.") from None
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1000))
        if (text := message.get("text")) is not None:
            if text != END_MESSAGE:
                raise Invalid(f"a text message can only be {END_MESSAGE}; samples are binary")
            return
        samples: bytes = message.get("bytes") or b""
        if len(samples) > MAX_MESSAGE_BYTES:
            raise Invalid(f"a message may have {MAX_MESSAGE_BYTES:,} bytes")
        yield samples
