"""The lifeline of a child: it ends on request, when its parent is gone, and by force after the grace."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from app.infrastructure.processes.managed import is_alive
from tests.support.fixtures.servers import until

CHILD = """
import signal, sys, threading
from workers.process.lifeline import Lifeline

requested = threading.Event()
def on_end():
    print("requested", flush=True)
    requested.set()
line = Lifeline(on_end, grace_seconds=float(sys.argv[2]))
line.start()
print("ready", flush=True)
if sys.argv[1] == "deaf":
    threading.Event().wait(60)
requested.wait(60)
if sys.argv[1] == "finishing":
    line.finish()
    print("finished", flush=True)
sys.exit(7)
"""
PARENT = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], "deaf", "0.2"], stdin=0, stdout=sys.stdout)
print(child.pid, flush=True)
child.wait()
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    made: list[subprocess.Popen[str]] = []

    def begin(behaviour: str, grace: float = 20) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", CHILD, behaviour, str(grace)]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        made.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        return child

    yield begin
    for child in made:
        with child:
            child.kill()


def read_line(child: "subprocess.Popen[str]") -> str:
    assert child.stdout is not None
    return child.stdout.readline()


@pytest.mark.parametrize("how", ["SIGTERM", "the end of stdin"])
def test_it_is_asked_to_end_once_and_ends_itself(start: Start, how: str) -> None:
    child = start("listening")
    assert child.stdin is not None
    if how == "SIGTERM":
        child.send_signal(signal.SIGTERM)
    else:
        child.stdin.close()
    assert read_line(child) == "requested\n"
    assert child.wait(10) == 7
    assert read_line(child) == ""


def test_further_signals_ask_no_second_time(start: Start) -> None:
    child = start("deaf")
    for _ in range(5):
        child.send_signal(signal.SIGTERM)
    assert read_line(child) == "requested\n"
    child.kill()
    assert read_line(child) == ""


def test_more_on_stdin_is_no_end(start: Start) -> None:
    child = start("listening")
    assert child.stdin is not None
    child.stdin.write("chatter\n" * 1000)
    child.stdin.flush()
    child.send_signal(signal.SIGINT)  # Ctrl-C is for the parent
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.3)
    child.stdin.close()
    assert read_line(child) == "requested\n"


def test_a_child_that_does_not_end_is_killed_after_its_grace(start: Start) -> None:
    child = start("deaf", grace=0.3)
    begun = time.monotonic()
    child.send_signal(signal.SIGTERM)
    assert child.wait(10) == 1
    assert 0.3 <= time.monotonic() - begun < 5


def test_a_child_that_has_finished_is_not_killed(start: Start) -> None:
    child = start("finishing", grace=0.0)
    child.send_signal(signal.SIGTERM)
    child.wait(10)
    assert child.returncode in {1, 7}  # a grace of nothing may be over before it can finish
    slow = start("finishing", grace=20)
    slow.send_signal(signal.SIGTERM)
    assert (read_line(slow), read_line(slow)) == ("requested\n", "finished\n")
    assert slow.wait(10) == 7


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_it_does_not_outlive_a_parent_that_is_killed() -> None:
    stdin, keep_open = os.pipe()  # the end of stdin must not be what ends it
    command = [sys.executable, "-c", PARENT, CHILD]
    parent = subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert parent.stdout.readline() == "ready\n"
        parent.kill()
        parent.wait()
        until(lambda: not is_alive(pid), what="the child's end")
    finally:
        os.close(stdin)
        os.close(keep_open)
        with parent:
            parent.kill()
