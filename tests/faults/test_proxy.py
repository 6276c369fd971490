"""Each fault of the proxy, as a client sees it."""

import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.proxy import Proxy
from tests.support.fixtures.servers import until

SOON, LATE = 5.0, 0.3  # seconds


class Echo(socketserver.BaseRequestHandler):
    """Says what it hears."""

    def handle(self) -> None:
        heard: list[bytes] = self.server.heard  # type: ignore[attr-defined]
        try:
            while data := self.request.recv(1 << 16):
                heard.append(data)
                self.request.sendall(data)
        except ConnectionError:
            return


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Echo)
        self.heard: list[bytes] = []


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join(SOON)


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    host, port = server.server_address[:2]
    with Proxy((str(host), port)) as made:
        yield made


@contextmanager
def client(proxy: Proxy, seconds: float = SOON) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.port), seconds) as made:
        yield made


def ask(made: socket.socket, data: bytes = b"hello") -> bytes:
    made.sendall(data)
    return made.recv(1 << 16)


def read_all(made: socket.socket) -> None:
    while made.recv(10):
        pass


def test_it_passes_everything_on_and_the_end_too(proxy: Proxy, server: Server) -> None:
    with client(proxy) as one, client(proxy) as two:
        assert ask(one) == b"hello"
        assert ask(two, b"world") == b"world"
        assert proxy.connections == 2
        one.shutdown(socket.SHUT_WR)
        assert one.recv(1) == b""
        assert ask(two) == b"hello"
    until(lambda: proxy.connections == 0, SOON, "the end of the connections")


def test_a_large_body_is_whole(proxy: Proxy) -> None:
    body = bytes(range(256)) * 4096
    with client(proxy) as one:
        threading.Thread(target=one.sendall, args=(body,)).start()
        found = b""
        while len(found) < len(body):
            found += one.recv(1 << 16)
    assert found == body


def test_to_a_unix_socket(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        with Proxy(tmp_path / "s") as proxy, client(proxy) as one:
            one.sendall(b"hello")
            with listener.accept()[0] as other:
                assert other.recv(10) == b"hello"
                other.sendall(b"hi")
                assert one.recv(10) == b"hi"
                proxy.reset()
                with pytest.raises(ConnectionResetError):
                    one.recv(1)


def test_latency(proxy: Proxy) -> None:
    with client(proxy) as one:
        assert ask(one) == b"hello"
        proxy.latency(LATE / 2, jitter=0.01)  # each way
        begun = time.monotonic()
        assert ask(one) == b"hello"
        assert time.monotonic() - begun >= LATE
        proxy.heal()
        begun = time.monotonic()
        assert ask(one) == b"hello"
        assert time.monotonic() - begun < LATE


def test_a_black_hole_gives_back_late_what_it_swallowed(proxy: Proxy, server: Server) -> None:
    with client(proxy) as one:
        assert ask(one) == b"hello"
        proxy.black_hole()
        one.settimeout(LATE)
        with pytest.raises(TimeoutError):
            ask(one, b"lost?")
        with client(proxy, LATE) as two, pytest.raises(TimeoutError):
            ask(two)  # it accepts, and no more
        assert server.heard == [b"hello"]
        proxy.heal()
        one.settimeout(SOON)
        assert one.recv(10) == b"lost?"


def test_refused_and_then_welcome_again(proxy: Proxy) -> None:
    with client(proxy) as one:
        assert ask(one) == b"hello"
        proxy.refuse()
        with pytest.raises(ConnectionResetError):
            one.recv(1)
        with pytest.raises(ConnectionRefusedError), client(proxy):
            pass
    proxy.heal()
    with client(proxy) as one:
        assert ask(one) == b"hello"


def test_a_reset_is_one(proxy: Proxy) -> None:
    with client(proxy) as one, client(proxy) as two:
        assert ask(one) + ask(two) == b"hellohello"
        proxy.reset()
        for lost in (one, two):
            with pytest.raises(ConnectionResetError):
                lost.recv(1)
    with client(proxy) as one:
        assert ask(one) == b"hello"


def test_a_slow_close(proxy: Proxy) -> None:
    with client(proxy) as one:
        assert ask(one) == b"hello"
        proxy.slow_close(LATE)
        begun = time.monotonic()
        one.shutdown(socket.SHUT_WR)
        assert one.recv(1) == b""
        assert time.monotonic() - begun >= 2 * LATE  # once to the server, once back


def test_a_cut_after_so_many_bytes(proxy: Proxy) -> None:
    proxy.cut_after(8)
    with client(proxy) as one:
        assert ask(one) == b"hello"
        one.sendall(b"world")
        with pytest.raises(ConnectionResetError):
            read_all(one)


def test_an_answer_is_lost_though_the_server_has_acted(proxy: Proxy, server: Server) -> None:
    trap = proxy.lose_answer(b"COMMIT", after=b"INSERT")
    with client(proxy) as one, client(proxy) as two:
        assert ask(two, b"COMMIT") == b"COMMIT"  # no INSERT before it
        assert ask(one, b"INSERT") == b"INSERT"
        assert ask(one, b"COM") == b"COM"  # the mark may come in pieces
        with pytest.raises(ConnectionResetError):
            ask(one, b"MIT")
        assert trap.sprung.wait(SOON)
        assert b"".join(server.heard).endswith(b"COMMIT")
        assert ask(two, b"INSERT COMMIT") == b"INSERT COMMIT"  # once only
