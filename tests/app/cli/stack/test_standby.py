"""The page costs nothing until somebody visits it, and its next visitor starts it again when it has died."""

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli.commands.up import open_page_listener
from app.cli.stack import supervision
from app.cli.stack.parts import open_listener
from app.cli.stack.supervision import StandbyProcess
from app.infrastructure.processes.managed import ManagedProcess
from tests.support.fixtures.servers import until

ECHO = """
import os, socket, sys
listener = socket.socket(fileno=int(sys.argv[1]))
while True:
    connection, _ = listener.accept()
    with connection:
        connection.sendall(str(os.getpid()).encode())
"""


@pytest.fixture
def standby(tmp_path: Path) -> Iterator[StandbyProcess]:
    with open_listener("127.0.0.1", 0) as listener:
        command = [sys.executable, "-c", ECHO, str(listener.fileno())]
        child = ManagedProcess("page", command, tmp_path / "page.log", {}, (listener.fileno(),))
        yield StandbyProcess(child, listener)
        child.kill()


def visit(standby: StandbyProcess, now: float) -> int:
    """The number of the process that answers a visitor who has connected before it ran."""
    with socket.create_connection(standby.listener.getsockname()[:2], timeout=30) as connection:
        until(lambda: standby.check(now) is None and standby.is_started, what="the start")
        return int(connection.recv(100))


def test_its_first_visitor_starts_it(standby: StandbyProcess) -> None:
    for _ in range(3):
        assert standby.check(0.0) is None
    assert standby.child.pid is None
    first = visit(standby, 0.0)
    assert first == standby.child.pid
    assert visit(standby, 0.0) == first


def test_its_next_visitor_starts_it_again(standby: StandbyProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "STABLE_SECONDS", 1e9)
    first = visit(standby, 0.0)
    os.kill(first, signal.SIGKILL)
    until(lambda: standby.child.poll() is not None, what="its end")
    assert standby.check(100.0) == "page ended with status -9; its next visitor starts it again"
    assert standby.child.pid is None
    with socket.create_connection(standby.listener.getsockname()[:2], timeout=30):
        assert standby.check(100.1) is None
        assert not standby.is_started  # not at once: it might end again
    assert visit(standby, 101.0) != first
    assert standby.delay > supervision.FIRST_RESTART_SECONDS


def test_it_listens_on_the_next_port_or_on_a_free_one() -> None:
    with open_listener("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with open_page_listener("127.0.0.1", listener, print) as page:
            assert page is not None
            other = page.getsockname()[1]
            with open_page_listener("127.0.0.1", listener, print) as second:
                assert second is not None
                assert second.getsockname()[1] not in (port, other)


def test_without_its_packages_it_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    messages: list[str] = []
    monkeypatch.setattr("app.cli.stack.command_lines.PAGE_MODULE", "no_such_module")
    with (
        open_listener("127.0.0.1", 0) as listener,
        open_page_listener("127.0.0.1", listener, messages.append) as page,
    ):
        assert page is None
    assert "recurra-server[page]" in messages[0]
