"""One burst against a service of its own."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import msgspec
from sqlalchemy import create_engine, select, text
from sqlalchemy.engine import make_url

from app.database.engine import make_engine, make_readers
from app.database.tables import Job
from benchmarks.burst.load import Burst, Report
from benchmarks.report import ROOT
from benchmarks.serving.processes import free_port, quiet, running
from benchmarks.stack import RECURRA, checked
from tests.support.fixtures.service import monthly

READY_SECONDS, LATER = 120.0, 600.0
ACCEPTED, GOOD = 202, (200, 304)
TINY = {"network": {"hidden_size": 4}, "training": {"epochs": 1}, "options": {"horizon": 6, "refit": False}}


@dataclass(frozen=True)
class Servers:
    """Where the service keeps its rows and its doorbells; empty: what it brings along."""

    label: str
    database: str = ""
    redis: str = ""


EMBEDDED = Servers("SQLite, Valkey")


@dataclass(frozen=True)
class ClientMix:
    """Who is there."""

    label: str
    submitters: int = 1
    pollers: int = 100
    waiters: int = 20
    pause: float | None = None


@dataclass
class Result:
    """What was measured."""

    servers: Servers
    clients: ClientMix
    report: Report
    started: int  # jobs that a worker took
    inversions: int | None  # None: too few started to tell

    @property
    def seconds(self) -> float:
        """From the first submit to the last answer."""
        submits = self.report.submits
        return max(one.answered for one in submits) - min(one.sent for one in submits)

    @property
    def submit_rate(self) -> float:
        """Accepted submits a second."""
        return sum(one.status == ACCEPTED for one in self.report.submits) / self.seconds

    def submit(self, share: float) -> float:
        """A percentile of the accepted submits in milliseconds."""
        taken = [one.answered - one.sent for one in self.report.submits if one.status == ACCEPTED]
        return percentile(taken, share)

    @property
    def poll_rate(self) -> float:
        """Answered polls a second, those that wait among them."""
        return sum(n for status, n in self.report.statuses.items() if status in GOOD) / self.seconds

    def poll(self, share: float) -> float:
        """A percentile in milliseconds of the polls that do not wait."""
        return percentile(self.report.polls, share)

    @property
    def errors(self) -> int:
        """Answers of another status than they should have, and requests without one."""
        bad = sum(n for status, n in self.report.statuses.items() if status not in GOOD)
        return bad + sum(one.status != ACCEPTED for one in self.report.submits)

    @property
    def summary(self) -> str:
        """In one line."""
        return (
            f"{self.submit_rate:.0f} submits/s, {self.submit(0.5):.1f} / {self.submit(0.99):.1f} ms; "
            f"{self.poll_rate:.0f} polls/s, {self.poll(0.5):.1f} / {self.poll(0.99):.1f} ms; "
            f"{self.errors} errors, {self.inversions} inversions of {self.started} taken"
        )


@dataclass(frozen=True)
class Service:
    """`recurra up` on an empty directory."""

    http: httpx.Client
    port: int
    database: str


@contextmanager
def service(servers: Servers) -> Iterator[Service]:
    """From nothing to ready, and gone at the end with its database."""
    with tempfile.TemporaryDirectory() as name, _database(servers.database) as database:
        directory, port = Path(name), free_port()
        environment = {"RECURRA_DATABASE_URL": database, "RECURRA_REDIS_URL": servers.redis}
        environment = {key: value for key, value in environment.items() if value}
        mark = uuid4().hex[:8]
        environment |= {"RECURRA_REDIS_PREFIX": f"burst-{mark}:", "RECURRA_LANE": f"burst-{mark}"}
        command = [*RECURRA, "up", "--port", str(port), "--data-dir", str(directory / "data")]
        with running(command, directory / "log", **environment) as process:
            url = f"http://127.0.0.1:{port}"
            with httpx.Client(base_url=url, timeout=120, trust_env=False) as http:
                _until_ready(http, process, directory / "log")
                yield Service(http, port, database or f"sqlite:///{directory / 'data' / 'recurra.db'}")


@contextmanager
def _database(server: str) -> Iterator[str]:
    """A database of our own on a PostgreSQL server; nothing where there is none."""
    if not server:
        yield ""
        return
    url, name = make_url(server), f"burst_{uuid4().hex[:12]}"
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"create database {name}"))
    try:
        yield url.set(database=name).render_as_string(hide_password=False)
    finally:
        with admin.connect() as connection:
            connection.execute(text(f"drop database {name} with (force)"))
        admin.dispose()


def _until_ready(http: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            if http.get("/readyz", timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the service did not start:\n{log.read_text(errors='replace')[-3000:]}")
        time.sleep(0.1)


def measure(servers: Servers, clients: ClientMix, jobs: int, watch: float) -> Result:
    """Send the burst; then look for so many seconds which jobs the worker takes."""
    with service(servers) as served:
        files: Any = {"file": ("a.csv", monthly()), "task": (None, "forecasting")}
        dataset = checked(served.http.post("/v1/datasets", files=files))["id"]
        body = json.dumps({"task": "forecasting", "dataset": dataset, "model": "m", **TINY})
        burst = Burst(
            served.port, body, jobs, clients.submitters, clients.pollers, clients.waiters, clients.pause
        )
        report = _send(burst)
        time.sleep(watch)
        started = _started(served.database)
    return Result(servers, clients, report, len(started), inversions(report, started))


def _send(burst: Burst) -> Report:
    with tempfile.NamedTemporaryFile() as report:
        subprocess.run(
            [sys.executable, "-m", "benchmarks.burst.load", report.name],
            input=msgspec.json.encode(burst),
            check=True,
            cwd=ROOT,
            env=quiet(os.environ),
            timeout=LATER,
        )
        return msgspec.msgpack.decode(Path(report.name).read_bytes(), type=Report)


def _started(database: str) -> dict[str, float]:
    """When each job was taken for the first time, by the database's clock."""
    engine = make_engine(database)
    with make_readers(engine)() as session:
        rows = session.execute(select(Job.id, Job.started_at)).all()
    engine.dispose()
    return {job_id: at for job_id, at in rows if at is not None}


def inversions(report: Report, started: dict[str, float]) -> int | None:
    """Pairs of jobs taken the other way round than they were submitted, those not taken being last.

    A pair counts only if the one's submit was answered before the other's was sent.
    """
    accepted = [one for one in report.submits if one.job_id]
    if len(started) < 2:
        return None
    return sum(
        before.answered <= after.sent and started[after.job_id] < started.get(before.job_id, float("inf"))
        for after in accepted
        if after.job_id in started
        for before in accepted
    )


def percentile(values: Sequence[float], share: float) -> float:
    """In milliseconds, of seconds."""
    ordered = sorted(values)
    return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")
