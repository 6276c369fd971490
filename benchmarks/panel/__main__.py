"""A panel of many series through the service: upload, training, batch prediction; seconds and memory.

30,000 series of 200 counts, most of them zeros, as a retailer has. The first training starts its process, the
second finds one that has imported everything.
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import numpy as np
import orjson

from app.typedefs import Json
from benchmarks.report import table, write
from benchmarks.stack import checked, stack, upload

PROC = Path("/proc")
TRAINING, BATCH = "workers.process.fork_server", "workers.batch.child"  # programs of the children
SERIES, STEPS, HORIZON = 30_000, 200, 14
POLL_SECONDS = 0.05


class MemoryWatch:
    """The resident memory of a program's largest process, in MiB, a few times a second."""

    def __init__(self, program: str) -> None:
        self._program = program
        self.seen: list[float] = []
        self._ended = threading.Event()

    def run(self) -> None:
        """Look until `stop`."""
        while not self._ended.wait(POLL_SECONDS):
            sizes = [size for path in PROC.glob("[0-9]*") if (size := _resident(path, self._program))]
            self.seen += [max(sizes)] if sizes else []

    def stop(self) -> None:
        """End `run`."""
        self._ended.set()

    def part(self, first: float, last: float) -> float:
        """The largest in a part of the time, of which the shares are given."""
        count = len(self.seen)
        return max(self.seen[int(first * count) : max(int(last * count), 1)], default=0.0)


def _resident(process: Path, program: str) -> float:
    """MiB of a process that runs this program, else 0."""
    with suppress(OSError):
        if program.encode() in (process / "cmdline").read_bytes().split(b"\0"):
            return int((process / "statm").read_text().split()[1]) * 4096 / 2**20
    return 0.0


@contextmanager
def memory_watch(program: str) -> Iterator[MemoryWatch]:
    """Watches while the block runs."""
    watch = MemoryWatch(program)
    thread = threading.Thread(target=watch.run, daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        watch.stop()
        thread.join()


def write_counts(path: Path, series: int) -> None:
    """Daily sales with a week, a trend and a level of each series: a gamma mixture of Poisson counts."""
    rng, day = np.random.default_rng(0), np.arange(STEPS)
    week = np.exp(rng.normal(0, 0.3, (series, 7)))
    trend = np.exp(np.linspace(-0.2, 0.2, STEPS) * rng.normal(size=(series, 1)))
    rate = rng.gamma(0.6, 2.0, (series, 1)) * week[:, day % 7] * trend  # (series, steps)
    values = rng.poisson(rng.gamma(2.0, rate / 2.0))
    with path.open("wb") as file:
        for index, row in enumerate(values.tolist()):
            line = {"item_id": f"sku_{index:05d}", "start": "2025-01-01", "freq": "D", "target": row}
            file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


def follow(http: httpx.Client, job: Json) -> tuple[Json, float | None, float]:
    """The finished job, and the seconds from its claim to its first step and to its end."""
    claimed = first = None
    while job["status"] in {"queued", "running"}:
        now = time.perf_counter()
        claimed = now if claimed is None and job["status"] == "running" else claimed
        if claimed is not None and first is None and (job["progress"] or {}).get("step"):
            first = now - claimed
        time.sleep(POLL_SECONDS)
        job = checked(http.get(f"/v1/jobs/{job['id']}"))
    if job["status"] != "succeeded":
        raise RuntimeError(f"{job['status']}: {job['error']}")
    return job, first, time.perf_counter() - (claimed or time.perf_counter())


def measure(http: httpx.Client, path: Path) -> list[list[object]]:
    """The rows of the table."""
    begun = time.perf_counter()
    dataset = upload(http, path, task="forecasting")
    lines: list[list[object]] = [["upload", f"{time.perf_counter() - begun:.1f}", "", ""]]
    body = {"task": "forecasting", "dataset": dataset, "model": "panel", "training": {"epochs": 1}}
    for label in ("first training", "second training"):
        with memory_watch(TRAINING) as watch:
            job = checked(http.post("/v1/jobs", json=body | {"options": {"horizon": HORIZON}}))
            _, first, whole = follow(http, job)
        shown = "" if first is None else f"{first:.1f}"
        lines.append([f"{label}, one epoch and a refit", f"{whole:.1f}", shown, f"{watch.part(0, 1):.0f}"])
    with memory_watch(BATCH) as watch:
        job = checked(http.post("/v1/models/panel/batch-predictions", json={"dataset": dataset}))
        job, _, whole = follow(http, job)
    if job["metrics"]["failed"]:
        raise RuntimeError(f"not predicted: {job['metrics']}")
    memory = f"{watch.part(0.3, 0.6):.0f}, then {watch.part(0.6, 1):.0f}"
    return [*lines, ["batch prediction", f"{whole:.1f}", "", memory]]


def main() -> None:
    """Run and write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=SERIES)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, stack() as http:
        path = Path(name) / "counts.jsonl"
        write_counts(path, chosen.series)
        lines = measure(http, path)
    head = ["what", "s", "s from claim to first step", "largest child, MiB"]
    text = f"""## A panel of {chosen.series:,} series

{chosen.series:,} series of {STEPS} counts, horizon {HORIZON}, through `recurra up`, default options.
Memory is resident and counts what a child shares with the process that it was forked from.

{table(head, lines)}"""
    if chosen.series == SERIES:
        write("panel", "make bench-panel", text)
    else:
        print(text)


if __name__ == "__main__":
    main()
