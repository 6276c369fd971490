"""Two hundred ordinary clients while each attack runs in turn: what they wait for, and what is wrong.

They ask for /healthz, poll a job, and forecast with two models; every forecast is compared with the first one
of its kind. An attack lasts for some seconds; what follows begins two seconds after it ended.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import msgspec

from app.typedefs import Json
from benchmarks import report
from benchmarks.attacks.attacks import ATTACKS, Target, predictions
from benchmarks.attacks.clients import Group, Order, Sample, percentile
from benchmarks.serving.processes import memory_mib, tree
from benchmarks.stack import train, upload
from tests.support.fixtures.processes import up

SERIES = report.ROOT / "app" / "samples" / "seattle_weather.csv"
SMALL: Json = {"network": {"hidden_size": 32, "layers": 1}, "training": {"epochs": 1}}
MODELS = ("forecasts", "more-forecasts", "attacked")
HEALTH, POLLS = "/healthz", "polls of a job"
CLIENTS = {HEALTH: 30, POLLS: 70, "forecasts": 60, "more-forecasts": 40}
PAUSE_SECONDS = 1.0
RECOVERY_SECONDS = 2.0
LIMITS_MS = {HEALTH: 50.0, POLLS: 250.0}
SLOWER, SLOWER_MS = 2.0, 50.0  # than without an attack, that a forecast's p99 may be


@dataclass(frozen=True)
class Phase:
    """A time in which one thing happened."""

    name: str
    begun: float  # epoch seconds
    ended: float
    late: Sequence[float] = ()

    def of(self, samples: Sequence[Sample], group: str) -> list[Sample]:
        """The requests of a group that were sent in it."""
        return [one for one in samples if one.group == group and self.begun <= one.sent < self.ended]


def train_small(http: httpx.Client, dataset: str, model: str) -> str:
    """Train a small model; returns the id of its job."""
    body = {"task": "forecasting", "dataset": dataset, "model": model, "options": {"horizon": 7}, **SMALL}
    return str(train(http, body)[0]["id"])


def request(method: str, path: str, body: bytes = b"") -> bytes:
    """The bytes of one."""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def groups(http: httpx.Client, job: str) -> Iterator[Group]:
    """The ordinary clients."""
    yield Group(HEALTH, request("GET", HEALTH), CLIENTS[HEALTH], PAUSE_SECONDS)
    yield Group(POLLS, request("GET", f"/v1/jobs/{job}"), CLIENTS[POLLS], PAUSE_SECONDS)
    for model in MODELS[:2]:
        body, path = predictions(1, 64), f"/v1/models/{model}/predict"
        expected = http.post(path, content=body).raise_for_status().content
        yield Group(model, request("POST", path, body), CLIENTS[model], PAUSE_SECONDS, expected)


@contextmanager
def asking(order: Order, samples: list[Sample]) -> Iterator[None]:
    """Have the clients ask while the block runs."""
    command = [sys.executable, "-m", "benchmarks.attacks.clients"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=report.ROOT) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the clients have no pipes")
        process.stdin.write(msgspec.json.encode(order) + b"\n")
        process.stdin.flush()
        process.stdout.readline()
        try:
            yield
        finally:
            seen, _ = process.communicate()
            samples += msgspec.json.decode(seen, type=list[Sample])


def play(url: str, dataset: str, names: Sequence[str], seconds: float) -> Iterator[Phase]:
    """A quiet time, after all clients have connected, then each attack with a quiet time after it."""
    time.sleep(RECOVERY_SECONDS)
    begun = time.time()
    time.sleep(seconds)
    yield Phase("no attack", begun, time.time())
    for name in names:
        late: list[float] = []
        begun = time.time()
        ATTACKS[name](Target(url, MODELS[2], dataset, time.monotonic() + seconds, late))
        yield Phase(name, begun, time.time(), late)
        time.sleep(RECOVERY_SECONDS)
        begun = time.time()
        time.sleep(min(seconds, 5.0))
        yield Phase(f"2 s after {name}", begun, time.time())


def row(phase: Phase, samples: Sequence[Sample], quiet: Phase) -> tuple[list[str], bool]:
    """The figures of a phase, and whether all of them are as they must be."""
    cells, reached = [phase.name, f"{phase.ended - phase.begun:.0f}"], True
    faults = wrong = 0
    for group in CLIENTS:
        seen = phase.of(samples, group)
        p99 = 1000 * percentile([one.seconds for one in seen if one.status == 200], 0.99)
        unloaded = 1000 * percentile([one.seconds for one in quiet.of(samples, group)], 0.99)
        limit = LIMITS_MS.get(group, SLOWER * unloaded + SLOWER_MS)
        faults += sum(one.status != 200 for one in seen)
        wrong += sum(one.wrong for one in seen)
        holds = bool(seen) and p99 < limit
        reached &= holds
        cells.append(f"{p99:.0f}" if holds else f"**{p99:.0f}**")
    late = f"{1000 * percentile(phase.late, 0.99):.0f}" if phase.late else ""
    cells += [str(faults), str(wrong), late]
    return cells, reached and not wrong


def main() -> None:
    """Run, and write the section; a shorter run only prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attacks", description=__doc__)
    parser.add_argument("--seconds", type=float, default=40.0, help="of each attack")
    parser.add_argument("--only", nargs="+", choices=list(ATTACKS), default=list(ATTACKS))
    chosen = parser.parse_args()
    samples: list[Sample] = []
    with (
        tempfile.TemporaryDirectory() as directory,
        up(Path(directory) / "data") as (process, url),
        httpx.Client(base_url=url, timeout=120) as http,
    ):
        dataset = upload(http, SERIES, task="forecasting")
        jobs = [train_small(http, dataset, model) for model in MODELS]
        order = Order(http.base_url.port or 80, list(groups(http, jobs[0])))
        before = memory_mib(process.pid)
        with asking(order, samples):
            phases = list(play(url, dataset, chosen.only, chosen.seconds))
        after, processes = memory_mib(process.pid), len(tree(process.pid))
    rows, reached = [], 0
    for phase in phases:
        cells, holds = row(phase, samples, phases[0])
        rows.append(cells)
        reached += holds
    head = ["", "seconds", *(f"{name}, p99 ms" for name in CLIENTS), "not answered", "wrong", "late, p99 ms"]
    text = (
        f"## Attacks\n\n{__doc__}\n{len(samples):,} requests of {sum(CLIENTS.values())} clients. Bold: above "
        f"its limit (50 ms, 250 ms, twice the p99 without an attack and 50 ms). All is as it must be in "
        f"{reached} of {len(phases)} phases. Memory of all {processes} processes before and after: "
        f"{before:.0f} and {after:.0f} MiB.\n\n{report.table(head, rows)}"
    )
    if chosen.only == list(ATTACKS) and chosen.seconds >= 40:
        report.write("attacks", "make bench-attacks", text)
    else:
        print(text)


if __name__ == "__main__":
    main()
