"""Live transcripts over a WebSocket: binary messages of samples in, JSON messages of texts out."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated

import orjson
from fastapi import APIRouter, Query, WebSocket, WebSocketDisconnect
from starlette.datastructures import Headers

from app.api.problems import as_app_error
from app.api.raw import DEFAULT_DEADLINE_SECONDS
from app.errors import AppError, Forbidden, Invalid
from app.services.serving.listening import listen, open_listening
from app.services.serving.version_router import MAX_VERSION, VersionSelector
from app.typedefs import Json

router = APIRouter(tags=["predictions"])

MAX_MESSAGE_BYTES = 1 << 20
END_MESSAGE = "end"
REFUSED, FAILED = 1008, 1011  # closing codes of RFC 6455
DEFAULT_PORTS = {"http": 80, "https": 443}


@router.websocket("/v1/models/{name}/listen")
async def listen_live(
    socket: WebSocket,
    name: str,
    version: Annotated[int | None, Query(ge=1, le=MAX_VERSION)] = None,
    alias: str | None = None,
    sample_rate: int | None = None,
) -> None:
    """Transcribe what is spoken now.

    The client sends 16-bit little-endian mono samples in binary messages, and the text `end`. The answers are
    `{"text","final","start","words"}`, where a text that is not final may change, and last the prediction
    with `"done": true`. A page of another origin is refused: browsers open a WebSocket without asking.
    """
    if not is_same_origin(socket.headers):
        raise Forbidden("A page of another origin may not listen here.")
    await socket.accept()
    service = socket.app.state.shared.predictions
    try:
        if version is not None and alias is not None:
            raise Invalid("name a version or an alias, not both")  # noqa: TRY301 - answered as all errors
        route = (await service.versions.choose(VersionSelector(name, version, alias))).route
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
        await socket.send_text(orjson.dumps(error_message(known)).decode())
        await socket.close(REFUSED if known.status < 500 else FAILED)


def is_same_origin(headers: Headers) -> bool:
    """Whether a handshake comes from a page of the host that it is sent to, or from no page at all.

    The scheme does not count, as a proxy may end the encryption before this server.
    """
    host = headers.get("host", "").lower()
    for origin in headers.getlist("origin"):
        scheme, _, authority = origin.lower().partition("://")
        if not authority or host not in (authority, f"{authority}:{DEFAULT_PORTS.get(scheme)}"):
            return False
    return True


async def received_samples(socket: WebSocket) -> AsyncIterator[bytes]:
    """The binary messages of a client until it says that the recording has ended."""
    while True:
        message = await socket.receive()
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


def error_message(error: AppError) -> Json:
    """An error as the last message."""
    problems = [{"pointer": problem.pointer, "detail": problem.detail} for problem in error.problems]
    detail = {"type": f"/problems/{error.code}", "status": error.status, "detail": error.message}
    return {"error": detail | {"errors": problems}}
