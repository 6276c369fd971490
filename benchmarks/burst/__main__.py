"""Run the bursts and write the section."""

import argparse
import os

from benchmarks.burst.figures import bursts, targets
from benchmarks.burst.measure import EMBEDDED, ClientMix, Result, Servers, measure
from benchmarks.report import write

JOBS, WATCH = 1000, 60.0
CLIENT_MIXES = (
    ClientMix("one after the other"),
    ClientMix("8 at a time", submitters=8),
    ClientMix("one after the other, impatient clients", waiters=0, pause=0.25),
)
TEXT = """## A burst of jobs

`recurra up` on an empty directory; {jobs:,} small training jobs are submitted over HTTP while {clients}
clients poll random ones of them with `If-None-Match`: {waiters} with `Prefer: wait=10`, the others as often
as `Retry-After` says, each second (impatient ones: four times a second, and none waits). The training worker
begins with the first job and shares the cores with the API and the clients, a process of their own.
Milliseconds:

{bursts}

Jobs are in order when none was taken before one whose submit was answered before its own was sent;
looked at {watch:g} s after the burst. No answer counts as an error.

{targets}"""


def main() -> None:
    """Measure; a smaller burst only prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.burst", description=__doc__)
    parser.add_argument("--jobs", type=int, default=JOBS)
    parser.add_argument("--watch", type=float, default=WATCH, help="seconds to look at the order")
    parser.add_argument("--database", default=os.environ.get("RECURRA_TEST_DATABASE_URL", ""))
    parser.add_argument("--redis", default=os.environ.get("RECURRA_TEST_REDIS_URL", ""))
    arguments = parser.parse_args()
    places = [EMBEDDED]
    if arguments.database and arguments.redis:
        places.append(Servers("PostgreSQL, Redis", arguments.database, arguments.redis))
    results: list[Result] = []
    for servers in places:
        for client_mix in CLIENT_MIXES:
            results.append(measure(servers, client_mix, arguments.jobs, arguments.watch))
            print(f"{servers.label}, {client_mix.label}: {results[-1].summary}", flush=True)
    first = CLIENT_MIXES[0]
    text = TEXT.format(
        jobs=arguments.jobs,
        clients=first.pollers,
        waiters=first.waiters,
        watch=arguments.watch,
        bursts=bursts(results),
        targets=targets(results),
    )
    if arguments.jobs >= JOBS and arguments.watch >= WATCH:
        write("burst", "make bench-burst", text)
    else:
        print(f"\n{text}\n")


if __name__ == "__main__":
    main()
