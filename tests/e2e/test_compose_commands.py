"""The compose file's commands as processes on PostgreSQL and Redis, from upload to prediction."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import pytest
import redis
import yaml

from tests.conftest import server_url
from tests.support.fixtures.servers import until
from tests.support.fixtures.service import monthly

ROOT = Path(__file__).resolve().parents[2]
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
DATABASES = 16  # of a Redis server with its default configuration


@pytest.fixture
def broker() -> Iterator[str]:
    """An empty numbered database of the Redis server that nobody else uses, emptied again afterwards."""
    parts = urlsplit(server_url("RECURRA_TEST_REDIS_URL"))
    for number in range(DATABASES - 1, 0, -1):
        url = urlunsplit(parts._replace(path=f"/{number}"))
        with redis.Redis.from_url(url) as client:
            if client.set("recurra-test", "taken", nx=True, ex=600) and client.dbsize() == 1:
                yield url
                client.flushdb()
                return
    pytest.fail("every numbered database of the Redis server is in use")


@pytest.fixture
def environment(postgresql: str, broker: str, tmp_path: Path) -> dict[str, str]:
    """The compose file's environment, with this machine's servers and directories."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith("RECURRA_")}
    own = {
        "RECURRA_DATABASE_URL": postgresql,
        "RECURRA_REDIS_URL": broker,
        "RECURRA_DATA_DIR": str(tmp_path / "data"),
        "RECURRA_AUTH": SERVICES["api"]["environment"]["RECURRA_AUTH"],
    }
    assert own.keys() - {"RECURRA_DATABASE_URL"} <= SERVICES["api"]["environment"].keys()
    return {**plain, **own, "OMP_NUM_THREADS": "1"}


def command(name: str, port: int = 0) -> list[str]:
    """A service's command line, with this machine's executable and a free port."""
    service = SERVICES[name]
    assert service["entrypoint"] == ["recurra"]
    executable = shutil.which("recurra", path=str(Path(sys.executable).parent))
    assert executable, "recurra is not installed beside this Python"
    given = ["127.0.0.1" if part == "0.0.0.0" else part for part in service["command"]]  # noqa: S104
    return [executable, *(str(port) if part == "8000" else part for part in given)]


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

        def ready() -> bool:
            try:
                return client.get("/readyz").status_code == 200
            except httpx.TransportError:
                time.sleep(0)
                return False

        until(ready, seconds=60, what="readiness")
        for name in ("train", "serve"):
            healthy = [command(name)[0], *SERVICES[name]["healthcheck"]["test"][2:]]
            subprocess.run(healthy, env=environment, check=True)
        files = {"file": ("sales.csv", monthly())}
        dataset = client.post("/v1/datasets", files=files, data={"task": "forecasting"})
        assert dataset.status_code == 201, dataset.text
        job = client.post(
            "/v1/jobs",
            json={
                "task": "forecasting", "dataset": dataset.json()["id"], "model": "sales",
                "network": {"cell": "gru", "hidden_size": 8}, "training": {"epochs": 1, "seed": 7},
                "options": {"horizon": 3},
            },
        )  # fmt: skip
        assert job.status_code == 202, job.text
        path = job.headers["Location"]
        ended = ("succeeded", "failed", "cancelled")
        until(lambda: client.get(path).json()["status"] in ended, seconds=120, what="the job's end")
        assert client.get(path).json()["status"] == "succeeded", client.get(path).text
        answer = client.post(
            "/v1/models/sales/predict",
            json={
                "instances": [{"values": [100.0 + month for month in range(36)]}],
                "parameters": {"horizon": 2},
            },
        )
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["predictions"][0]["mean"]) == 2
