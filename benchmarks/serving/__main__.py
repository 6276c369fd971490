"""Recurra and other servers in turn, with the same network, bodies, cores and load generator."""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.report import write
from benchmarks.serving.contestants import CONTESTANTS, PEERS, Contestant
from benchmarks.serving.corpus import BODIES, artifact, corpora
from benchmarks.serving.figures import closed, opened
from benchmarks.serving.measure import Plan, Result, ceiling, measure
from benchmarks.serving.processes import NoAnswer
from benchmarks.serving.targets import comparison

NAMES = [one.name for one in CONTESTANTS]
CLIENTS = (1, 8, 32, 128)
TEXT = """## Serving

One LSTM (8 features, 64 units, 64 steps, 8 outputs), the same ONNX file behind each server; servers run one
after the other, alone with the load generator. Requests are Open Inference Protocol JSON of 4.4 kB, {bodies}
different ones, and every reply is compared with what its own request should give. One API process and one
model process each (FastAPI and BentoML: one for both), ONNX Runtime on one thread, access logs off, batches
of at most 64 where the server batches. Medians of {rounds} rounds in rotating order, {seconds:g} s a cell.
Against a server that computes nothing the load generator reaches {ceiling:,.0f} requests/s at 32 clients.

Requests/s · p50 / p99 in milliseconds:

{closed}

Open loop: Poisson arrivals at that share of the server's own best closed loop; requests/s: p50 / p99 in
milliseconds from the time a request was due. Errors and wrong replies of all cells. CPU a request (at the
most clients), idle CPU (of one core) and memory (proportional set size) are of all of a server's processes.

{opened}

Recurra's figure over the other's in the same round:

{comparison}"""


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of a cell, after a second of warm-up")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--clients", nargs="+", type=int, default=CLIENTS)
    parser.add_argument("--python", type=Path, default=PEERS, help="the peers' interpreter")
    parser.add_argument("--smoke", action="store_true", help="one round of one-second cells")
    return parser.parse_args()


def play(contestants: Sequence[Contestant], plan: Plan, rounds: int) -> list[dict[str, Result]]:
    """All rounds, each with the next contestant first."""
    played: list[dict[str, Result]] = []
    for number in range(rounds):
        shift = number % len(contestants)
        results = {}
        for one in [*contestants[shift:], *contestants[:shift]]:
            try:
                results[one.name] = measure(one, plan, seed=number)
                told = results[one.name].line()
            except NoAnswer as failure:
                told = f"left out of this round: {failure}"
            print(f"round {number + 1}, {one.label}: {told}", flush=True)
        played.append(results)
    return played


def main() -> None:
    """Run and write the section; a partial run only prints."""
    asked = arguments()
    whole = asked.only == NAMES and tuple(asked.clients) == CLIENTS and not asked.smoke
    rounds, seconds = (1, 1.0) if asked.smoke else (asked.rounds, asked.seconds)
    contestants = [one for one in CONTESTANTS if one.name in asked.only]
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        network = artifact(directory / "artifact")
        files = corpora(directory, network / "model.onnx")
        idle = 1.0 if asked.smoke else 5.0
        plan = Plan(directory, network, files, asked.python, asked.clients, seconds, min(1.0, seconds), idle)
        most = ceiling(plan)
        played = play(contestants, plan, rounds)
    text = TEXT.format(
        bodies=BODIES,
        rounds=rounds,
        seconds=seconds,
        ceiling=most.rate,
        closed=closed(played, asked.clients),
        opened=opened(played),
        comparison=comparison(played, asked.clients),
    )
    missing = [one.label for one in contestants for each in played if one.name not in each]
    text += f"\n\nDid not start in a round: {', '.join(missing)}." if missing else ""
    if whole:
        write("serving", "make bench-serving", text)
    else:
        print(f"\n{text}\n")


if __name__ == "__main__":
    main()
