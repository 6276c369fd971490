"""The compose file's commands as processes on PostgreSQL and Redis, from upload to prediction."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.fixtures.parts import (
    ROOT,
    SERVICES,
    arguments,
    empty_broker,
    empty_database,
    is_ready,
    train_and_predict,
)
from tests.support.fixtures.servers import until

HEALTHY = ROOT / "deploy" / "image" / "healthy.sh"  # in the images it is called `recurra-healthy`


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The compose file's environment, with this machine's servers and directories."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith("RECURRA_")}
    with empty_database() as database, empty_broker() as broker:
        own = {
            "RECURRA_DATABASE_URL": database,
            "RECURRA_REDIS_URL": broker,
            "RECURRA_DATA_DIR": str(tmp_path / "data"),
            "RECURRA_AUTH": SERVICES["api"]["environment"]["RECURRA_AUTH"],
        }
        assert own.keys() - {"RECURRA_DATABASE_URL"} <= SERVICES["api"]["environment"].keys()
        yield {**plain, **own, "OMP_NUM_THREADS": "1"}


def command(name: str, port: int = 0) -> list[str]:
    """A service's command line, with this machine's executable and a free port."""
    executable = shutil.which("recurra", path=str(Path(sys.executable).parent))
    assert executable, "recurra is not installed beside this Python"
    return [executable, *arguments(name, port)]


@contextmanager
def running(line: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that must still run at the end, and stops when asked, within the compose file's grace."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            line, env=environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield process
        assert process.poll() is None, log.read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) in (0, -signal.SIGTERM), log.read_text()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        return int(opened.getsockname()[1])


def test_the_compose_commands_train_and_predict(environment: dict[str, str], tmp_path: Path) -> None:
    port = free_port()
    subprocess.run(command("migrate"), env=environment, check=True)
    make_key = [command("migrate")[0], "keys", "create", "me"]
    key = subprocess.run(make_key, env=environment, check=True, capture_output=True, text=True).stdout.strip()
    headers = {"Authorization": f"Bearer {key}"}
    url = f"http://127.0.0.1:{port}"
    with ExitStack() as stack, httpx.Client(base_url=url, headers=headers, timeout=30) as client:
        for name in ("api", "train", "serve"):
            stack.enter_context(running(command(name, port), environment, tmp_path / f"{name}.log"))
        until(lambda: is_ready(client), seconds=60, what="readiness", every=0.1)
        for name in ("api", "train", "serve"):
            check = SERVICES[name]["healthcheck"]["test"][2:] + ([str(port)] if name == "api" else [])
            subprocess.run(["/bin/bash", HEALTHY, *check], env=environment, check=True)
        train_and_predict(client)
