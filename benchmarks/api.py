"""What the web process costs: import, submit, poll with 304, predict, ready time."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import httpx

from benchmarks.report import table, write
from benchmarks.stack import checked, stack, train
from tests.support.fixtures.service import monthly

PROBE = """
import time
begun = time.perf_counter()
import app.main
print(time.perf_counter() - begun, int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20)
"""


def imported() -> tuple[float, float]:
    """Median seconds and MiB of `import app.main`."""
    runs = []
    for _ in range(7):
        out = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True).stdout
        runs.append([float(part) for part in out.split()])
    return statistics.median(run[0] for run in runs), statistics.median(run[1] for run in runs)


def timed(call: Callable[[], httpx.Response], status: int, times: int = 300) -> str:
    """Median and 99th percentile in milliseconds of a call that answers `status`."""
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        answer = call()
        taken.append(1000 * (time.perf_counter() - begun))
        if answer.status_code != status:
            raise RuntimeError(f"{answer.status_code} instead of {status}: {answer.text}")
    return f"{statistics.median(taken):.2f} / {statistics.quantiles(taken, n=100)[98]:.2f} ms"


def main() -> None:
    """Run and write the section."""
    seconds, mib = imported()
    begun = time.perf_counter()
    with stack() as http:
        ready = time.perf_counter() - begun
        files: Any = {"file": ("a.csv", monthly(months=72)), "task": (None, "forecasting")}
        dataset = checked(http.post("/v1/datasets", files=files))["id"]
        body = {"task": "forecasting", "dataset": dataset, "model": "m", "options": {"horizon": 6}}
        done, _ = train(http, body | {"training": {"epochs": 2}})
        job = f"/v1/jobs/{done['id']}"
        tag = {"If-None-Match": http.get(job).headers["etag"]}
        poll = timed(lambda: http.get(job, headers=tag), 304)
        instance = {"values": [float(k % 12) for k in range(72)]}
        predict = timed(lambda: http.post("/v1/models/m/predict", json={"instances": [instance]}), 200)
        blocker = checked(http.post("/v1/jobs", json=body | {"training": {"epochs": 10_000}}))["id"]
        http.post(f"/v1/jobs/{blocker}/cancel")
        submit = timed(lambda: http.post("/v1/jobs", json=body | {"training": {"epochs": 1}}), 202, 100)
        for one in checked(http.get("/v1/jobs", params={"limit": 200}))["data"]:
            http.post(f"/v1/jobs/{one['id']}/cancel")
    rows = [
        ["`import app.main`", f"{seconds:.2f} s, {mib:.0f} MiB resident"],
        ["`recurra up` to ready", f"{ready:.1f} s"],
        ["submit a job (median / p99)", submit],
        ["poll with `If-None-Match`, 304 (median / p99)", poll],
        ["predict one series of 72 values (median / p99)", predict],
    ]
    text = "## The web process\n\nOne client, embedded servers (SQLite, Valkey).\n\n" + table(
        ["what", "cost"], rows
    )
    write("api", "make bench-api", text)


if __name__ == "__main__":
    main()
