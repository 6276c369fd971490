"""The part about text: sentiment and tagging behind Recurra, and in FastAPI's own process."""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.report import table, write
from benchmarks.serving import numeric
from benchmarks.serving.contestants import RECURRA_UP, Contestant
from benchmarks.serving.figures import closed, opened
from benchmarks.serving.measure import Plan, Result
from benchmarks.serving.requests.sentences import ROWS, describe, make
from benchmarks.serving.requests.versions import Made, Row
from benchmarks.serving.rounds import Entry, absent, play
from benchmarks.serving.settings import Asked
from benchmarks.serving.targets import Round, Target, ratios
from tests.support.fixtures.real_data import ROOT

APP = ["-m", "uvicorn", "benchmarks.serving.peers.text_app:app", "--port", "{port}", "--no-access-log"]
FASTAPI = Contestant("fastapi", "FastAPI, model in its process", [sys.executable, *APP], path="/predict")
REQUESTS = "requests"  # the corpus of a row
NUMBERS = "numbers"  # Recurra's row of the other part, measured in the same rounds
TEXT = """## Serving text

Networks of the default architecture, trained for seconds on a slice of real data: speed does not depend on
how good they are. Requests are `POST /v1/models/{{name}}/predict` of one real sentence each, and every reply
is compared with what the version's files give for its own request, computed alone beforehand:

{rows}

FastAPI holds the same tokeniser, graph and decoding in its process: what one writes by hand for one model.
One API process and one predictor in Recurra, ONNX Runtime on one thread each, access logs off. The row of
numbers is Recurra's of the section "Serving" again, in these rounds. Medians of {rounds} rounds in rotating
order, {seconds:g} s a cell. Requests/s · p50 / p99 in milliseconds:

{closed}

Errors and wrong replies of all cells. CPU a request (at the most clients), idle CPU (of one core) and memory
(proportional set size) are of all of a server's processes.

{costs}

Recurra's figure over the other's in the same round:

{comparison}"""


def name_of(subject: str, contestant: Contestant) -> str:
    """Of an entry's results."""
    return f"{subject} {contestant.name}"


def entries(made: Sequence[Made], base: Plan, arguments: Asked, peer: Contestant = FASTAPI) -> list[Entry]:
    """Each row with each server that is asked for."""
    found = []
    for one in made:
        subject = one.row.name
        corpus = one.corpus.save(base.directory / f"{subject}.corpus")
        plan = replace(
            base,
            artifact=one.artifact,
            corpora={REQUESTS: corpus},
            usual=REQUESTS,
            task=one.row.task,
            model=subject,
        )
        for contestant in (replace(RECURRA_UP, path=f"/v1/models/{subject}/predict"), peer):
            known = replace(contestant, label=f"{subject}, {contestant.label}")
            found.append(Entry(name_of(subject, contestant), known, plan))
    return [entry for entry in found if entry.contestant.name in arguments.only]


def numbers(base: Plan, arguments: Asked) -> list[Entry]:
    """Recurra with numbers, if it is asked for."""
    equal = replace(base, corpora={"equal": base.corpora["equal"]})
    known = replace(RECURRA_UP, label=f"{NUMBERS}, {RECURRA_UP.label}")
    return [Entry(name_of(NUMBERS, RECURRA_UP), known, equal)] if RECURRA_UP.name in arguments.only else []


def comparisons(rounds: Sequence[Round], rows: Sequence[Row], clients: Sequence[int]) -> Iterator[Target]:
    """Recurra against the peer with the same text, and against itself with numbers."""
    for row in rows:
        ours, peer = name_of(row.name, RECURRA_UP), name_of(row.name, FASTAPI)
        own = name_of(NUMBERS, RECURRA_UP)
        for count in clients:
            many = f"{count} clients" if count > 1 else "1 client"

            def rate(result: Result, count: int = count) -> float:
                return result.closed[count].rate

            def late(result: Result, count: int = count) -> float:
                return result.closed[count].p99

            for figure, what in ((rate, "requests/s"), (late, "p99")):
                found = ratios(rounds, figure, peer, ours)
                yield Target(f"{row.name}: {what} at {many} / FastAPI", "≥", None, found)
            found = ratios(rounds, rate, own, ours)
            yield Target(f"{row.name}: requests/s at {many} / {NUMBERS}", "≥", None, found)


def comparison(rounds: Sequence[Round], rows: Sequence[Row], clients: Sequence[int]) -> str:
    """The table of ratios that were measured."""
    found = [one for one in comparisons(rounds, rows, clients) if one.ratios]
    return table(["ratio", "median of rounds", "rounds"], [[one.what, *one.found()] for one in found])


def run(arguments: Asked) -> None:
    """Run and write the section; a partial run only prints, and one of other servers does nothing."""
    if not {RECURRA_UP.name, FASTAPI.name} & set(arguments.only):
        return
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        base = replace(numeric.plan(directory, arguments), shares=())
        made = [make(row, ROOT / row.task / f"{row.data}.jsonl", directory / row.name) for row in ROWS]
        entered = [*entries(made, base, arguments), *numbers(base, arguments)]
        played = play(entered, arguments.rounds)
    labels = {one.name: one.contestant.label for one in entered}
    text = TEXT.format(
        rows="\n".join(f"- {describe(one)}" for one in made),
        rounds=arguments.rounds,
        seconds=arguments.seconds,
        closed=closed(played, arguments.clients, labels),
        costs=opened(played, labels, ()),
        comparison=comparison(played, ROWS, arguments.clients),
    )
    text += absent(entered, played)
    if arguments.whole:
        write("serving-text", "make bench-serving-text", text)
    else:
        print(f"\n{text}\n")
