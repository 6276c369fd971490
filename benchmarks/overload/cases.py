"""The networks under overload, and the service that has them as versions."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving.generator.messages import Corpus, Order, Report
from benchmarks.serving.measure import generate
from benchmarks.serving.processes import free_port, memory_mib, running, tree, until_right
from benchmarks.stack import RECURRA
from tests.faults.load import network
from tests.faults.versions import Network, publish, samples

BODIES = 100
PARTS = {"API": "--processes", "predictor": "workers.serving.predictor", "Valkey": "valkey-server"}


@dataclass(frozen=True)
class Case:
    """A network, and the closed loop of it in which nobody may be refused."""

    label: str
    version: int
    network: Network
    steps: int
    clients: int

    @property
    def path(self) -> str:
        """Where it computes."""
        return network(self.version)


LIGHT = Case("light (64 units, 64 steps)", 1, Network(0, hidden=64, width=8), 64, clients=128)
MIDDLE = Case("middle (64 units, 512 steps)", 2, Network(1, hidden=64, width=8), 512, clients=32)
HEAVY = Case("heavy (256 units, 512 steps)", 3, Network(2, hidden=256, width=8), 512, clients=4)
CASES = (LIGHT, MIDDLE, HEAVY)


class Service:
    """`recurra up`, and where its parts are."""

    def __init__(self, pid: int, port: int, corpora: dict[int, Path]) -> None:
        self.port, self.corpora = port, corpora
        commands = {one: (Path("/proc") / str(one) / "cmdline").read_bytes().decode() for one in tree(pid)}
        self._parts = {
            name: next(one for one, command in commands.items() if word in command)
            for name, word in PARTS.items()
        }

    def closed(self, case: Case, clients: int, seconds: float) -> Report:
        """A closed loop."""
        corpus = str(self.corpora[case.version])
        return generate(Order(self.port, case.path, corpus, clients, warmup=1.0, seconds=seconds))

    def memory(self) -> dict[str, float]:
        """Proportional set size of each part in MiB."""
        return {name: memory_mib(pid) for name, pid in self._parts.items()}


@contextmanager
def service() -> Iterator[Service]:
    """The service with every case's network, once it computes them."""
    with tempfile.TemporaryDirectory() as name:
        directory, port = Path(name), free_port()
        publish(directory / "data", [case.network for case in CASES])
        made = {case: corpus(case) for case in CASES}
        files = {case.version: one.save(directory / f"{case.version}") for case, one in made.items()}
        command = [*RECURRA, "up", "--port", str(port), "--data-dir", str(directory / "data")]
        log = directory / "log"
        with running(command, log) as process:
            for case, one in made.items():
                until_right(
                    process, f"http://127.0.0.1:{port}{case.path}", one.bodies[0], one.outputs[0], log
                )
            yield Service(process.pid, port, files)


def corpus(case: Case) -> Corpus:
    """Bodies and their right outputs."""
    made = samples([case.network], [case.steps] * BODIES, seed=case.version)
    return Corpus([one.body for one in made], [list(one.outputs[1]) for one in made], [case.steps] * BODIES)
