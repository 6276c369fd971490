"""Several hosts that share PostgreSQL, Redis and S3, and no disk: each process has a directory of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from app.infrastructure.storage import Storage
from app.typedefs import Json
from benchmarks.serving.processes import free_port
from tests.faults.jobs.conftest import servers_of
from tests.faults.jobs.harness import OPTIONS, PATIENCE, SAMPLE, Stack, stack
from tests.faults.jobs.parts import Part
from tests.faults.proxy import Proxy
from tests.support.fixtures.s3 import S3Server
from tests.support.fixtures.servers import until

HISTORY: list[float] = (10 + 5 * np.sin(np.arange(60) / 7)).round(2).tolist()


class Fleet:
    """API processes, training workers and serving workers; over a proxy to the store."""

    def __init__(self, made: Stack, directory: Path) -> None:
        self.stack, self._directory = made, directory
        self.apis: list[httpx.Client] = []
        self._hosts = 0

    def start_api(self) -> httpx.Client:
        """One more API process; a client of it, ready when this returns."""
        port = free_port()
        self._start("api", "app.cli", "api", "--port", str(port))
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120, trust_env=False)
        until(lambda: _answers(client), PATIENCE, "the API", every=0.05)
        self.apis.append(client)
        return client

    def start_worker(self, role: str) -> Part:
        """One more worker; it has reported to the database when this returns."""
        part = self._start(role, "workers.main", "--role", role, RECURRA_PREDICTORS="1")
        self.stack.wait_for_workers(part)
        return part

    def _start(self, name: str, module: str, *arguments: str, **environment: str) -> Part:
        self._hosts += 1
        own = self._directory / f"host-{self._hosts}"
        own.mkdir()
        return self.stack.start(
            f"{name}-{self._hosts}", module, *arguments, RECURRA_DATA_DIR=str(own), **environment
        )

    def predict(self, api: httpx.Client, model: str = "weather") -> httpx.Response:
        """One forecast."""
        series = {"values": HISTORY, "start": "2024-01-01", "freq": "D"}
        return api.post(f"/v1/models/{model}/predict", json={"instances": [series]})

    def until_predicted(self, api: httpx.Client, model: str = "weather") -> Json:
        """The first forecast that is answered."""
        answers: list[httpx.Response] = []

        def answered() -> bool:
            answers.append(self.predict(api, model))
            assert answers[-1].status_code in {200, 503, 504}, answers[-1].text
            return answers[-1].status_code == 200

        until(answered, PATIENCE, "a forecast", every=0.2)
        body: Json = answers[-1].json()
        return body

    def doctor(self) -> Json:
        """What `recurra doctor` says, run on one more host."""
        own = self._directory / "doctor"
        own.mkdir(exist_ok=True)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RECURRA_")}
        done = subprocess.run(
            [sys.executable, "-m", "app.cli", "doctor", "--json", "--data-dir", str(own)],
            env=environment | self.stack.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        report: Json = json.loads(done.stdout)
        return report

    def close(self) -> None:
        """Close the clients."""
        for client in self.apis:
            client.close()


def upload(api: httpx.Client, *, duplicate: bool = False) -> httpx.Response:
    """Upload the sample; a duplicate is stored although it is there already."""
    files: Any = {"file": (SAMPLE.name, SAMPLE.read_bytes()), "task": (None, "forecasting")}
    return api.post("/v1/datasets", files=files, params={"duplicate": duplicate})


def training(dataset: str, epochs: int, model: str = "weather", **more: object) -> Json:
    """The body of a job."""
    settings = {"epochs": epochs, "batch_size": 8, "patience": 10_000, "seed": 1}
    network = {"hidden_size": 16}
    body: Json = {"task": "forecasting", "dataset": dataset, "model": model, "training": settings}
    return body | {"network": network, "options": OPTIONS} | more


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


@contextmanager
def fleet(directory: Path, s3: S3Server, proxy: Proxy) -> Iterator[Fleet]:
    """A fleet without processes yet; the test itself reaches the store directly."""
    url = s3.new_store()
    with stack(directory, **servers_of("servers")) as made:
        made.storage = Storage(url)
        made.environment |= {"RECURRA_STORAGE_URL": url, **s3.environment(proxy.port)}
        fleet_of_stack = Fleet(made, directory)
        try:
            yield fleet_of_stack
        finally:
            fleet_of_stack.close()
