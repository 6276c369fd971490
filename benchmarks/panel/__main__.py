"""Much data through the service: upload, training, batch prediction; seconds and memory.

30,000 series of 200 counts, most of them zeros, as a retailer has; then one series of a million minutes. The
first training starts its process, the second finds one that has imported everything.
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
MINUTES, HOUR = 1_000_000, 60
MAX_SECONDS = 300  # of a whole training


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


def write_minutes(path: Path, steps: int) -> None:
    """A CSV of a load that is measured each minute: a day, a week and slow noise."""
    rng, minute = np.random.default_rng(1), np.arange(steps)
    day, week = 2 * np.pi * minute / 1440, 2 * np.pi * minute / 10080
    noise = np.zeros(steps)
    for block in range(0, steps, HOUR):  # a random walk by the hour that returns to its mean
        noise[block : block + HOUR] = 0.95 * noise[block - 1] + rng.normal(0, 3)
    usual = 200 + 40 * np.sin(day) + 15 * np.sin(2 * day) + 20 * np.sin(week)
    values = usual + noise + rng.normal(0, 2, steps)
    stamps = np.datetime64("2024-01-01T00:00") + minute
    lines = (f"{stamp},{value:.2f}" for stamp, value in zip(stamps.astype(str), values, strict=True))
    path.write_text("ds,y\n" + "\n".join(lines) + "\n")


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


def train_once(http: httpx.Client, dataset: str, label: str, horizon: int, training: Json) -> list[object]:
    """A training's row of the table, with what its version is worth beside the seasonal naive forecast."""
    body = {"task": "forecasting", "dataset": dataset, "model": dataset, "options": {"horizon": horizon}}
    with memory_watch(TRAINING) as watch:
        job = checked(http.post("/v1/jobs", json=body | {"training": training}))
        job, first, whole = follow(http, job)
    version = checked(http.get(f"/v1/models/{dataset}/versions/{job['model_version']}"))
    pinball = f"{version['metrics']['pinball']:.3f} / {version['baseline']['pinball']:.3f}"
    shown = "" if first is None else f"{first:.1f}"
    row: list[object] = [label, f"{whole:.1f}", shown, f"{watch.part(0, 1):.0f}", pinball]
    print(*row, flush=True)
    return row


def uploaded(http: httpx.Client, path: Path, label: str) -> tuple[str, list[object]]:
    """The data set of a file, and the row of its upload."""
    begun = time.perf_counter()
    dataset = upload(http, path, task="forecasting")
    return dataset, [label, f"{time.perf_counter() - begun:.1f}", "", "", ""]


def measure_panel(http: httpx.Client, path: Path) -> list[list[object]]:
    """The panel's rows of the table."""
    dataset, row = uploaded(http, path, "panel: upload")
    lines = [row]
    for label in ("first", "second"):
        text = f"panel: {label} training, one epoch and a refit"
        lines.append(train_once(http, dataset, text, HORIZON, {"epochs": 1}))
    text = f"panel: default training, `max_seconds` {MAX_SECONDS}"
    lines.append(train_once(http, dataset, text, HORIZON, {"max_seconds": MAX_SECONDS}))
    with memory_watch(BATCH) as watch:
        job = checked(http.post(f"/v1/models/{dataset}/batch-predictions", json={"dataset": dataset}))
        job, _, whole = follow(http, job)
    if job["metrics"]["failed"]:
        raise RuntimeError(f"not predicted: {job['metrics']}")
    memory = f"{watch.part(0.3, 0.6):.0f}, then {watch.part(0.6, 1):.0f}"
    return [*lines, ["panel: batch prediction", f"{whole:.1f}", "", memory, ""]]


def measure_minutes(http: httpx.Client, path: Path) -> list[list[object]]:
    """The long series' rows."""
    dataset, row = uploaded(http, path, "minutes: upload")
    text = f"minutes: default training, `max_seconds` {MAX_SECONDS}"
    return [row, train_once(http, dataset, text, HOUR, {"max_seconds": MAX_SECONDS})]


def main() -> None:
    """Run and write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=SERIES)
    parser.add_argument("--minutes", type=int, default=MINUTES)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, stack() as http:
        counts, minutes = Path(name) / "counts.jsonl", Path(name) / "minutes.csv"
        write_counts(counts, chosen.series)
        write_minutes(minutes, chosen.minutes)
        lines = measure_panel(http, counts) + measure_minutes(http, minutes)
    head = ["what", "s", "s from claim to first step", "largest child, MiB", "pinball loss / seasonal naive"]
    text = f"""## Much data

{chosen.series:,} series of {STEPS} counts, horizon {HORIZON}, and one series of {chosen.minutes:,} minutes,
horizon {HOUR}, both synthetic, through `recurra up`, default options where not said otherwise. Memory is
resident and counts what a child shares with the process that it was forked from. Pinball losses are of
held-out horizons.

{table(head, lines)}"""
    if (chosen.series, chosen.minutes) == (SERIES, MINUTES):
        write("much-data", "make bench-panel", text)
    else:
        print(text)


if __name__ == "__main__":
    main()
