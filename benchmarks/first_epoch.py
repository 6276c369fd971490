"""How long a training that a worker has claimed says nothing: until the first epoch it reports.

Default options, through the service, the rest of which has nothing to do meanwhile. A job is cancelled after
its first epoch; each data set has three.
"""

import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import httpx

from app.typedefs import Json
from benchmarks.panel.__main__ import HORIZON, SERIES, STEPS, write_counts
from benchmarks.report import table, write
from benchmarks.stack import checked, stack, upload
from tests.support.fixtures.real_data import ROOT

TIMES = 3
TEXT = """## Until the first epoch

Seconds from the claim of a job by a worker (its event `running`) to its first event `epoch`, least, median
and most of {times} jobs with default options; what the epoch's own steps took is in it. Each job was
cancelled then. The first job of all starts the process that the others are forked from.

{rows}"""


@dataclass(frozen=True)
class Case:
    """A data set to train on."""

    name: str
    task: str
    path: Path
    options: Json = field(default_factory=dict)


def cases(directory: Path) -> Iterator[Case]:
    """Those of a first look at each kind of data, and the largest panel."""
    counts = directory / "counts.jsonl"
    write_counts(counts, SERIES)
    forecasting = ROOT / "forecasting"
    yield Case("M3 monthly", "forecasting", forecasting / "m3_monthly.train.jsonl", {"horizon": 18})
    yield Case("pedestrians, hourly", "forecasting", forecasting / "pedestrian_hourly.csv", {"horizon": 24})
    yield Case(f"{SERIES:,} series of {STEPS} counts", "forecasting", counts, {"horizon": HORIZON})
    yield Case("movie_snippets", "classification", ROOT / "classification" / "movie_snippets.jsonl")
    yield Case("JapaneseVowels", "classification", ROOT / "classification" / "JapaneseVowels.jsonl")
    yield Case("wnut16_ner", "tagging", ROOT / "tagging" / "wnut16_ner.jsonl")
    yield Case("spoken_digits", "speech", ROOT / "speech" / "spoken_digits.zip")
    yield Case("human_actions_depth", "video", ROOT / "video" / "human_actions_depth.zip")
    yield Case("jsb_chorales", "music", ROOT / "music" / "jsb_chorales.zip")


def silent_seconds(http: httpx.Client, body: Json) -> float:
    """Submit a job, wait for its first epoch, cancel it."""
    path = f"/v1/jobs/{checked(http.post('/v1/jobs', json=body))['id']}"
    claimed, after = None, 0
    while True:
        page = http.get(f"{path}/events", params={"after": after}, headers={"Prefer": "wait=30"})
        for event in checked(page)["data"]:
            after, at = event["seq"], datetime.fromisoformat(event["at"])
            if event["type"] == "status" and event["data"]["status"] == "running":
                claimed = claimed or at
            if event["type"] == "epoch" and claimed is not None:
                checked(http.post(f"{path}/cancel"))
                return (at - claimed).total_seconds()
        job = checked(http.get(path, headers={"Prefer": "wait=1"}))
        if job["status"] in {"succeeded", "failed", "cancelled"}:
            raise RuntimeError(f"no epoch of {body}: {job}")


def main() -> None:
    """Run and write the section."""
    rows = list[list[object]]()
    with stack() as http, tempfile.TemporaryDirectory() as directory:
        for case in cases(Path(directory)):
            dataset = upload(http, case.path, task=case.task)
            body = {"task": case.task, "dataset": dataset, "model": case.task, "options": case.options}
            seconds = [silent_seconds(http, body) for _ in range(TIMES)]
            shown = f"{min(seconds):.1f} / {statistics.median(seconds):.1f} / {max(seconds):.1f}"
            rows.append([case.name, case.task, shown])
            print(*rows[-1], flush=True)
    head = ["data", "task", "seconds, least / median / most"]
    write("first-epoch", "make bench-first-epoch", TEXT.format(times=TIMES, rows=table(head, rows)))


if __name__ == "__main__":
    main()
