"""Hostile and ordinary media files over HTTP, while the API's memory and its answers to others are watched.

Uploads and predictions are sent one after the other to a service with tiny models. Meanwhile another process
asks for /healthz all the time, and reads how much memory the API has.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from app.typedefs import Json
from benchmarks import report
from benchmarks.stack import checked, train
from tests.support.factories.hostile_archives import (
    KINDS,
    MANIFEST_BYTES,
    Case,
    Kind,
    hostile_archives,
    ordinary_archives,
)
from tests.support.factories.hostile_media import (
    Question,
    hostile_media,
    hostile_questions,
    ordinary_media,
    ordinary_questions,
)
from tests.support.factories.zips import pack
from tests.support.fixtures.processes import processes_below, up

POLL_SECONDS = 0.005
MAX_UPLOAD_BYTES = 48 << 20
ENVIRONMENT = {
    "RECURRA_ARCHIVE_MANIFEST_BYTES": str(MANIFEST_BYTES),
    "RECURRA_MAX_UPLOAD_BYTES": str(MAX_UPLOAD_BYTES),
}
TINY: Json = {"network": {"hidden_size": 16, "layers": 1}, "training": {"epochs": 1, "batch_size": 4}}


@dataclass
class Watch:
    """What was seen of the API meanwhile."""

    resident: list[int] = field(default_factory=list)  # bytes
    answers: list[float] = field(default_factory=list)  # seconds that /healthz took

    @property
    def growth(self) -> int:
        """Bytes of memory that the API had more than at first, at most."""
        return max(self.resident) - self.resident[0]


@dataclass(frozen=True)
class Outcome:
    """What came of an upload or a prediction: nothing, or why its answer is wrong."""

    name: str
    fault: str
    seconds: float


@contextmanager
def watched(url: str, api: int) -> Iterator[Watch]:
    """Watch a process of the API while the block runs, from a process of its own."""
    command = [sys.executable, "-m", "benchmarks.hostile", "--watch", url, str(api)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        watch = Watch()
        if process.stdout is not None:
            process.stdout.readline()  # it has begun
        try:
            yield watch
        finally:
            seen, _ = process.communicate("")
        for seconds, resident in json.loads(seen):
            watch.answers.append(seconds)
            watch.resident.append(resident)


def poll(url: str, api: int) -> None:
    """Print what /healthz took and the API's memory, as often as could be asked until stdin ends."""
    address, statm = urlsplit(url), Path(f"/proc/{api}/statm")
    connection = HTTPConnection(address.hostname or "", address.port)
    ended, seen = threading.Event(), list[tuple[float, int]]()

    def wait_for_end() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait_for_end, daemon=True).start()
    while not ended.wait(POLL_SECONDS):
        begun = time.perf_counter()
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        resident = int(statm.read_text().split()[1]) * resource.getpagesize()
        seen.append((time.perf_counter() - begun, resident))
        if len(seen) == 1:
            print("begun", flush=True)
    json.dump(seen, sys.stdout)


def send_upload(http: httpx.Client, case: Case) -> Outcome:
    """Upload a case; a data set that it makes is deleted at once."""
    begun = time.perf_counter()
    form: Any = {"task": (None, case.task), "file": ("archive.zip", case.body)}
    answer = http.post("/v1/datasets", files=form)
    seconds = time.perf_counter() - begun
    fault = fault_of(answer, case.status, case.pointer)
    if answer.status_code == 201:
        checked_delete(http, answer.json()["id"])
    return Outcome(case.name, fault, seconds)


def checked_delete(http: httpx.Client, dataset: str) -> None:
    """Delete a data set; raises with the problem's text."""
    http.delete(f"/v1/datasets/{dataset}").raise_for_status()


def send_question(http: httpx.Client, question: Question) -> Outcome:
    """Ask the model of the question's task."""
    begun = time.perf_counter()
    answer = http.post(f"/v1/models/{question.task}/predict", json=question.body)
    return Outcome(
        question.name,
        fault_of(answer, question.status, question.pointer),
        time.perf_counter() - begun,
    )


def fault_of(answer: httpx.Response, status: int, pointer: str) -> str:
    """What is wrong with an answer, or nothing."""
    if answer.status_code != status:
        return f"{answer.status_code} instead of {status}: {answer.text[:500]}"
    if status < 400:
        return ""
    if answer.headers["content-type"] != "application/problem+json":
        return f"the type {answer.headers['content-type']}"
    pointers = [error["pointer"] for error in answer.json()["errors"]]
    if not any(one.startswith(pointer) for one in pointers):
        return f"{pointers[:3]} instead of {pointer!r}: {answer.json()['detail'][:300]}"
    leaks = [word for word in ("Traceback", "/tmp", ".py", "incoming") if word in answer.text]  # noqa: S108
    return f"names {leaks}: {answer.text[:300]}" if leaks else ""


def hostile_cases() -> Iterator[Case]:
    """All archives that must be refused."""
    yield from hostile_archives()
    yield from hostile_media()


def ordinary_cases() -> Iterator[Case]:
    """All archives that must be taken."""
    yield from ordinary_archives()
    yield from ordinary_media()


def train_tiny(http: httpx.Client, kind: Kind) -> str:
    """Train a model named like its task; returns the id of its data set."""
    form: Any = {"task": (None, kind.task), "file": ("archive.zip", pack(kind.files()))}
    dataset = str(checked(http.post("/v1/datasets", files=form))["id"])
    body = {"task": kind.task, "dataset": dataset, "model": kind.task, **TINY}
    train(http, body)
    return dataset


def _row(name: str, outcomes: Iterable[Outcome], watch: Watch) -> list[str]:
    seconds = [outcome.seconds for outcome in outcomes]
    answers = sorted(watch.answers)
    late = sum(one > 0.1 for one in answers)
    return [
        name, str(len(seconds)), f"{statistics.median(seconds):.2f} / {max(seconds):.2f}",
        f"{watch.growth / 2**20:.1f}", f"{1000 * statistics.median(answers):.1f}",
        f"{1000 * answers[int(0.99 * len(answers))]:.1f}", f"{1000 * answers[-1]:.1f}",
        f"{late} of {len(answers):,}",
    ]  # fmt: skip


def main() -> None:
    """Send everything and write the figures into RESULTS.md; raises where an answer is wrong."""
    rows, faults = [], list[Outcome]()
    with (
        tempfile.TemporaryDirectory() as directory,
        up(Path(directory) / "data", **ENVIRONMENT) as (process, url),
        httpx.Client(base_url=url, timeout=120) as http,
    ):
        (api,) = processes_below(process.pid, "app.server", "--processes")
        for kind in KINDS:
            train_tiny(http, kind)
        for name, sending in {
            "hostile uploads": (send_upload(http, case) for case in hostile_cases()),
            "ordinary uploads": (send_upload(http, case) for case in ordinary_cases()),
            "hostile predictions": (send_question(http, one) for one in hostile_questions()),
            "ordinary predictions": (send_question(http, one) for one in ordinary_questions()),
        }.items():
            with watched(url, api) as watch:
                outcomes = list(sending)
            faults += [outcome for outcome in outcomes if outcome.fault]
            rows.append(_row(name, outcomes, watch))
    head = (
        "",
        "number",
        "seconds, median / most",
        "MiB more",
        "/healthz ms, median",
        "p99",
        "most",
        "> 100 ms",
    )
    report.write("hostile", "python -m benchmarks.hostile", f"{__doc__}\n{report.table(head, rows)}")
    if faults:
        raise RuntimeError(json.dumps([[one.name, one.fault] for one in faults], indent=1))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--watch"]:
        poll(sys.argv[2], int(sys.argv[3]))
    else:
        main()
