"""The fork server: its children, and what is left of them and of it after every kind of death."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from app.infrastructure.processes.managed import is_alive
from tests.support.fixtures.servers import until
from workers.process.fork_server import ForkedProcess, ForkServer, LaunchStopped

PROGRAM = "tests.workers.process.forked"
WORKER = f"""
from workers.process.fork_server import ForkServer
child = ForkServer({PROGRAM!r}).launch()
print(child.stdout.readline(), end="", flush=True)
child.wait()
"""


@pytest.fixture
def server() -> Iterator[ForkServer]:
    made = ForkServer(PROGRAM, ["tests.workers.process.test_fork_server"], ["tests.workers.process.beside"])
    yield made
    made.stop()


@contextmanager
def launched(server: ForkServer) -> Iterator[ForkedProcess]:
    """A child whose stdin is closed at the end; it has ended then."""
    child = server.launch()
    with child.stdout:
        try:
            yield child
        finally:
            with suppress(BrokenPipeError):
                child.stdin.close()
            assert child.wait(20)


def read_identity(child: ForkedProcess) -> dict[str, Any]:
    identity: dict[str, Any] = json.loads(child.stdout.readline())
    assert (identity["pid"], identity["parent"]) == (child.pid, child.parent_pid)
    return identity


def test_children_are_forked_from_what_was_imported_once(server: ForkServer) -> None:
    identities = []
    for text in ("first", "second"):
        with launched(server) as child:
            identities.append(read_identity(child))
            print(text, file=child.stdin, flush=True)
            assert json.loads(child.stdout.readline()) == text
            assert not child.wait(0)
    assert identities[0]["pid"] != identities[1]["pid"]
    assert {one["imported_by"] for one in identities} == {identities[0]["parent"]}
    assert all(one["group"] == one["pid"] for one in identities)


def test_what_is_imported_beside_the_first_child_is_there_for_the_second(server: ForkServer) -> None:
    modules = []
    for _ in range(2):
        with launched(server) as child:
            read_identity(child)
            print("modules", file=child.stdin, flush=True)
            modules.append(set(json.loads(child.stdout.readline())))
    before, beside = "tests.workers.process.test_fork_server", "tests.workers.process.beside"
    assert [[name in seen for name in (before, beside)] for seen in modules] == [[True, False], [True, True]]


def test_the_end_of_its_output_shows_that_a_child_ended(server: ForkServer) -> None:
    with launched(server) as child:
        read_identity(child)
        child.stdin.close()
        assert child.stdout.read() == ""


def test_a_child_that_fails_or_is_killed_leaves_the_server(server: ForkServer) -> None:
    with launched(server) as failing:
        first = read_identity(failing)
        print("raise", file=failing.stdin, flush=True)
        assert failing.stdout.read() == ""
    with launched(server) as killed:
        os.kill(read_identity(killed)["pid"], signal.SIGKILL)
        assert killed.stdout.read() == ""
    with launched(server) as after:
        assert read_identity(after)["parent"] == first["parent"]


def test_a_stop_is_asked_of_a_living_child_only(server: ForkServer) -> None:
    with launched(server) as child:
        read_identity(child)
        child.request_stop()
        assert child.wait(20)
        child.request_stop()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_a_child_ends_with_its_server_and_the_next_has_another(server: ForkServer) -> None:
    with launched(server) as child:
        first = read_identity(child)
        print("wait for ever", file=child.stdin, flush=True)
        os.kill(child.parent_pid, signal.SIGKILL)
        assert child.stdout.read() == ""
    with launched(server) as after:
        assert read_identity(after)["parent"] != first["parent"]


def test_a_server_that_is_stopped_is_replaced(server: ForkServer) -> None:
    with launched(server) as child:
        first = read_identity(child)
        os.kill(child.parent_pid, signal.SIGSTOP)
        assert not child.wait(0.1)
        with launched(server) as after:
            assert read_identity(after)["parent"] != first["parent"]
        assert not is_alive(first["parent"])


def test_an_idle_server_ends_and_is_started_again() -> None:
    server = ForkServer(PROGRAM, idle_seconds=0.1)
    with launched(server) as child:
        first = read_identity(child)
    until(lambda: not is_alive(first["parent"]), what="the end of the idle server, which leaves no zombie")
    with launched(server) as after:
        assert read_identity(after)["parent"] != first["parent"]
    server.stop()


def test_a_launch_is_stopped_while_the_server_still_imports() -> None:
    server = ForkServer(PROGRAM, ["torch"])
    with pytest.raises(LaunchStopped):
        server.launch(lambda: True)
    with launched(server) as after:
        read_identity(after)
    server.stop()


def test_a_program_that_cannot_be_imported_is_an_error() -> None:
    with pytest.raises(OSError, match="does not start"):
        ForkServer("tests.workers.process.no_such_program").launch()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_nothing_outlives_a_worker_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", WORKER], stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        identity = json.loads(worker.stdout.readline())
        worker.kill()
    until(lambda: not any(is_alive(identity[name]) for name in ("pid", "parent")), what="the end of both")
