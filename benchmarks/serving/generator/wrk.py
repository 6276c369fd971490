"""The same servers under another load generator: `wrk`, which knows nothing of Recurra.

It counts statuses and does not read what is answered, as `generator` does.
"""

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.report import table, write
from benchmarks.serving.contestants import PEERS, RECURRA_UP
from benchmarks.serving.generator.messages import load_corpus
from benchmarks.serving.headline import SAME, counted, name_of
from benchmarks.serving.measure import Plan, served
from benchmarks.serving.predictions import REQUESTS, SUBJECTS, entries, subjects
from benchmarks.serving.rounds import Entry
from benchmarks.serving.settings import CLIENTS, Asked

NAMES = ("recurra", "mosec", "litserve", "fastapi")
WARMUP_SECONDS = 1
SCRIPT = """
local bodies, index = {{}}, 0
for line in io.lines("{bodies}") do bodies[#bodies + 1] = line end
function request()
  index = index % #bodies + 1
  return wrk.format("POST", nil, {{["Content-Type"] = "application/json"}}, bodies[index])
end
"""
TEXT = """## Serving under wrk

The servers and requests of the section before, asked by [wrk](https://github.com/wg/wrk), one thread, which
counts statuses and does not read what is answered. Requests/s, medians of {rounds} rounds in rotating order,
{seconds:g} s a cell; answers with another status than 200: {refused}. Behind them Recurra's figure, doing the
whole work, over the other's in the same round.

{tables}"""

Rates = dict[tuple[str, int], list[float]]  # by the name of an entry, and clients


def load(url: str, script: Path, clients: int, seconds: float) -> tuple[float, int]:
    """Answers a second, and how many of them had another status than 200."""
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds:g}s", "-s", str(script), url]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    other = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    return float(rate[1]) if rate else 0.0, int(other[1]) if other else 0


def measure(entry: Entry, rates: Rates) -> int:
    """Every number of clients against one server, started for it; returns the statuses other than 200."""
    plan = entry.plan
    bodies, script = plan.directory / "bodies", plan.directory / "script.lua"
    bodies.write_bytes(b"\n".join(load_corpus(plan.corpora[plan.usual]).bodies))
    script.write_text(SCRIPT.format(bodies=bodies))
    refused = 0
    with served(entry.contestant, plan) as server:
        url = f"http://127.0.0.1:{server.port}{entry.contestant.path}"
        for clients in plan.clients:
            load(url, script, clients, plan.warmup)
            rate, other = load(url, script, clients, plan.seconds)
            rates.setdefault((entry.name, clients), []).append(rate)
            refused += other
            print(f"{entry.name}, {clients}: {rate:,.0f}/s", flush=True)
    return refused


def cell(rates: Rates, entry: Entry, clients: int) -> str:
    """The median, and Recurra's share of it."""
    ours = name_of(entry.plan.model, RECURRA_UP, SAME)
    own, others = rates[ours, clients], rates[entry.name, clients]
    share = statistics.median(mine / other for mine, other in zip(own, others, strict=True))
    return f"{statistics.median(others):,.0f} · {share:.2f}"


def tables(rates: Rates, entered: Sequence[Entry], clients: Sequence[int]) -> str:
    """A table for each subject."""
    parts = []
    for subject in dict.fromkeys(entry.plan.model for entry in entered):
        rows = [
            [entry.contestant.label, *(cell(rates, entry, count) for count in clients)]
            for entry in entered
            if entry.plan.model == subject
        ]
        parts.append(table([subject, *map(counted, clients)], rows))
    return "\n\n".join(parts)


def main() -> None:
    """Run, and write the section."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.generator.wrk", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of a cell, whole ones")
    parser.add_argument("--data", nargs="+", choices=SUBJECTS, default=["forecast-64", "sentiment"])
    parser.add_argument("--only", nargs="+", choices=NAMES, default=["recurra", "mosec"])
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed; Debian and Homebrew have a package of that name")
    rates, refused = Rates(), 0
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        base = Plan(directory, directory, {}, PEERS, CLIENTS, options.seconds, WARMUP_SECONDS, usual=REQUESTS)
        requested = Asked(options.only, PEERS)
        entered = entries(list(subjects(options.data, directory)), base, requested)
        for number in range(options.rounds):
            shift = number % len(entered)
            for entry in [*entered[shift:], *entered[:shift]]:
                refused += measure(entry, rates)
    text = TEXT.format(
        rounds=options.rounds,
        seconds=options.seconds,
        refused=refused,
        tables=tables(rates, entered, CLIENTS),
    )
    write("serving-wrk", "make bench-serving-wrk", text)


if __name__ == "__main__":
    main()
