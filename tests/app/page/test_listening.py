"""Recordings go to the service while they are made, and its messages come back meanwhile."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from app.page.calls import CallRefused, ServiceClient
from app.page.forms import microphone
from app.page.forms.microphone import samples_of
from app.page.state import ServiceClients
from app.typedefs import Json

PATH = "/v1/models/a%20b/listen?sample_rate=16000"


async def pieces(*recorded: bytes) -> AsyncIterator[bytes]:
    for piece in recorded:
        yield piece


async def answer(socket: ServerConnection) -> None:
    """Say how many bytes have come after each message, and at last all of them."""
    assert socket.request is not None
    if "wrong" in socket.request.path:
        await socket.send(json.dumps({"error": {"status": 422, "title": "Invalid", "detail": "not so"}}))
        return
    heard = 0
    async for piece in socket:
        if piece == "end":
            break
        heard += len(piece)
        await socket.send(json.dumps({"text": f"{heard}", "final": False}))
    key = socket.request.headers.get("authorization")
    await socket.send(json.dumps({"text": f"{heard}", "path": socket.request.path, "key": key, "done": True}))


def refuse(socket: ServerConnection, request: Request) -> Response | None:
    if "none" not in request.path:
        return None
    response = socket.respond(404, json.dumps({"status": 404, "title": "Missing", "detail": "no such model"}))
    response.headers["content-type"] = "application/problem+json"
    return response


async def heard_by(client_url: str, path: str, *recorded: bytes, key: str | None = "rk_secret") -> list[Json]:
    client: ServiceClient = ServiceClients(client_url).open(key)
    try:
        return [message async for message in client.listen(path, pieces(*recorded))]
    finally:
        await client.close()


def listened(path: str, *recorded: bytes) -> list[Json]:
    async def converse() -> list[Json]:
        async with serve(answer, "127.0.0.1", 0, process_request=refuse) as server:
            port = server.sockets[0].getsockname()[1]
            return await heard_by(f"http://127.0.0.1:{port}", path, *recorded)

    return asyncio.run(asyncio.wait_for(converse(), 30))


def test_messages_come_while_samples_go() -> None:
    first, second, last = listened(PATH, b"abcd", b"ef")
    assert (first["text"], second["text"]) == ("4", "6")
    assert last == {"text": "6", "path": PATH, "key": "Bearer rk_secret", "done": True}


def test_what_the_service_refuses_is_said() -> None:
    for path, status, detail in (("/none", 404, "no such model"), ("/wrong", 422, "not so")):
        with pytest.raises(CallRefused, match=detail) as refused:
            listened(path, b"ab")
        assert refused.value.status == status
    with pytest.raises(CallRefused, match="does not answer"):
        asyncio.run(heard_by("http://127.0.0.1:9", PATH))


def test_a_recording_ends_with_its_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    async def read(*recorded: bytes | None) -> list[bytes]:
        waiting: asyncio.Queue[bytes | None] = asyncio.Queue()
        for piece in recorded:
            waiting.put_nowait(piece)
        return [piece async for piece in samples_of(waiting)]

    assert asyncio.run(read(b"a", b"b", None, b"c")) == [b"a", b"b"]
    monkeypatch.setattr(microphone, "MAX_SILENCE_SECONDS", 0.01)
    assert asyncio.run(read(b"a")) == [b"a"]
    monkeypatch.setattr(microphone, "MAX_LISTENING_SECONDS", 0.0)
    assert asyncio.run(read(b"a", b"b")) == []
