"""Large requests go to another server over a real socket, byte by byte; all others stay here."""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.types import Message, Receive, Scope, Send

from app.api.forwarding.forwarder import LARGE_BYTES, LargeRequestForwarder
from app.server import CoalescingProtocol
from tests.support.fixtures.http_server import serving
from tests.support.fixtures.servers import until

LARGE = b"x" * (LARGE_BYTES + 1)


class OtherServer:
    """What handles large requests: it remembers them, and can be silent, slow and gone."""

    def __init__(self, path: Path) -> None:
        self.path, self.stopped, self.starts = path, False, 0
        self.cancelled, self.reading, self.go = threading.Event(), threading.Event(), threading.Event()

    def ensure_running(self) -> str:
        self.starts += 1
        return str(self.path)

    async def stop(self) -> None:
        self.stopped = True

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] == "/early":
            await answer(send, 413, b"no")
            return
        size = await self._size(receive)
        if scope["path"] == "/never":
            await self._size(receive)  # until its client leaves
            return
        if scope["path"] == "/stream":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for part in (b"a", b"b"):
                await send({"type": "http.response.body", "body": part, "more_body": True})
                while not self.go.is_set():
                    await asyncio.sleep(0.01)
            await send({"type": "http.response.body", "body": b""})
            return
        headers = [[name.decode(), value.decode()] for name, value in scope["headers"]]
        seen = {"size": size, "headers": headers, "client": scope["client"]}
        seen |= {"method": scope["method"], "path": scope["raw_path"].decode()}
        seen |= {"query": scope["query_string"].decode()}
        await answer(send, 201, json.dumps(seen).encode(), (b"x-own", b"1"), (b"x-own", b"2"))

    async def _size(self, receive: Receive) -> int:
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.cancelled.set()
                return size
            size += len(message["body"])
            self.reading.set()
            if not message["more_body"]:
                return size

    @contextmanager
    def running(self) -> Iterator[None]:
        config = uvicorn.Config(
            self.app, log_config=None, http=CoalescingProtocol, proxy_headers=True,
            forwarded_allow_ips="*", lifespan="off", interface="asgi3", timeout_graceful_shutdown=1,
        )  # fmt: skip
        server = uvicorn.Server(config)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self.path))
            listener.listen()
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
            thread.start()
            try:
                until(lambda: server.started, what="the start of the other server")
                yield
            finally:
                server.should_exit = True
                thread.join(60)


async def answer(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body})


async def here(scope: Scope, receive: Receive, send: Send) -> None:
    """The application in front."""
    while scope["type"] == "lifespan":
        event = (await receive())["type"]
        await send({"type": f"{event}.complete"})
        if event == "lifespan.shutdown":
            return
    if scope["type"] == "http":
        message: Message = {"more_body": True}
        while message.get("more_body"):
            message = await receive()
        await answer(send, 200, b"here")


def deadline_of(scope: Scope) -> float | None:
    return float(scope["query_string"]) if scope["path"] == "/never" and scope["query_string"] else None


@pytest.fixture
def other(tmp_path_factory: pytest.TempPathFactory) -> OtherServer:
    return OtherServer(tmp_path_factory.mktemp("s") / "s")


@pytest.fixture
def http(other: OtherServer) -> Iterator[httpx.Client]:
    app = LargeRequestForwarder(here, other, deadline_of)
    config = uvicorn.Config(
        app, log_config=None, http=CoalescingProtocol, proxy_headers=False, timeout_graceful_shutdown=3
    )
    with serving(config) as url, httpx.Client(base_url=url, timeout=120) as client:
        yield client


def test_a_large_request_and_its_answer_arrive_unchanged(http: httpx.Client, other: OtherServer) -> None:
    with other.running():
        sent = {
            "x-request-id": "mine",
            "x-forwarded-for": "8.8.8.8",
            "authorization": "Bearer k",
        }
        reply = http.post("/a%20b/c?x=1&y=%20", content=LARGE, headers=sent)
        assert (reply.status_code, reply.headers.get_list("x-own")) == (201, ["1", "2"])
        assert len(reply.headers.get_list("date")) == len(reply.headers.get_list("server")) == 1
        seen: dict[str, Any] = reply.json()
        assert (seen["size"], seen["method"], seen["path"]) == (len(LARGE), "POST", "/a%20b/c")
        assert (seen["query"], seen["client"][0]) == ("x=1&y=%20", "127.0.0.1")
        headers = dict(seen["headers"])
        assert (headers["host"], headers["authorization"]) == (http.base_url.netloc.decode(), "Bearer k")
        assert (headers["x-request-id"], headers["x-forwarded-for"]) == ("mine", "127.0.0.1")
        assert "connection" not in headers
        for _ in range(3):
            assert http.put("/again", content=LARGE).json()["size"] == len(LARGE)
    assert other.starts == 4


def test_a_body_without_a_length_is_one_that_may_be_large(http: httpx.Client, other: OtherServer) -> None:
    with other.running():
        reply = http.post("/c", content=iter([b"a" * 1000, b"b" * 1000]))
        assert reply.json()["size"] == 2000
        assert dict(reply.json()["headers"])["transfer-encoding"] == "chunked"


def test_small_requests_and_those_without_a_body_stay(http: httpx.Client, other: OtherServer) -> None:
    assert http.post("/x", content=LARGE[1:]).text == "here"
    assert http.get("/x").text == http.request("DELETE", "/x", content=LARGE).text == "here"
    assert other.starts == 0


def test_an_answer_before_the_end_of_the_body_is_passed_on(http: httpx.Client, other: OtherServer) -> None:
    with other.running():
        reply = http.post("/early", content=LARGE * 20)
        assert (reply.status_code, reply.text) == (413, "no")
        assert http.post("/x", content=LARGE).status_code == 201


def test_a_stream_comes_piece_by_piece(http: httpx.Client, other: OtherServer) -> None:
    with other.running(), http.stream("POST", "/stream", content=LARGE) as reply:
        pieces = reply.iter_raw()
        assert next(pieces) == b"a"  # while the other server waits
        other.go.set()
        assert b"".join(pieces) == b"b"


def test_a_deadline_holds_though_the_other_is_silent(http: httpx.Client, other: OtherServer) -> None:
    with other.running():
        reply = http.post("/never?0.2", content=LARGE, headers={"x-request-id": "mine"})
        assert (reply.status_code, reply.json()["type"]) == (504, "/problems/deadline-passed")
        assert reply.headers["x-request-id"] == reply.json()["request_id"] == "mine"
        until(other.cancelled.is_set, what="the end of the request")


def test_a_client_that_leaves_ends_its_request(http: httpx.Client, other: OtherServer) -> None:
    with other.running():
        with pytest.raises(httpx.ReadTimeout):
            http.post("/never", content=LARGE, timeout=0.5)
        until(other.cancelled.is_set, what="the end of the request")


def test_a_client_that_leaves_in_its_body_ends_its_request(http: httpx.Client, other: OtherServer) -> None:
    def body() -> Iterator[bytes]:
        yield LARGE
        until(other.reading.is_set, what="the first bytes")
        raise InterruptedError

    with other.running():
        with pytest.raises(InterruptedError):
            http.post("/x", content=body())
        until(other.cancelled.is_set, what="the end of the request")


def test_a_server_that_is_gone_is_unavailable_and_used_again_when_it_is_back(
    http: httpx.Client, other: OtherServer
) -> None:
    for _ in range(2):
        reply = http.post("/x", content=LARGE)
        assert (reply.status_code, reply.json()["type"]) == (503, "/problems/unavailable")
        assert reply.headers["retry-after"]
    with other.running():
        assert http.post("/x", content=LARGE).status_code == 201
    assert http.post("/x", content=LARGE).status_code == 503
    other.path.unlink()
    with other.running():
        assert http.post("/x", content=LARGE).status_code == 201


def test_the_other_server_ends_with_this_one(other: OtherServer) -> None:
    app = LargeRequestForwarder(here, other, deadline_of)
    with serving(uvicorn.Config(app, log_config=None)) as url:
        assert httpx.get(url).text == "here"
        assert not other.stopped
    assert other.stopped
