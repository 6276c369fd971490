"""The process for large requests of a running service: what it answers, and how it ends and is replaced."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.api.forwarding.forwarder import LARGE_BYTES
from app.server import LARGE_NICENESS
from tests.support.fixtures.processes import has_ended, processes_below, up
from tests.support.fixtures.servers import until
from tests.support.fixtures.service import monthly

LARGE, SMALL = ("app.server", "--large-requests-of"), ("app.server", "--processes")
COUNTS = re.compile(
    r'recurra_http_requests_total\{method="POST"(.*),route="/v1/datasets",status="201"\} (\S+)'
)


class Running:
    """A service, its processes and its log."""

    def __init__(self, process: subprocess.Popen[str], url: str, data_dir: Path) -> None:
        self.process, self.log = process, data_dir / "logs" / "api.log"
        self.http = httpx.Client(base_url=url, timeout=120)

    def large(self) -> set[int]:
        return processes_below(self.process.pid, *LARGE)

    def upload(self, size: int, **fields: Any) -> httpx.Response:
        """A series that is sent with blank lines behind it."""
        content = monthly(months=72)
        content += b"\n" * max(size - len(content), 0)
        files: Any = {"file": ("shop.csv", content), "task": (None, "forecasting")}
        return self.http.post("/v1/datasets", files=files, **fields)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    data_dir = tmp_path_factory.mktemp("large") / "data"
    with up(data_dir) as (process, url):
        made = Running(process, url, data_dir)
        yield made
        made.http.close()


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux")
def test_large_requests_have_a_process_that_is_replaced_and_ends_with_its_own(running: Running) -> None:
    small = running.upload(0)
    assert (small.status_code, running.large()) == (201, set())
    large = running.upload(2 * LARGE_BYTES, headers={"x-request-id": "big-one"})
    assert (large.status_code, large.headers["x-request-id"]) == (201, "big-one")
    assert large.json()["summary"] == small.json()["summary"]
    (first,) = running.large()
    assert os.getpriority(os.PRIO_PROCESS, first) == LARGE_NICENESS
    assert running.http.get(f"/v1/datasets/{large.json()['id']}").json()["id"] == large.json()["id"]

    counts = dict(COUNTS.findall(running.http.get("/metrics").text))
    assert counts == {"": "1.0", ',process="large-requests"': "1.0"}
    line = next(line for line in running.log.read_text().splitlines() if "big-one" in line)
    assert "127.0.0.1 POST /v1/datasets 201" in line

    wrong = running.http.post("/v1/models/none/predict", content=b" " * (LARGE_BYTES + 1))
    assert (wrong.status_code, wrong.json()["type"]) == (404, "/problems/not-found")
    foreign = {"host": "elsewhere.example"}
    assert running.upload(2 * LARGE_BYTES, headers=foreign).status_code == 421

    os.kill(first, signal.SIGKILL)
    until(lambda: running.upload(2 * LARGE_BYTES).is_success, 30, "an answer of another process")
    (second,) = running.large()
    assert second != first

    (api,) = processes_below(running.process.pid, *SMALL)
    os.kill(api, signal.SIGKILL)
    until(lambda: has_ended(second), 30, "its end with the process that forwards")

    def is_back() -> bool:
        try:
            return running.http.get("/healthz").status_code == 200
        except httpx.TransportError:
            return False

    until(is_back, 30, "another API process")
    assert running.upload(2 * LARGE_BYTES).is_success
    (third,) = running.large()
    running.process.send_signal(signal.SIGTERM)
    _, errors = running.process.communicate(timeout=120)
    assert (running.process.returncode, has_ended(third)) == (0, True)
    assert "Traceback" not in errors
    assert not list((running.log.parents[1] / "run").glob("large-requests-*"))
