"""Several API processes on one socket: each serves, one that is killed is replaced, metrics cover all."""

import os
import re
import signal
import sys
from pathlib import Path

import httpx
import pytest

from tests.support.fixtures.processes import descendants, has_ended, processes_below, up
from tests.support.fixtures.servers import until

HEALTH = re.compile(r'recurra_http_requests_total\{.*process="(\d+)",route="/healthz".*\} (\S+)')


def counts(url: str) -> dict[int, float]:
    """How many health checks each process has answered."""
    return {int(pid): float(count) for pid, count in HEALTH.findall(httpx.get(f"{url}/metrics").text)}


def ask(url: str, times: int = 1) -> None:
    """Ask over a new connection each time, so that any process may take it."""
    for _ in range(times):
        assert httpx.get(f"{url}/healthz").status_code == 200


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux")
def test_two_processes_serve_one_socket_and_outlive_each_other(tmp_path: Path) -> None:
    """In a directory whose path is too long for sockets."""
    with up(tmp_path / ("long" * 25), RECURRA_API_PROCESSES="2") as (process, url):

        def both() -> bool:
            ask(url)
            return len(counts(url)) == 2

        until(both, 30, "an answer of each process")
        (parent,) = processes_below(process.pid, "app.server")
        before = counts(url)
        ask(url, 10)
        assert sum(counts(url).values()) == sum(before.values()) + 10

        (killed, *_) = before
        os.kill(killed, signal.SIGKILL)
        until(lambda: has_ended(killed), what="the end of one")
        ask(url, 3)

        def replaced() -> bool:
            ask(url)
            now = counts(url)
            return len(now) == 2 and killed not in now

        until(replaced, 30, "another in its place")
        below = descendants(parent)
        os.kill(parent, signal.SIGKILL)
        until(lambda: all(has_ended(pid) for pid in below), 30, "the end of both with their parent")
        until(lambda: processes_below(process.pid, "app.server") - {parent}, 30, "another parent")
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0
        assert "Traceback" not in errors
