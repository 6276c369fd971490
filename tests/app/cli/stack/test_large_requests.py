"""The process for large requests of a running service: what it answers, and how it ends and is replaced."""

import os
import re
import signal
import sys
from typing import Any

import httpx
import pytest

from app.api.forwarding.forwarder import LARGE_BYTES
from app.server import LARGE_NICENESS
from tests.support.fixtures.processes import has_ended, processes_below
from tests.support.fixtures.servers import until
from tests.support.fixtures.service import monthly
from tests.support.fixtures.stack import Stack

NAMES = {"": "small", ',process="large-requests"': "large"}  # by a series' labels
LARGE, SMALL = ("app.server", "--large-requests-of"), ("app.server", "--processes")
COUNTS = re.compile(
    r'recurra_http_requests_total\{method="POST"(.*),route="/v1/datasets",status="201"\} (\S+)'
)


def processes(stack: Stack) -> set[int]:
    """The one for large requests, if it runs."""
    return processes_below(stack.pid, *LARGE)


def upload(stack: Stack, size: int, **fields: Any) -> httpx.Response:
    """A series that is sent with blank lines behind it."""
    content = monthly(months=72)
    content += b"\n" * max(size - len(content), 0)
    files: Any = {"file": ("shop.csv", content), "task": (None, "forecasting")}
    return stack.http.post("/v1/datasets", files=files, **fields)


def counts(stack: Stack) -> dict[str, float]:
    """How many uploads each process has taken."""
    found = COUNTS.findall(stack.http.get("/metrics").text)
    return {"small": 0.0, "large": 0.0} | {NAMES[labels]: float(count) for labels, count in found}


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux")
def test_large_requests_have_a_process_that_is_replaced_and_ends_with_its_own(stack: Stack) -> None:
    before, running = counts(stack), processes(stack)
    small = upload(stack, 0)
    assert (small.status_code, processes(stack)) == (201, running)
    large = upload(stack, 2 * LARGE_BYTES, headers={"x-request-id": "big-one"})
    assert (large.status_code, large.headers["x-request-id"]) == (201, "big-one")
    assert large.json()["summary"] == small.json()["summary"]
    (first,) = processes(stack)
    assert os.getpriority(os.PRIO_PROCESS, first) == LARGE_NICENESS
    assert stack.http.get(f"/v1/datasets/{large.json()['id']}").json()["id"] == large.json()["id"]

    assert counts(stack) == {name: count + 1 for name, count in before.items()}
    log = (stack.data_dir / "logs" / "api.log").read_text()
    line = next(line for line in log.splitlines() if "big-one" in line)
    assert "127.0.0.1 POST /v1/datasets 201" in line

    wrong = stack.http.post("/v1/models/none/predict", content=b" " * (LARGE_BYTES + 1))
    assert (wrong.status_code, wrong.json()["type"]) == (404, "/problems/not-found")
    foreign = {"host": "elsewhere.example"}
    assert upload(stack, 2 * LARGE_BYTES, headers=foreign).status_code == 421

    os.kill(first, signal.SIGKILL)
    until(lambda: upload(stack, 2 * LARGE_BYTES).is_success, 30, "an answer of another process")
    (second,) = processes(stack)
    assert second != first

    (api,) = processes_below(stack.pid, *SMALL)
    os.kill(api, signal.SIGKILL)
    until(lambda: has_ended(second), 30, "its end with the process that forwards")

    def is_back() -> bool:
        try:
            return stack.http.get("/healthz").status_code == 200
        except httpx.TransportError:
            return False

    until(is_back, 30, "another API process")
    assert upload(stack, 2 * LARGE_BYTES).is_success
    assert processes(stack)
