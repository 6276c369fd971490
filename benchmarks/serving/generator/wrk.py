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
from dataclasses import replace
from pathlib import Path

from benchmarks.report import table, write
from benchmarks.serving.contestants import PEERS, Contestant
from benchmarks.serving.headline import SAME
from benchmarks.serving.measure import Plan, served
from benchmarks.serving.predictions import REQUESTS, SUBJECTS, Subject, contestants, subjects
from benchmarks.serving.settings import CLIENTS

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

Rates = dict[tuple[str, str, str, int], list[float]]  # by subject, contestant, its work and clients


def load(url: str, script: Path, clients: int, seconds: float) -> tuple[float, int]:
    """Answers a second, and how many of them had another status than 200."""
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds:g}s", "-s", str(script), url]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    other = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    return float(rate[1]) if rate else 0.0, int(other[1]) if other else 0


def measure(subject: Subject, contestant: Contestant, work: str, base: Plan, rates: Rates) -> int:
    """Every number of clients against one server, started for it; returns the statuses other than 200."""
    corpus = subject.made.corpus if work == SAME or subject.network is None else subject.network
    file = corpus.save(base.directory / f"{subject.name}.corpus")
    bodies, script = base.directory / "bodies", base.directory / "script.lua"
    bodies.write_bytes(b"\n".join(corpus.bodies))
    script.write_text(SCRIPT.format(bodies=bodies))
    plan = replace(
        base,
        artifact=subject.made.artifact,
        corpora={REQUESTS: file},
        task=subject.made.row.task,
        model=subject.name,
    )
    refused = 0
    with served(contestant, plan) as server:
        url = f"http://127.0.0.1:{server.port}{contestant.path}"
        for clients in base.clients:
            load(url, script, clients, WARMUP_SECONDS)
            rate, other = load(url, script, clients, base.seconds)
            rates.setdefault((subject.name, contestant.name, work, clients), []).append(rate)
            refused += other
            print(f"{subject.name}, {contestant.label}, {work}, {clients}: {rate:,.0f}/s", flush=True)
    return refused


def cell(rates: Rates, subject: str, name: str, work: str, clients: int) -> str:
    """The median, and Recurra's share of it."""
    own, others = rates[subject, "recurra", SAME, clients], rates[subject, name, work, clients]
    share = statistics.median(mine / other for mine, other in zip(own, others, strict=True))
    return f"{statistics.median(others):,.0f} · {share:.2f}"


def tables(rates: Rates, clients: Sequence[int]) -> str:
    """A table for each subject."""
    parts = []
    for subject in dict.fromkeys(key[0] for key in rates):
        known = dict.fromkeys(key[1:3] for key in rates if key[0] == subject)
        rows = [
            [f"{name}, {work}", *(cell(rates, subject, name, work, count) for count in clients)]
            for name, work in known
        ]
        head = [subject, *(f"{count} clients" if count > 1 else "1 client" for count in clients)]
        parts.append(table(head, rows))
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
        entries = [
            (subject, contestant, work)
            for subject in subjects(options.data, directory)
            for contestant, work in contestants(subject)
            if contestant.name in options.only
        ]
        for number in range(options.rounds):
            shift = number % len(entries)
            for subject, contestant, work in [*entries[shift:], *entries[:shift]]:
                refused += measure(subject, contestant, work, base, rates)
    text = TEXT.format(
        rounds=options.rounds, seconds=options.seconds, refused=refused, tables=tables(rates, CLIENTS)
    )
    write("serving-wrk", "make bench-serving-wrk", text)


if __name__ == "__main__":
    main()
