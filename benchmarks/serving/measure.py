"""One contestant's part of a round: started alone, driven through every cell, ended."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from app.infrastructure.processes.server_binary import redis_server_binary
from benchmarks.report import ROOT
from benchmarks.serving.contestants import ECHO, Contestant
from benchmarks.serving.generator.messages import Order, Report, load_corpus
from benchmarks.serving.processes import (
    NoAnswer,
    cpu_seconds,
    free_port,
    idle_percent,
    memory_mib,
    quiet,
    running,
    tree,
    until_right,
)
from benchmarks.serving.recurra import MODEL, publish

LOADS = (0.5, 0.8)  # open loops, as shares of the contestant's own capacity
SHARED_CLIENTS = 32  # of the load of mixed lengths, and of the ceiling


@dataclass(frozen=True)
class Plan:
    """What is measured, and where the files are."""

    directory: Path
    artifact: Path  # of the network
    corpora: dict[str, Path]
    python: Path  # that runs the peers
    clients: Sequence[int] = (1, 8, 32, 128)
    seconds: float = 4.0
    warmup: float = 1.0
    idle: float = 5.0
    usual: str = "equal"  # the corpus of the closed and of the open loops
    shares: Sequence[float] = LOADS
    task: str = "forecasting"  # as which Recurra serves it
    model: str = MODEL


@dataclass
class Result:
    """One contestant in one round."""

    closed: dict[int, Report] = field(default_factory=dict)  # by number of clients
    opened: dict[float, Report] = field(default_factory=dict)  # by share of capacity
    lengths: dict[str, Report] = field(default_factory=dict)  # Recurra's loads of other lengths, by corpus
    cpu: dict[int, float] = field(default_factory=dict)  # ms of all processes a request, by number of clients
    idle: float = 0.0  # percent of a core
    memory: float = 0.0  # MiB
    start: float = 0.0  # seconds from the command to the first right answer

    @property
    def capacity(self) -> float:
        """Right answers a second in its best closed loop."""
        return max(report.rate for report in self.closed.values())

    def reports(self) -> list[Report]:
        """Every cell's."""
        return [*self.closed.values(), *self.opened.values(), *self.lengths.values()]

    def line(self) -> str:
        """In short, while the benchmark runs."""
        rates = ", ".join(f"{report.rate:,.0f}/s at {count}" for count, report in self.closed.items())
        bad = [report for report in self.reports() if report.errors or report.wrong]
        count = sum(report.errors + report.wrong for report in bad)
        return f"{rates}; idle {self.idle:.1f} %" + (
            f"; {count} faults such as {bad[0].fault}" if bad else ""
        )


def generate(order: Order) -> Report:
    """Have a fresh process carry an order out; raises `NoAnswer` where it has no right answer at all."""
    command = [sys.executable, "-m", "benchmarks.serving.generator.load"]
    done = subprocess.run(
        command,
        input=msgspec.json.encode(order),
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=quiet(os.environ),
        check=False,
    )
    if done.returncode:
        raise NoAnswer("the load generator ended with an error: the server is gone")
    report = msgspec.json.decode(done.stdout, type=Report)
    if not report.answered:
        raise NoAnswer(f"no right answer in {order.seconds:g} s: {report.fault}")
    return report


@dataclass(frozen=True)
class Served:
    """A server that has answered rightly."""

    pid: int
    port: int
    seconds: float  # from its command to that answer


@contextmanager
def served(contestant: Contestant, plan: Plan) -> Iterator[Served]:
    """A contestant, alone; raises `NoAnswer` when it does not answer rightly."""
    with tempfile.TemporaryDirectory(dir=plan.directory) as directory:
        home, log = Path(directory) / "home", Path(directory) / "log"
        if contestant.name == "recurra":
            publish(home, plan.artifact, plan.task, plan.model)
        port = free_port()
        usual = plan.corpora[plan.usual]
        places = {"python": plan.python, "port": port, "home": home, "corpus": usual}
        environment = {
            "BENCH_MODEL": str(plan.artifact / "model.onnx"),
            "BENCH_VALKEY": str(redis_server_binary()),
            "BENTOML_HOME": str(home),
            "BENTOML_DO_NOT_TRACK": "True",
        }
        begun = time.monotonic()
        with running([part.format(**places) for part in contestant.command], log, **environment) as process:
            corpus = load_corpus(usual)
            url = f"http://127.0.0.1:{port}{contestant.path}"
            until_right(process, url, corpus.bodies[0], corpus.outputs[0], log)
            yield Served(process.pid, port, time.monotonic() - begun)


def measure(contestant: Contestant, plan: Plan, seed: int) -> Result:
    """Every cell of one contestant."""
    result = Result()
    with served(contestant, plan) as server:
        result.start = server.seconds
        order = Order(server.port, contestant.path, "", warmup=plan.warmup, seconds=plan.seconds, seed=seed)
        loads(contestant, plan, order, server.pid, result)
        result.idle = idle_percent(server.pid, plan.idle)
        result.memory = memory_mib(server.pid)
    return result


def ceiling(plan: Plan) -> Report:
    """What the load generator reaches when the server computes nothing."""
    with served(ECHO, plan) as server:
        order = Order(server.port, ECHO.path, str(plan.corpora[plan.usual]), clients=SHARED_CLIENTS)
        return generate(msgspec.structs.replace(order, seconds=plan.seconds))


def loads(contestant: Contestant, plan: Plan, order: Order, pid: int, result: Result) -> None:
    """The closed loops, the open loops that follow from them, and for Recurra mixed lengths."""

    def cell(corpus: str, **changes: float) -> Report:
        return generate(msgspec.structs.replace(order, corpus=str(plan.corpora[corpus]), **changes))

    for clients in plan.clients:
        before = cpu_seconds(tree(pid))
        result.closed[clients] = report = cell(plan.usual, clients=clients)
        used = (cpu_seconds(tree(pid)) - before) * order.seconds / (order.seconds + order.warmup)
        result.cpu[clients] = 1000 * used / max(1, report.answered)
    for share in plan.shares:
        result.opened[share] = cell(plan.usual, rate=share * result.capacity)
    if contestant.name == "recurra":
        for name in [name for name in ("mean", "mixed") if name in plan.corpora]:
            result.lengths[name] = cell(name, clients=SHARED_CLIENTS)
