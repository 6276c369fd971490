"""The part about recordings and clips: speech and video behind Recurra, and in FastAPI's own process."""

import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.report import table, write
from benchmarks.serving import numeric
from benchmarks.serving.contestants import RECURRA_UP
from benchmarks.serving.figures import closed, opened
from benchmarks.serving.measure import Result
from benchmarks.serving.requests.recordings import KINDS, ROWS, describe, make
from benchmarks.serving.requests.versions import Made
from benchmarks.serving.rounds import absent, play
from benchmarks.serving.settings import Asked
from benchmarks.serving.targets import Round, Target, ratios
from benchmarks.serving.text import FASTAPI, entries, name_of
from tests.support.fixtures.real_data import ROOT

CLIENTS = (1, 16)
WANTED = {1: 1.0, 16: 1.5}  # times the peer's requests/s
MAX_REAL_TIME_FACTOR = 0.05
PEER = replace(FASTAPI, command=[part.replace("text_app", "media_app") for part in FASTAPI.command])
TEXT = """## Serving media

Networks of the default architecture, trained for minutes on a slice of real data. Requests are
`POST /v1/models/{{name}}/predict` of one file each that was not learned from, as it is, in base64, and every
reply is compared with what the version's files give for its own request, computed alone beforehand:

{rows}

FastAPI has the same decoding, features, graph and search in its process: what one writes by hand for one
model. Recurra decodes files in a child process with limits on memory and time. One API process and one
predictor, ONNX Runtime on one thread each, access logs off. Medians of {rounds} rounds in rotating order,
{seconds:g} s a cell. Requests/s · p50 / p99 in milliseconds:

{closed}

Errors and wrong replies of all cells. CPU a request (at the most clients), idle CPU (of one core) and memory
(proportional set size) are of all of a server's processes.

{costs}

Recurra's figure over the other's in the same round, and the processor time of all its processes for a second
of speech (the real-time factor on one core, at {most} clients):

{comparison}"""


def targets(rounds: Sequence[Round], made: Sequence[Made], clients: Sequence[int]) -> list[Target]:
    """Recurra against the peer with the same files, and speech against real time."""
    found = []
    for one in made:
        ours, peer = name_of(one.row.name, RECURRA_UP), name_of(one.row.name, PEER)
        for count in clients:
            many = f"{count} clients" if count > 1 else "1 client"
            what = f"{one.row.name}: requests/s at {many} / FastAPI"

            def rate(result: Result, count: int = count) -> float:
                return result.closed[count].rate

            rates = ratios(rounds, rate, peer, ours)
            found.append(Target(what, "≥", WANTED.get(count), rates))
        if one.row.task == "speech":
            seconds = statistics.mean(one.corpus.steps) / 100  # a frame each 10 ms
            most = max(clients)
            factors = [each[ours].cpu[most] / 1000 / seconds for each in rounds if ours in each]
            found.append(Target("speech: real-time factor", "≤", MAX_REAL_TIME_FACTOR, factors))
    return [one for one in found if one.ratios]


def run(arguments: Asked) -> None:
    """Run and write the section; a partial run only prints, and one of other servers does nothing."""
    if not {RECURRA_UP.name, PEER.name} & set(arguments.only):
        return
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        base = replace(numeric.plan(directory, replace(arguments, clients=CLIENTS)), shares=())
        made = [
            make(row, ROOT / row.task / f"{row.data}.zip", directory / row.name, KINDS[row.task])
            for row in ROWS
        ]
        entered = entries(made, base, arguments, PEER)
        played = play(entered, arguments.rounds)
    labels = {one.name: one.contestant.label for one in entered}
    head = ["ratio", "target", "median of rounds", "rounds", "reached"]
    text = TEXT.format(
        rows="\n".join(f"- {describe(one, KINDS[one.row.task])}" for one in made),
        rounds=arguments.rounds,
        seconds=arguments.seconds,
        closed=closed(played, CLIENTS, labels),
        costs=opened(played, labels, ()),
        most=max(CLIENTS),
        comparison=table(head, [one.row() for one in targets(played, made, CLIENTS)]),
    )
    text += absent(entered, played)
    if arguments.whole:
        write("serving-media", "make bench-serving-media", text)
    else:
        print(f"\n{text}\n")
