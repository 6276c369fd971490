"""The service under measurement: `recurra up` on a directory of its own."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from app.typedefs import Json

RECURRA = (sys.executable, "-c", "from app.cli import main; main()")


@contextmanager
def stack(prepare: Callable[[Path], None] = lambda _: None) -> Iterator[httpx.Client]:
    """A client of a fresh service, whose data directory may be prepared."""
    with tempfile.TemporaryDirectory() as directory:
        prepare(Path(directory) / "data")
        with serve(Path(directory) / "data") as client:
            yield client


@contextmanager
def serve(data: Path, **settings: str) -> Iterator[httpx.Client]:
    """A client of a service on a data directory, which stays; `settings` are environment variables."""
    command = [*RECURRA, "up", "--port", "0", "--data-dir", str(data)]
    environment = os.environ | settings
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            if "ready at" not in line:
                raise RuntimeError(f"the service did not start: {line}")
            with httpx.Client(base_url=line.split()[-1], timeout=120) as client:
                yield client
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)


def checked(answer: httpx.Response) -> Json:
    """The answer's JSON; raises with the problem's text."""
    if answer.is_error:
        raise RuntimeError(f"{answer.status_code} {answer.text}")
    body: Json = answer.json()
    return body


def upload(http: httpx.Client, path: Path, **fields: str) -> str:
    """The id of a data set made of a file."""
    with path.open("rb") as file:
        files: Any = {"file": (path.name, file)} | {name: (None, value) for name, value in fields.items()}
        return str(checked(http.post("/v1/datasets", files=files))["id"])


def train(http: httpx.Client, body: Json) -> tuple[Json, float]:
    """The finished job, and the seconds from submit to end."""
    begun = time.perf_counter()
    job = checked(http.post("/v1/jobs", json=body))
    while job["status"] in {"queued", "running"}:
        job = checked(http.get(f"/v1/jobs/{job['id']}", headers={"Prefer": "wait=30"}))
    if job["status"] != "succeeded":
        raise RuntimeError(f"{job['status']}: {job['error']}")
    return job, time.perf_counter() - begun
