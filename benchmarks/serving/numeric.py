"""The part about numbers: one LSTM behind Recurra and every other server."""

import tempfile
from pathlib import Path

from benchmarks.report import write
from benchmarks.serving.contestants import CONTESTANTS
from benchmarks.serving.figures import closed, opened
from benchmarks.serving.measure import Plan, ceiling
from benchmarks.serving.requests.corpus import BODIES, artifact, corpora
from benchmarks.serving.rounds import Entry, absent, play
from benchmarks.serving.settings import Asked
from benchmarks.serving.targets import comparison

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


def plan(directory: Path, arguments: Asked) -> Plan:
    """The network and its requests, made in that directory."""
    network = artifact(directory / "artifact")
    files = corpora(directory, network / "model.onnx")
    return Plan(
        directory,
        network,
        files,
        arguments.python,
        arguments.clients,
        arguments.seconds,
        arguments.warmup,
        arguments.idle,
    )


def run(arguments: Asked) -> None:
    """Run and write the section; a partial run only prints."""
    with tempfile.TemporaryDirectory() as directory:
        provided = plan(Path(directory), arguments)
        entries = [Entry(one.name, one, provided) for one in CONTESTANTS if one.name in arguments.only]
        most = ceiling(provided)
        played = play(entries, arguments.rounds)
    text = TEXT.format(
        bodies=BODIES,
        rounds=arguments.rounds,
        seconds=arguments.seconds,
        ceiling=most.rate,
        closed=closed(played, arguments.clients),
        opened=opened(played),
        comparison=comparison(played, arguments.clients),
    )
    text += absent(entries, played)
    if arguments.whole:
        write("serving", "make bench-serving", text)
    else:
        print(f"\n{text}\n")
