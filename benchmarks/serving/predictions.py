"""The part about predictions: forecasts, sentiment and tagging as users ask for them, beside other servers.

Others do the same work, with Recurra's own code for it in their worker, or only run the bare network.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.report import write
from benchmarks.serving.contestants import CONTESTANTS, RECURRA_UP, Contestant, cli, module
from benchmarks.serving.figures import closed, opened
from benchmarks.serving.generator.messages import Corpus
from benchmarks.serving.headline import BARE, SAME, headline, name_of
from benchmarks.serving.measure import Plan
from benchmarks.serving.requests import sentences, series
from benchmarks.serving.requests.versions import Made
from benchmarks.serving.rounds import Entry, absent, play
from benchmarks.serving.settings import Asked
from benchmarks.serving.targets import Round
from benchmarks.serving.text import FASTAPI
from tests.support.fixtures.real_data import ROOT

REQUESTS = "requests"  # the corpus of a subject
SUBJECTS = tuple(one.row.name for one in series.FORECASTS) + tuple(row.name for row in sentences.ROWS)
PEERS = {one.name: one for one in CONTESTANTS if one.name in ("mosec", "litserve", "fastapi")}
LOCAL = ("--port", "{port}", "--address", "127.0.0.1", "--log-level", "error")
FORECAST_APP = "benchmarks.serving.peers.same_work.forecast_app:app"
MOSEC, LITSERVE, FASTAPI_FORECASTS = (
    replace(PEERS[name], command=command, path="/predict")
    for name, command in (
        ("mosec", module("same_work.mosec_server", *LOCAL)),
        ("litserve", module("same_work.litserve_server", "{port}")),
        ("fastapi", cli("uvicorn", FORECAST_APP, "--port", "{port}", "--no-access-log")),
    )
)
TEXT = """## Serving what users send

Networks of the default architecture, trained for seconds on a slice of real data: speed does not depend on
how good they are. Requests are `POST /v1/models/{{name}}/predict` of one instance each: dated series of daily
temperatures, with or without covariates, to be forecast {horizon} days ahead, and sentences. Every reply is
compared with what the version's files give for its own request, computed alone beforehand:

{rows}

Servers with the same work have Recurra's own code for encoding and decoding around the same graph in their
worker, and encode and decode by the batch where they batch. Those with the bare network get its inputs ready
as tensors of the Open Inference Protocol in JSON, run the graph and answer its outputs. One API process and
one model process each (FastAPI: one for both), ONNX Runtime on one thread, access logs off, batches of at
most 64 where the server batches. Medians of {rounds} rounds in rotating order, {seconds:g} s a cell.

Recurra's figure over the other's in the same round:

{headline}

Requests/s · p50 / p99 in milliseconds. Open loop: Poisson arrivals at that share of the server's own best
closed loop; requests/s: p50 / p99 in milliseconds from the time a request was due. Errors and wrong replies
of all cells. CPU a request (at the most clients), idle CPU (of one core) and memory (proportional set size)
are of all of a server's processes.

{tables}"""


@dataclass(frozen=True)
class Subject:
    """A model with what is asked of it, and the line about it."""

    made: Made
    line: str
    network: Corpus | None = None  # the same requests as its network's inputs, where that answers by itself

    @property
    def name(self) -> str:
        """Also the model's."""
        return self.made.row.name


def subjects(names: Sequence[str], directory: Path) -> Iterator[Subject]:
    """The models of these names, trained now."""
    for weather in series.FORECASTS:
        if weather.row.name in names:
            data = ROOT / "forecasting" / f"{weather.row.data}.csv"
            made, network = series.make(weather, data, directory / weather.row.name)
            yield Subject(made, series.describe(made, network), network)
    for row in sentences.ROWS:
        if row.name in names:
            made = sentences.make(row, ROOT / row.task / f"{row.data}.jsonl", directory / row.name)
            yield Subject(made, sentences.describe(made))


def contestants(subject: Subject) -> Iterator[tuple[Contestant, str]]:
    """Who serves a subject, and how much of the work it does."""
    name = subject.name
    yield replace(RECURRA_UP, path=f"/v1/models/{name}/predict"), SAME
    yield from ((one, SAME) for one in (MOSEC, LITSERVE))
    yield (FASTAPI if subject.network is None else FASTAPI_FORECASTS), SAME
    if subject.network is not None:
        yield replace(RECURRA_UP, path=f"/v2/models/{name}:network/infer"), BARE
        yield from ((one, BARE) for one in PEERS.values())


def entries(made: Sequence[Subject], base: Plan, arguments: Asked) -> list[Entry]:
    """Each subject with each server that is asked for."""
    found = []
    for subject in made:
        corpora = {SAME: subject.made.corpus.save(base.directory / f"{subject.name}.corpus")}
        if subject.network is not None:
            corpora[BARE] = subject.network.save(base.directory / f"{subject.name}.network.corpus")
        for contestant, work in contestants(subject):
            plan = replace(
                base,
                artifact=subject.made.artifact,
                corpora={REQUESTS: corpora[work]},
                task=subject.made.row.task,
                model=subject.name,
            )
            known = replace(contestant, label=f"{contestant.label}, {work}")
            found.append(Entry(name_of(subject.name, contestant, work), known, plan))
    return [entry for entry in found if entry.contestant.name in arguments.only]


def tables(played: Sequence[Round], entered: Sequence[Entry], arguments: Asked) -> str:
    """The figures of every server, subject by subject."""
    parts = []
    for subject in dict.fromkeys(one.plan.model for one in entered):
        labels = {one.name: one.contestant.label for one in entered if one.plan.model == subject}
        parts += [f"### {subject}", closed(played, arguments.clients, labels), opened(played, labels)]
    return "\n\n".join(parts)


def run(arguments: Asked) -> None:
    """Run and write the section; a partial run only prints, and one of other servers does nothing."""
    if not {RECURRA_UP.name, *PEERS} & set(arguments.only):
        return
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        base = Plan(
            directory,
            directory,
            {},
            arguments.python,
            arguments.clients,
            arguments.seconds,
            arguments.warmup,
            arguments.idle,
            usual=REQUESTS,
        )
        made = list(subjects(arguments.data or SUBJECTS, directory))
        entered = entries(made, base, arguments)
        played = play(entered, arguments.rounds)
    text = TEXT.format(
        horizon=series.HORIZON,
        rows="\n".join(f"- {subject.line}" for subject in made),
        rounds=arguments.rounds,
        seconds=arguments.seconds,
        headline=headline(played, [subject.name for subject in made], arguments.clients),
        tables=tables(played, entered, arguments),
    )
    text += absent(entered, played)
    if arguments.whole and not arguments.data:
        write("serving-predictions", "make bench-serving-predictions", text)
    else:
        print(f"\n{text}\n")
