"""Run the stream and the faults, wait for every job's end, judge; exits with 1 when anything is wrong."""

import argparse
import logging
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

from app.states import LIVE, Status
from benchmarks.chaos import figures
from benchmarks.chaos.faults import Mischief, Violence
from benchmarks.chaos.ledger import Ledger
from benchmarks.chaos.service import CHECKPOINT, LEASE, Service, service
from benchmarks.chaos.stream import Stream
from benchmarks.chaos.verdict import Verdict, leaks
from benchmarks.chaos.watch import Watch
from benchmarks.report import write

MINUTES, RATE = 20.0, 10  # jobs a minute
EACH, LEAST = 30.0, 180.0  # seconds a job may still take when the faults are over, and all together
TEXT = """## Chaos

`recurra up` and one more training worker on two cores, lease {lease:g} s, a checkpoint each {checkpoint:g} s;
{jobs} small trainings with {settings} different settings in {minutes:g} minutes (seed {seed}), while two
seeded sources of faults strike every four seconds on average. The last job ended {late:.0f} s after the last
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
    arguments = parser.parse_args()
    logging.getLogger("app").setLevel(logging.ERROR)  # Redis is away now and then
    directory = Path(tempfile.mkdtemp(prefix="chaos-"))
    text, wrong = run(directory, arguments.minutes, arguments.seed)
    if arguments.minutes >= MINUTES:
        write("chaos", f"make chaos MINUTES={arguments.minutes:g}", text)
    else:
        print(f"\n{text}\n")
    for sentence in wrong:
        print(sentence)
    if wrong:
        print(f"{len(wrong)} things are wrong; everything is kept in {directory}")
        sys.exit(1)
    shutil.rmtree(directory)


def run(directory: Path, minutes: float, seed: int) -> tuple[str, list[str]]:
    """The section and what is wrong."""
    ledger = Ledger(directory / "faults.log")
    jobs = round(RATE * minutes)
    with service(directory) as served:
        stream, watch = Stream(served, ledger, seed), Watch(served)
        stream.prepare()
        watch.start()
        try:
            late = storm(served, stream, ledger, jobs, 60 * minutes, seed)
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
        wrong += [f"{one} grows" for one in growth if not one.flat]
        stream.http.close()
        text = TEXT.format(
            lease=LEASE,
            checkpoint=CHECKPOINT,
            jobs=jobs,
            settings=len(stream.settings),
            minutes=minutes,
            seed=seed,
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


def storm(served: Service, stream: Stream, ledger: Ledger, jobs: int, seconds: float, seed: int) -> float:
    """Jobs and faults together, then calm; how many seconds after the last fault the last job ended."""
    stop = threading.Event()
    sources = [Violence(served, ledger, seed + 1, stop), Mischief(served, stream, ledger, seed + 2, stop)]
    for source in sources:
        source.start()
    try:
        stream.run(jobs, seconds, threading.Event())
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
