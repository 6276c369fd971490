"""A contestant's processes: started together, watched through /proc, ended together."""

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from benchmarks.report import ROOT
from benchmarks.serving.generator.messages import Expected
from benchmarks.serving.generator.verification import right

PROC = Path("/proc")
TICK = os.sysconf("SC_CLK_TCK")
READY_SECONDS, GRACE_SECONDS = 60.0, 20.0
MARK = "BENCH_CONTESTANT"  # in the environment of every process that is ours to end


class NoAnswer(Exception):
    """A server does not answer rightly."""


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def tree(root: int) -> list[int]:
    """A process and all its descendants that live now."""
    children: dict[int, list[int]] = {}
    for stat in PROC.glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    result = [root]
    for pid in result:
        result += children.get(pid, [])
    return result


def cpu_seconds(pids: Sequence[int]) -> float:
    """CPU time that processes have used so far; those that are gone count nothing."""
    ticks = 0
    for pid in pids:
        with suppress(OSError):
            fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / TICK


def idle_percent(root: int, seconds: float) -> float:
    """CPU of a process and its descendants while nothing is asked of them, in percent of a core."""
    pids = tree(root)
    before = cpu_seconds(pids)
    begun = time.monotonic()
    time.sleep(seconds)
    return 100 * (cpu_seconds(pids) - before) / (time.monotonic() - begun)


def memory_mib(root: int) -> float:
    """Proportional set size of a process and its descendants in MiB."""
    total = 0
    for pid in tree(root):
        with suppress(OSError):
            rollup = (PROC / str(pid) / "smaps_rollup").read_text()
            total += sum(int(size) for size in re.findall(r"^Pss:\s+(\d+)", rollup, re.MULTILINE))
    return total / 1024


@contextmanager
def running(command: Sequence[str], log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a server and end it with all that it started."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=quiet(os.environ) | {MARK: "1"} | environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        end(process)


def quiet(environment: Mapping[str, str]) -> dict[str, str]:
    """Without settings of a service or a proxy; every numerical library on one thread."""
    kept = {
        name: value
        for name, value in environment.items()
        if not name.startswith("RECURRA_") and not name.lower().endswith("_proxy")
    }
    return kept | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def until_right(
    process: subprocess.Popen[bytes], url: str, body: bytes, expected: Expected, log: Path
) -> None:
    """Wait for the first right answer; raises with the end of the log when there is none."""
    deadline = time.monotonic() + READY_SECONDS
    headers = {"Content-Type": "application/json"}
    seen = "nothing"
    while True:
        with suppress(httpx.HTTPError):
            answer = httpx.post(url, content=body, headers=headers, timeout=10, trust_env=False)
            if answer.status_code == 200 and right(answer.content, expected):
                return
            seen = f"{answer.status_code} {answer.text[:500]}"
        if process.poll() is not None or time.monotonic() > deadline:
            raise NoAnswer(
                f"no right answer, but {seen}; the log:\n{log.read_text(errors='replace')[-3000:]}"
            )
        time.sleep(0.05)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask, wait, then kill whatever is left of the tree."""
    pids = tree(process.pid)
    process.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=GRACE_SECONDS)
    process.kill()
    process.wait()
    for pid in pids:
        with suppress(OSError):
            if f"{MARK}=".encode() in (PROC / str(pid) / "environ").read_bytes():
                os.kill(pid, signal.SIGKILL)
