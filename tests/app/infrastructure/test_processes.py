"""Children end with their parent, stop within bounds, and keep readable logs."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.infrastructure.processes.managed import ManagedProcess, is_alive, rotate_log
from tests.support.fixtures.servers import until

SLEEPER = [sys.executable, "-c", "print('up', flush=True); import time; time.sleep(600)"]
PARENT = """
import pathlib, signal, sys
from app.infrastructure.processes.managed import ManagedProcess
child = ManagedProcess("child", [sys.executable, "-c", sys.argv[2]], pathlib.Path(sys.argv[1]))
child.start()
print(child.pid, flush=True)
signal.pause()
"""
DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
time.sleep(600)
"""
NEST = f"""
import subprocess, sys, time
inner = subprocess.Popen([sys.executable, "-c", {DEAF!r}])
print("inner", inner.pid, flush=True)
time.sleep(600)
"""


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has reaped yet has."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return not is_alive(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux")
def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path / "log"), SLEEPER[2]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_alive(pid)
        parent.kill()
        parent.wait()
    until(lambda: gone(pid), what="the child's end")


def test_terminating_ends_it_and_its_status_is_known(tmp_path: Path) -> None:
    child = ManagedProcess("sleeper", SLEEPER, tmp_path / "logs" / "sleeper.log")
    child.start()
    assert child.poll() is None
    until(lambda: child.tail() == "up", what="its output")
    child.terminate()
    until(lambda: child.poll() == -signal.SIGTERM, what="its end")
    child.kill()  # after the end it is harmless
    child.terminate()


def test_kill_ends_what_it_left_in_its_session(tmp_path: Path) -> None:
    child = ManagedProcess("nest", [sys.executable, "-c", NEST], tmp_path / "nest.log")
    child.start()
    until(lambda: "inner" in child.tail() and "up" in child.tail(), what="the inner process")
    inner = int(child.tail().split("inner ")[1].split()[0])
    child.kill()
    until(lambda: gone(inner), what="the inner process's end")


def test_it_leads_a_session_of_its_own_and_gets_its_environment(tmp_path: Path) -> None:
    code = "import os; print(os.getsid(0) == os.getpid(), os.environ['EXTRA'], os.environ['PATH'] != '')"
    child = ManagedProcess(
        "environment", [sys.executable, "-c", code], tmp_path / "environment.log", {"EXTRA": "yes"}
    )
    child.start()
    until(lambda: child.poll() == 0, what="its end")
    assert child.tail() == "True yes True"


def test_it_inherits_only_the_descriptors_in_pass_fds(tmp_path: Path) -> None:
    passed, hidden = os.open(os.devnull, os.O_RDONLY), os.open(os.devnull, os.O_RDONLY)
    code = """
import os, sys
for descriptor in map(int, sys.argv[1:]):
    try:
        os.fstat(descriptor)
        print("open")
    except OSError:
        print("closed")
"""
    command = [sys.executable, "-c", code, str(passed), str(hidden)]
    child = ManagedProcess("heir", command, tmp_path / "heir.log", pass_fds=(passed,))
    child.start()
    until(lambda: child.poll() == 0, what="its end")
    assert child.tail().split() == ["open", "closed"]
    os.close(passed)
    os.close(hidden)


def test_the_tail_is_of_the_last_start_only(tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    log.write_text("from an earlier life\n")
    child = ManagedProcess("counter", [sys.executable, "-c", "print(*range(30), sep='\\n')"], log)
    assert child.poll() == 0  # not started
    child.start()
    until(lambda: child.poll() == 0, what="its end")
    assert child.tail(3) == "27\n28\n29"
    assert len(child.tail(100).splitlines()) == 30
    assert log.read_text().startswith("from an earlier life")
    assert ManagedProcess("none", [], tmp_path / "none.log").tail() == ""


def test_rotation_keeps_the_newest_logs(tmp_path: Path) -> None:
    log = tmp_path / "api.log"
    for number in range(6):
        rotate_log(log)
        log.write_text(str(number))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "api.log": "5", "api.log.1": "4", "api.log.2": "3", "api.log.3": "2",
    }  # fmt: skip


def test_alive_knows_processes() -> None:
    assert is_alive(os.getpid())
    assert not is_alive(0)
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    assert not is_alive(ended.pid)
