"""The web process in a test: the real application over real servers, with workers played by the test."""

import asyncio
import atexit
import hashlib
import io
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from app.api.deps import AppState
from app.database.tables import Dataset
from app.identifiers import new_id
from app.main import create_app
from app.services import datasets
from app.services.datasets import Upload
from app.services.jobs import leases
from app.services.jobs.leases import Lease
from app.services.models.versions import TrainingOutcome
from app.settings import Settings
from app.typedefs import Json
from tests.networks import lstm, store
from tests.servers import until


class Server(uvicorn.Server):
    """Ends at once: uvicorn looks ten times a second whether it shall, and then waits for connections."""

    async def main_loop(self) -> None:
        await self.on_tick(0)
        while not self.should_exit:
            await asyncio.sleep(0.02)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for _ in range(10):
            if not self.server_state.connections:
                break
            await asyncio.sleep(0.002)
        if self.server_state.connections or self.server_state.tasks:
            await super().shutdown(sockets)
            return
        for server in self.servers:
            server.close()
        await self.lifespan.shutdown()


class Service:
    """A client of the application, and what a worker would do to its jobs."""

    def __init__(self, client: httpx.Client, app: FastAPI, settings: Settings) -> None:
        self.http = client
        self.app = app
        self.settings = settings

    @property
    def state(self) -> AppState:
        """What the application shares."""
        shared: AppState = self.app.state.shared
        return shared

    def upload(self, content: bytes, filename: str = "series.csv", **fields: str) -> httpx.Response:
        """Post a file."""
        data = {"task": "forecasting", **fields}
        return self.http.post("/v1/datasets", files={"file": (filename, io.BytesIO(content))}, data=data)

    def dataset(self) -> str:
        """A small monthly data set, read once for all tests and then copied: reading takes a process."""
        fields, arrived = read_once()
        row = Dataset(**fields, id=new_id("ds"))
        datasets.store(self.state.storage, row, arrived)
        with self.state.sessions.begin() as session:
            session.add(row)
        return str(row.id)

    def submit(self, dataset: str | None = None, **fields: Any) -> httpx.Response:
        """Post a job."""
        body = {
            "task": "forecasting",
            "dataset": dataset or self.dataset(),
            "model": "demand",
            "options": {"horizon": 6},
            **fields,
        }
        return self.http.post("/v1/jobs", json=body)

    def job(self, **fields: Any) -> str:
        """The id of a fresh job."""
        answer = self.submit(**fields)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def claim(self, job_id: str) -> Lease:
        """Take a job as a worker does."""
        with self.state.sessions.begin() as session:
            job = leases.claim(session, job_id, "worker_test", 60)
            assert job is not None
            return Lease(job.id, job.attempt)

    def tell(
        self, lease: Lease, *, progress: Json | None = None, events: list[tuple[str, Json]] | None = None
    ) -> None:
        """Report progress as a worker does."""
        with self.state.sessions.begin() as session:
            leases.renew(session, lease, 60, progress, None, events or [])

    def finish(self, lease: Lease, directory: Path) -> int:
        """End a job with a version that really exists in the store."""
        prefix = f"artifacts/{lease.job_id}/{lease.attempt}"
        for path in sorted(store(directory, lstm(), state={}).iterdir()):
            self.state.storage.put(f"{prefix}/{path.name}", path)
        outcome = TrainingOutcome(prefix, 12, 345, "ab" * 32, {"smape": 9.0}, {"smape": 12.0})
        with self.state.sessions.begin() as session:
            version = leases.succeed(session, lease, outcome)
        assert version is not None
        return version

    def version(self, directory: Path, model: str = "demand") -> int:
        """A finished job's version."""
        return self.finish(self.claim(self.job(model=model)), directory)


def monthly(series: int = 3, months: int = 60) -> bytes:
    """A CSV of a few seasonal series."""
    rows = ["unique_id,ds,y"]
    for name in range(series):
        for month in range(months):
            stamp = f"{2015 + month // 12}-{month % 12 + 1:02d}-01"
            rows.append(f"s{name},{stamp},{100 + 10 * name + month + 5 * (month % 12):.1f}")
    return "\n".join(rows).encode()


def upload(directory: Path, content: bytes = b"", **fields: Any) -> Upload:
    """A file as it has arrived in a directory; without content the small data set."""
    path = directory / "incoming" / "content"
    path.parent.mkdir()
    path.write_bytes(content or monthly())
    known: dict[str, Any] = {
        "path": path,
        "filename": "series.csv",
        "bytes": path.stat().st_size,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "task": "forecasting",
        "name": None,
        "format": None,
        "columns": {},
    }
    return Upload(**(known | fields))


@cache
def read_once() -> tuple[Json, Upload]:
    """The fields of the small data set's row but its id, and its files, which last as long as the tests."""
    directory = mkdtemp()
    atexit.register(rmtree, directory)
    arrived = upload(Path(directory))
    row = datasets.ingest(arrived, 60)
    columns = ("name", "task", "format", "bytes", "sha256", "filename", "summary", "warnings")
    return {column: getattr(row, column) for column in columns}, arrived


@contextmanager
def service(directory: Path, database_url: str, redis_url: str, **settings: Any) -> Iterator[Service]:
    """The application under a real server, in a thread of this process."""
    made = Settings(
        data_dir=directory,
        database_url=database_url,
        redis_url=redis_url,
        storage_url=(directory / "storage").as_uri(),
        lane=f"test-{directory.name}",
        redis_prefix=f"test-{directory.name}:",
        **settings,
    )
    app = create_app(made)
    server = Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=3))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            until(lambda: server.started or not thread.is_alive(), what="the server's start")
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            with httpx.Client(base_url=url, timeout=30) as client:
                yield Service(client, app, made)
        finally:
            server.should_exit = True
            thread.join(timeout=20)


def problem(answer: httpx.Response, status: int) -> Json:
    """The problem document of an answer, checked for its form."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: Json = json.loads(answer.content)
    assert set(body) == {"type", "title", "status", "detail", "request_id", "errors"}
    assert body["status"] == status
    assert body["request_id"] == answer.headers["x-request-id"]
    return body
