"""`recurra up`, the real thing: ready when it is, alone on its directory, gone without a trace."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from app.api.forwarding.forwarder import LARGE_BYTES
from app.cli.stack.parts import open_listener
from tests.support.fixtures.processes import ENVIRONMENT, RECURRA, descendants, has_ended, up
from tests.support.fixtures.servers import until


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux")
def test_nothing_outlives_a_kill_and_the_next_start_serves_alone_and_stops_in_order(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()  # a stranger's package in the current directory is not taken for ours
    (tmp_path / "app" / "__init__.py").write_text("raise RuntimeError('not ours')")
    with up(tmp_path / "data") as (process, _):
        below = descendants(process.pid)
        process.kill()
        process.wait()
        until(lambda: all(has_ended(pid) for pid in below), seconds=30, what="the end of all parts")
    shutil.rmtree(tmp_path / "data" / "logs")  # whose last lines may be cut off
    with up(tmp_path / "data") as (process, url):
        assert httpx.get(f"{url}/readyz").status_code == 200
        again = [*RECURRA, "up", "--port", "0", "--data-dir", str(tmp_path / "data")]
        second = subprocess.run(again, capture_output=True, text=True, env=ENVIRONMENT, check=False)
        assert second.returncode == 1
        assert f"already running on {tmp_path / 'data'} at {url} (process {process.pid})" in second.stderr
        large = httpx.post(f"{url}/v1/models/none/predict", content=b" " * (LARGE_BYTES + 1), timeout=120)
        assert large.status_code == 404
        below = descendants(process.pid)
        assert len(below) >= 5  # with the process for large requests
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "Traceback" not in errors
        until(lambda: all(has_ended(pid) for pid in below), what="the end of all parts")
    assert not list((tmp_path / "data" / "run").glob("large-requests-*"))
    for log in (tmp_path / "data" / "logs").iterdir():
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert lines, log
        assert all({"at", "level", "logger", "message"} <= line.keys() for line in lines)
    assert {log.name for log in (tmp_path / "data" / "logs").iterdir()} >= {
        "api.log", "serve.log", "train.log", "valkey.log",
    }  # fmt: skip


def test_a_port_in_use_is_reported_at_once(tmp_path: Path) -> None:
    with open_listener("127.0.0.1", 0) as opened:
        port = str(opened.getsockname()[1])
        command = [*RECURRA, "up", "--port", port, "--data-dir", str(tmp_path / "data")]
        done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert done.returncode == 1
    assert f"Port {port} on 127.0.0.1 is in use" in done.stderr
    assert not (tmp_path / "data").exists()
