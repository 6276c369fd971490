"""One case: unloaded, at capacity, beyond it, and after it."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from http.client import HTTPConnection
from math import inf, nan

import msgspec

from benchmarks.overload.cases import Case, Service
from benchmarks.overload.flood import Flood, Wreckage
from benchmarks.report import ROOT
from benchmarks.serving.generator.messages import Report, load_corpus
from benchmarks.serving.processes import quiet

TIMES = 10  # the capacity
CLIENTS = 32  # of the closed loop that finds the capacity
CONNECTIONS = 256  # of the open loop
PATIENT = 1000  # clients of the loop that honours Retry-After
LEAD = 2.0  # seconds for the generator to start and connect
SETTLED = 10  # answers whose median is the latency of the moment
WAIT = 20.0  # seconds in which latency must have recovered

Memory = dict[str, list[float]]  # MiB by part: before, each second, after


@dataclass
class Result:
    """What was measured of a case."""

    case: Case
    patient: bool
    seconds: float
    alone: Report  # one client
    full: Report  # as many as make the capacity
    flood: Wreckage
    recovery: float  # seconds from the end of the load; NaN when it was not seen
    memory: Memory

    @property
    def slower(self) -> float:
        """The 99th percentile of right answers over that of one client."""
        return self.flood.p99 / self.alone.p99

    @property
    def others(self) -> dict[int, int]:
        """Answers that are neither right nor refusals, by status; 0: none at all."""
        result = {status: n for status, n in self.flood.statuses.items() if status not in (200, 429) and n}
        return result | ({200: self.flood.wrong} if self.flood.wrong else {})

    @property
    def grown(self) -> float:
        """All parts' memory in the last third of the load over that in the first."""
        during: list[float] = [sum(sizes) for sizes in zip(*self.memory.values(), strict=True)][1:-1]
        third = max(1, len(during) // 3)
        first, last = sum(during[:third]), sum(during[-third:])
        return last / first


class Prober:
    """One client, who looks at what a request takes now."""

    def __init__(self, service: Service, case: Case) -> None:
        self._connection = HTTPConnection("127.0.0.1", service.port, timeout=60)
        self._path, self._bodies = case.path, load_corpus(service.corpora[case.version]).bodies

    def ask(self, number: int) -> float:
        """Seconds to an answer; infinity when it is a refusal."""
        begun = time.monotonic()
        body = self._bodies[number % len(self._bodies)]
        self._connection.request("POST", self._path, body, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        answer.read()
        return time.monotonic() - begun if answer.status == 200 else inf

    def median(self, count: int = 100) -> float:
        """Of so many requests, in seconds."""
        return statistics.median(self.ask(number) for number in range(count))

    def recovery(self, bound: float) -> float:
        """Seconds from now to the first of `SETTLED` answers whose median is below a bound."""
        self._connection.close()  # the server may have done so, as it was idle
        begun = time.monotonic()
        taken: list[tuple[float, float]] = []
        while time.monotonic() < begun + WAIT:
            taken.append((time.monotonic(), self.ask(len(taken))))
            last = taken[-SETTLED:]
            if len(last) == SETTLED and statistics.median(seconds for _, seconds in last) < bound:
                return last[0][0] - begun
        return nan


def overload(service: Service, case: Case, seconds: float, *, patient: bool = False) -> Result:
    """Measure a case; the load's end does not wait for what is still under way then."""
    alone = service.closed(case, 1, max(2.0, seconds / 3))
    full = service.closed(case, CLIENTS, max(2.0, seconds / 6))
    prober = Prober(service, case)
    bound = 2 * prober.median()
    rate, connections = (0.0, PATIENT) if patient else (TIMES * full.rate, CONNECTIONS)
    before = service.memory()
    begin = time.monotonic() + LEAD
    path = str(service.corpora[case.version])
    flood = Flood(service.port, case.path, path, connections, begin, seconds, rate, patient)
    with tempfile.TemporaryFile() as order:
        order.write(msgspec.json.encode(flood))
        order.seek(0)
        command = [sys.executable, "-m", "benchmarks.overload.flood"]
        process = subprocess.Popen(
            command, stdin=order, stdout=subprocess.PIPE, cwd=ROOT, env=quiet(os.environ)
        )
    with process:
        samples = [before, *watched(service, begin, seconds)]
        recovery = prober.recovery(bound)
        result = msgspec.msgpack.decode(process.communicate()[0], type=Wreckage)
    samples.append(service.memory())
    memory = {name: [sample[name] for sample in samples] for name in before}
    return Result(case, patient, seconds, alone, full, result, recovery, memory)


def watched(service: Service, begin: float, seconds: float) -> list[dict[str, float]]:
    """Memory in each second of the load; returns at its end."""
    samples = []
    for second in range(int(seconds)):
        time.sleep(max(0.0, begin + second + 0.5 - time.monotonic()))
        samples.append(service.memory())
    time.sleep(max(0.0, begin + seconds - time.monotonic()))
    return samples
