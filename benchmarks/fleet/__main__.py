"""`make bench-fleet`: what a fleet costs its database, and 100 workers with 10,000 jobs on it."""

import argparse
import os
import statistics
import threading
import time
from dataclasses import dataclass

from sqlalchemy import func, select

from app.database.engine import make_engine, make_sessions
from app.database.tables import Job
from app.states import Status
from benchmarks.fleet.costs import Cost, measure_costs
from benchmarks.fleet.server import fresh_database, queue_jobs, server_cpu_seconds
from benchmarks.fleet.simulation import Tally, run_fleet
from benchmarks.report import table, write

QUEUES = (10, 1000, 10_000)
TIMES = 100
TIMED = ("claim", "heartbeat", "end", "dispatch pass")
TEXT = """## A fleet

What each operation costs PostgreSQL on the same two cores, by the number of queued jobs: the median seconds
that its caller waits, and the server's own processor time.

{costs}

{workers} simulated workers on {jobs:,} jobs of {seconds:g} s: every statement is that of the service, no job
trains anything. At best {ideal:.3g} jobs end in a second. Two figures are median and 99th percentile.

{fleet}"""


@dataclass(frozen=True)
class FleetResult:
    """One simulation."""

    seconds: float
    cores: float | None  # of the server, on average
    tally: Tally
    succeeded: int  # jobs, each at its first attempt


def simulate(url: str, workers: int, jobs: int, job_seconds: float, processes: int) -> FleetResult:
    """Queue jobs, have the workers run all of them, and look what became of each."""
    engine = make_engine(url)
    ids = queue_jobs(engine, jobs)
    cpu = _CpuSampler(url)
    begun = time.monotonic()
    cpu.start()
    tally = run_fleet(url, workers, job_seconds, processes)
    seconds = time.monotonic() - begun
    cores = cpu.stop()
    with make_sessions(engine)() as session:
        query = select(func.count(Job.id)).where(
            Job.status == Status.SUCCEEDED, Job.attempt == 1, Job.id >= ids[0], Job.id <= ids[-1]
        )
        succeeded = session.scalar(query) or 0
    engine.dispose()
    return FleetResult(seconds, cores, tally, succeeded)


class _CpuSampler:
    """The server's processor time while its connections live: it goes with them."""

    def __init__(self, url: str) -> None:
        self._engine = make_engine(url)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._samples: list[tuple[float, float]] = []

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> float | None:
        """Processors that were busy between the first sample and the largest; None if nothing says so."""
        self._ended.set()
        self._thread.join()
        self._engine.dispose()
        if len(self._samples) < 2:
            return None
        first, last = self._samples[0], max(self._samples, key=lambda sample: sample[1])
        return (last[1] - first[1]) / max(last[0] - first[0], 1e-9)

    def _run(self) -> None:
        while not self._ended.wait(1.0):
            if (spent := server_cpu_seconds(self._engine)) is not None:
                self._samples.append((time.monotonic(), spent))


def cost_table(costs: list[Cost]) -> str:
    """A row for each operation and number of queued jobs."""
    rows = [
        [
            cost.name, f"{cost.queued:,}", f"{1000 * cost.seconds:.2f}",
            "" if cost.cpu_seconds is None else f"{1000 * cost.cpu_seconds:.2f}",
            "" if cost.per_worker is None else f"{cost.per_worker:g}",
        ]
        for cost in costs
    ]  # fmt: skip
    return table(
        ["operation", "queued", "ms, median", "ms of the server's processor", "a second and worker"], rows
    )


def fleet_table(result: FleetResult, jobs: int) -> str:
    """What became of the simulation."""
    row = [
        f"{result.succeeded:,} of {jobs:,}",
        f"{result.succeeded / result.seconds:.1f}",
        "" if result.cores is None else f"{result.cores:.2f}",
        *(quantiles(result.tally.seconds.get(name, [])) for name in TIMED),
        f"{result.tally.claims_lost:,}",
        result.tally.leases_lost,
        result.tally.errors,
    ]
    head = ["succeeded at once", "jobs a second", "processors of the server", "claim, ms"]
    return table(
        [*head, "heartbeat, ms", "end, ms", "pass, ms", "claims lost", "leases lost", "errors"], [row]
    )


def quantiles(seconds: list[float]) -> str:
    """Median and 99th percentile in milliseconds."""
    if len(seconds) < 2:
        return ""
    cuts = statistics.quantiles(seconds, n=100)
    return f"{1000 * cuts[49]:.1f} / {1000 * cuts[98]:.0f}"


def main() -> None:
    """Measure and simulate, and write the section of RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=0.5, help="of a job")
    parser.add_argument("--processes", type=int, default=4, help="in which the workers are threads")
    arguments = parser.parse_args()
    server = os.environ.get("RECURRA_TEST_DATABASE_URL")
    if not server:
        parser.error("RECURRA_TEST_DATABASE_URL names no PostgreSQL server")
    with fresh_database(server) as url:
        engine = make_engine(url)
        costs = [cost for queued in QUEUES for cost in measure_costs(engine, queued, TIMES)]
        engine.dispose()
    costs.sort(key=lambda cost: (cost.name, cost.queued))
    print(cost_table(costs), flush=True)
    with fresh_database(server) as url:
        result = simulate(url, arguments.workers, arguments.jobs, arguments.seconds, arguments.processes)
    text = TEXT.format(
        costs=cost_table(costs), fleet=fleet_table(result, arguments.jobs), workers=arguments.workers,
        jobs=arguments.jobs, seconds=arguments.seconds, ideal=arguments.workers / arguments.seconds,
    )  # fmt: skip
    write("fleet", "make bench-fleet", text)


if __name__ == "__main__":
    main()
