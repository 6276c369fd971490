"""What is measured of a contestant's processes, and that none is left."""

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest

from benchmarks.serving.generator.timer import Alarm
from benchmarks.serving.processes import (
    NoAnswer,
    cpu_seconds,
    free_port,
    idle_percent,
    memory_mib,
    quiet,
    running,
    tree,
    until_right,
)
from tests.support.fixtures.servers import until

CHILD = "import time; data = bytearray(40 << 20); data[::4096] = b'x' * len(data[::4096]); time.sleep(60)"
FAMILY = f"""
import subprocess, sys, signal
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}], start_new_session=True)
print("born", flush=True)
child.wait()
"""
BUSY = "while True: pass"


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_tree_is_measured_and_ended_whole(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running([sys.executable, "-c", FAMILY], log) as process:
        until(lambda: memory_mib(process.pid) > 40, what="the child's memory")
        pids = tree(process.pid)
        assert pids[0] == process.pid
        assert len(pids) == 2
        assert os.getpid() not in pids
        assert memory_mib(process.pid) < 200
        assert idle_percent(process.pid, 0.3) < 20
    assert log.read_text() == "born\n"
    until(lambda: not any(alive(pid) for pid in pids), what="the end of all")


def test_a_busy_process_costs_most_of_a_core(tmp_path: Path) -> None:
    with running([sys.executable, "-c", BUSY], tmp_path / "log") as process:
        assert idle_percent(process.pid, 0.5) > 20
        assert cpu_seconds([process.pid, 999_999_999]) > 0


def test_a_server_that_ends_is_told_with_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "-c", "print('no such option')"]
    url = f"http://127.0.0.1:{free_port()}/"
    with running(command, log) as process, pytest.raises(NoAnswer, match="no such option"):
        until_right(process, url, b"", [], log)


def test_contestants_see_neither_settings_nor_proxies() -> None:
    given = {"RECURRA_DATABASE_URL": "x", "HTTPS_PROXY": "y", "no_proxy": "z", "PATH": "/bin"}
    assert quiet(given) == {"PATH": "/bin", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def test_an_alarm_rings_after_its_time_and_soon() -> None:
    async def rings() -> list[float]:
        late: list[float] = []
        done = asyncio.Event()
        due = time.monotonic()

        def rang(alarm: Alarm) -> None:
            nonlocal due
            late.append(time.monotonic() - due)
            if len(late) == 50:
                done.set()
                return
            due = time.monotonic() + 0.0015
            alarm.set(due)

        alarm = Alarm(asyncio.get_running_loop(), rang)
        alarm.set(due)
        await done.wait()
        alarm.close()
        return sorted(late)

    late = asyncio.run(rings())
    assert late[0] >= 0
    assert late[25] < 0.02
