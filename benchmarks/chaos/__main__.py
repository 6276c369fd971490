"""Run the stream and the faults, wait for every job's end, judge; exits with 1 when anything is wrong."""

import argparse
import logging
import os
import shutil
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

from app.states import LIVE, Status
from benchmarks.chaos import figures
from benchmarks.chaos.faults import Holds, Mischief, Violence
from benchmarks.chaos.ledger import Ledger
from benchmarks.chaos.service import CHECKPOINT, LEASE, OWN_SERVERS, Servers, Service, fresh_servers, service
from benchmarks.chaos.stream import Stream
from benchmarks.chaos.verdict import Verdict, leaks
from benchmarks.chaos.watch import Watch
from benchmarks.report import write

MINUTES, RATE = 20.0, 10  # jobs a minute
GAP, KILL_GAP = 4.0, 2.0  # seconds between two faults of a source, on average
DATABASE, REDIS = "RECURRA_TEST_DATABASE_URL", "RECURRA_TEST_REDIS_URL"  # environment variables
EACH, LEAST = 30.0, 180.0  # seconds a job may still take when the faults are over, and all together
TEXT = """## {title}

`recurra up` and one more training worker on two cores, lease {lease:g} s, a checkpoint each {checkpoint:g} s;
{jobs} small trainings with {settings} different settings in {minutes:g} minutes (seed {seed}). One seeded
source of faults kills processes, every {kill_gap:g} seconds on average, two others strike every {gap:g}
seconds: {kills} times a process was killed with SIGKILL. The last job ended {late:.0f} s after the last
fault.

{faults}

{ends}

Answers: {answers}.

Medians of the first and the last third of a process's life, of each role the one that grew most:

{growth}

Files that the final sweep removed: {swept}. {verdict}"""


def main() -> None:
    """Run once; a run as long as the real one is written down."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--gap", type=float, default=GAP, help="seconds between two faults of a source")
    parser.add_argument("--kill-gap", type=float, default=KILL_GAP, help="the same of the one that kills")
    parser.add_argument("--servers", action="store_true", help=f"on those of {DATABASE} and {REDIS}")
    arguments = parser.parse_args()
    logging.getLogger("app").setLevel(logging.ERROR)  # Redis is away now and then
    directory = Path(tempfile.mkdtemp(prefix="chaos-"))
    plan = Run(directory, arguments.minutes, arguments.seed, arguments.gap, arguments.kill_gap)
    if arguments.servers:
        with fresh_servers(os.environ[DATABASE], os.environ[REDIS]) as servers:
            text, wrong = run(replace(plan, servers=servers, title="Chaos on PostgreSQL and Redis"))
    else:
        text, wrong = run(plan)
    if arguments.minutes >= MINUTES:
        gaps = f"GAP={plan.gap:g} KILL_GAP={plan.kill_gap:g}"
        options = f"MINUTES={plan.minutes:g} {gaps}{' SERVERS=1' if arguments.servers else ''}"
        write("chaos-servers" if arguments.servers else "chaos", f"make chaos {options}", text)
    else:
        print(f"\n{text}\n")
    for sentence in wrong:
        print(sentence)
    if wrong:
        print(f"{len(wrong)} things are wrong; everything is kept in {directory}")
        sys.exit(1)
    shutil.rmtree(directory)


@dataclass(frozen=True)
class Run:
    """What a run is asked for."""

    directory: Path
    minutes: float
    seed: int
    gap: float  # seconds between two faults of a source
    kill_gap: float  # the same of the source that kills
    servers: Servers = OWN_SERVERS
    title: str = "Chaos"


def run(plan: Run) -> tuple[str, list[str]]:
    """The section and what is wrong."""
    ledger = Ledger(plan.directory / "faults.log")
    jobs = round(RATE * plan.minutes)
    with service(plan.directory, plan.servers) as served:
        stream, watch = Stream(served, ledger, plan.seed), Watch(served)
        stream.prepare()
        watch.start()
        try:
            late = storm(served, stream, ledger, jobs, plan)
        finally:
            watch.stop()
        verdict = Verdict(served, stream, ledger)
        wrong = verdict.wrong()
        wrong += [f"a training has no job: {one}" for one in served.processes("training")]
        served.stop()
        wrong += [f"{one} lives although all was stopped" for one in served.left()]
        left, swept = leaks(served)
        wrong += [f"left on the disk: {name}" for name in left]
        growth = watch.growth()
        wrong += [f"{one} grows" for one in growth if not one.is_flat(plan.servers.pooled)]
        stream.http.close()
        text = TEXT.format(
            title=plan.title,
            lease=LEASE,
            checkpoint=CHECKPOINT,
            jobs=jobs,
            settings=len(stream.settings),
            minutes=plan.minutes,
            seed=plan.seed,
            gap=plan.gap,
            kill_gap=plan.kill_gap,
            kills=sum(fault.kind.startswith("kill") for fault in ledger.faults),
            late=late,
            faults=figures.faults(ledger, verdict.recoveries()),
            ends=figures.jobs(verdict.ends(), verdict.attempts()),
            answers=figures.answers(ledger),
            growth=figures.growth(growth),
            swept=swept,
            verdict=f"**Wrong: {len(wrong)}.**"
            if wrong
            else "Every job ended as it should, nothing is left.",
        )
    return text, wrong


def storm(served: Service, stream: Stream, ledger: Ledger, jobs: int, plan: Run) -> float:
    """Jobs and faults together, then calm; how many seconds after the last fault the last job ended."""
    stop = threading.Event()
    holds = Holds()
    sources = [
        Violence(served, ledger, plan.seed + 1, stop, plan.gap, holds, killer=False),
        Mischief(served, stream, ledger, plan.seed + 2, stop, plan.gap),
        Violence(served, ledger, plan.seed + 3, stop, plan.kill_gap, holds, killer=True),
    ]
    for source in sources:
        source.start()
    try:
        stream.run(jobs, 60 * plan.minutes, threading.Event())
    finally:
        stop.set()
        for source in sources:
            source.join()
    calm = time.monotonic()
    deadline = calm + max(LEAST, EACH * jobs)
    while served.live(*LIVE) and time.monotonic() < deadline:
        for job_id in served.live(Status.PAUSED):
            stream.order(job_id, "resume")
        time.sleep(0.5)
    late = time.monotonic() - calm
    while served.processes("training") and time.monotonic() < deadline:
        time.sleep(0.1)
    return late


if __name__ == "__main__":
    main()
