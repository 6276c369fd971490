"""Connections: there is room for so many, and who keeps the server waiting makes room for others."""

import asyncio
import json
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest
import uvicorn

from app import server
from app.connections import (
    ConnectionLimits,
    Connections,
    client_of,
    limits_within,
    raise_descriptor_limit,
)
from app.server import ProtocolFactory
from tests.support.fixtures import http_server
from tests.support.fixtures.servers import until


class Played:
    """A connection that waits as the test says."""

    def __init__(self, address: str = "1.2.3.4", waiting_since: float | None = None) -> None:
        self.client_address, self.waiting_since = address, waiting_since
        self.evicted = False

    def check(self, now: float) -> None:
        """Nothing ever takes too long."""

    def evict(self) -> None:
        self.evicted = True


def in_loop(scenario: Callable[[], None]) -> None:
    async def main() -> None:
        scenario()

    asyncio.run(main())


def test_those_that_wait_longest_for_their_client_make_room() -> None:
    def scenario() -> None:
        connections = Connections(ConnectionLimits(total=3, per_client=3))
        busy, young, old = Played(), Played(waiting_since=9.0), Played(waiting_since=5.0)
        assert all(connections.admit(one) for one in (busy, young, old))
        assert connections.admit(Played())
        assert (busy.evicted, young.evicted, old.evicted) == (False, False, True)
        assert connections.admit(Played())
        assert not connections.admit(Played())  # all are busy
        assert len(connections) == 3

    in_loop(scenario)


def test_clients_together_have_no_more_than_there_are() -> None:
    def scenario() -> None:
        connections = Connections(ConnectionLimits(total=3, per_client=2))
        addresses = ("1.1.1.1", "2.2.2.2", "3.3.3.3", "4.4.4.4")
        assert [connections.admit(Played(address)) for address in addresses] == [True, True, True, False]
        assert len(connections) == 3

    in_loop(scenario)


def test_a_client_makes_room_for_itself_only() -> None:
    def scenario() -> None:
        connections = Connections(ConnectionLimits(total=100, per_client=2))
        other = Played("9.9.9.9", waiting_since=0.0)
        own = [Played(waiting_since=5.0), Played()]
        assert all(connections.admit(one) for one in (other, *own))
        assert connections.admit(Played())
        assert (own[0].evicted, other.evicted) == (True, False)
        assert not connections.admit(Played())
        for one in own:
            connections.remove(one)
        connections.remove(own[0])  # once more, as after an eviction
        assert connections.admit(Played())

    in_loop(scenario)


def test_a_network_of_ipv6_is_one_client() -> None:
    assert client_of("2001:db8:1:2::7") == client_of("2001:db8:1:2:ffff::1")
    assert client_of("2001:db8:1:2::7") != client_of("2001:db8:1:3::7")
    assert client_of("fe80::1%eth0") == "fe80::/64"
    assert [client_of(one) for one in ("10.0.0.1", "", "no:address")] == ["10.0.0.1", "", "no:address"]


@pytest.mark.parametrize(
    ("limits", "set_", "left"),
    [
        ((1024, 4096), (4096, 4096), 4096),
        ((1024, resource.RLIM_INFINITY), (1 << 16, resource.RLIM_INFINITY), 1 << 16),
        ((4096, 4096), None, 4096),
        ((1 << 20, 1 << 20), None, 1 << 20),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), None, 1 << 16),
    ],
)
def test_the_limit_on_descriptors_is_raised(
    limits: tuple[int, int], set_: tuple[int, int] | None, left: int
) -> None:
    asked: list[Any] = []
    assert raise_descriptor_limit(lambda _: limits, lambda _, new: asked.append(new)) == left
    assert asked == ([] if set_ is None else [set_])


def test_a_limit_that_cannot_be_raised_stays() -> None:
    def refuse(number: int, limits: tuple[int, int]) -> None:
        raise ValueError

    assert raise_descriptor_limit(lambda _: (256, resource.RLIM_INFINITY), refuse) == 256


def test_connections_leave_descriptors_for_the_rest() -> None:
    assert limits_within(65536, 4096, 1024) == ConnectionLimits(4096, 1024)
    assert limits_within(1024, 4096, 1024) == ConnectionLimits(768, 768)
    assert limits_within(256, 4096, 64) == ConnectionLimits(128, 64)


class Site:
    """A server with an endpoint that reads bodies, answers at length, or waits."""

    def __init__(self, connections: Connections) -> None:
        self.connections = connections
        self.url, self.reading, self.waiting = "", threading.Event(), threading.Event()
        self.disconnected = threading.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        size = 0
        if scope["path"] == "/read":
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    self.disconnected.set()
                    return
                self.reading.set()
                size += len(message["body"])
                if not message["more_body"]:
                    break
        headers = [(b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if scope["path"] == "/wait":
            self.waiting.set()
            while (await receive())["type"] != "http.disconnect":
                pass
            self.disconnected.set()
            return
        for _ in range(400 if scope["path"] == "/long" else 0):
            await send({"type": "http.response.body", "body": b"x" * (1 << 20), "more_body": True})
        await send({"type": "http.response.body", "body": b"%d" % size})

    def connect(self, *sent: bytes) -> socket.socket:
        host, port = self.url.removeprefix("http://").split(":")
        client = socket.create_connection((host, int(port)), timeout=60)
        for part in sent:
            client.sendall(part)
        return client


@contextmanager
def serving(limits: ConnectionLimits) -> Iterator[Site]:
    protocol = ProtocolFactory(limits)
    site = Site(protocol.connections)
    config = uvicorn.Config(
        site,
        log_config=None,
        lifespan="off",
        http=protocol,  # type: ignore[arg-type]
        timeout_graceful_shutdown=3,
    )
    with http_server.serving(config) as site.url:
        yield site


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that waits for nothing long."""
    for name in ("HEAD_SECONDS", "BODY_SECONDS", "READING_SECONDS"):
        monkeypatch.setattr(server, name, 0.2)
    monkeypatch.setattr("app.connections.SWEEP_SECONDS", 0.05)


def received(client: socket.socket) -> bytes:
    parts = []
    while part := client.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def test_half_sent_requests_make_room_for_whole_ones() -> None:
    with serving(ConnectionLimits(total=20, per_client=20)) as site, ExitStack() as stack:
        for number in range(100):
            half = b"GET /read HTTP/1.1\r\nHost: localhost\r\n"
            body = b"POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc"
            stack.enter_context(site.connect(half if number % 2 else body))
        assert httpx.post(f"{site.url}/read", content=b"abc", timeout=60).text == "3"


def test_there_is_a_problem_where_all_are_busy() -> None:
    with serving(ConnectionLimits(total=1, per_client=1)) as site:
        with site.connect(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n"):
            assert site.waiting.wait(60)
            answer = httpx.get(f"{site.url}/read", timeout=60)
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "1"
            assert answer.json()["type"] == "/problems/too-many-connections"
        assert site.disconnected.wait(60)
        until(lambda: httpx.get(f"{site.url}/read", timeout=60).status_code == 200, what="some room")


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /read HTTP/1.1\r\nHost: local",
        b"POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc",
        b"GET /read HTTP/1.1\r\nHost: localhost\r\n\r\nGET /read HTTP/1.1\r\n",
    ],
    ids=["half a head", "half a body", "half of another head"],
)
@pytest.mark.usefixtures("impatient")
def test_what_comes_too_slowly_is_told_so(sent: bytes) -> None:
    with serving(ConnectionLimits(total=20, per_client=20)) as site, site.connect(sent) as client:
        head, _, content = received(client).rpartition(b"\r\n\r\n")
    assert b"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/problem+json" in head
    assert json.loads(content)["type"] == "/problems/request-timeout"


def test_what_is_no_http_is_told_so() -> None:
    with serving(ConnectionLimits(total=20, per_client=20)) as site, site.connect(b"hello\r\n\r\n") as client:
        head, _, content = received(client).rpartition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json")
    assert json.loads(content)["type"] == "/problems/bad-request"


@pytest.mark.usefixtures("impatient")
def test_a_client_that_sends_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "KEEP_ALIVE_SECONDS", -0.8)
    with serving(ConnectionLimits(total=20, per_client=20)) as site, site.connect() as client:
        assert received(client) == b""


@pytest.mark.usefixtures("impatient")
def test_a_client_that_does_not_read_is_left() -> None:
    with (
        serving(ConnectionLimits(total=20, per_client=20)) as site,
        site.connect(b"GET /long HTTP/1.1\r\nHost: localhost\r\n\r\n") as client,
    ):
        assert client.recv(100).startswith(b"HTTP/1.1 200")
        until(lambda: not len(site.connections), what="the end of the connection")
