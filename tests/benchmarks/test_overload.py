"""The overload's generator sends what it says and tells what came of it; its tables name what is missed."""

import asyncio
import math
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from benchmarks.overload.cases import HEAVY, LIGHT
from benchmarks.overload.figures import loads, memory, targets
from benchmarks.overload.flood import Flood, Sender, Wreckage
from benchmarks.overload.measure import Result
from benchmarks.report import ROOT
from benchmarks.serving.generator.messages import Corpus, Report
from benchmarks.serving.requests.corpus import artifact, corpus
from tests.benchmarks.test_load import Behave, Server, well

REFUSAL = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 4\r\n\r\nbusy"


@pytest.fixture(scope="module")
def bodies(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return corpus(artifact(tmp_path_factory.mktemp("overload") / "a") / "model.onnx", [4, 9] * 10, seed=1)


def flooded(
    bodies: Corpus, behave: Behave, *, takes: float = 0.0, connections: int = 4, **changes: float
) -> Wreckage:
    """What the generator tells of a server that answers one request after the other."""

    async def run() -> Wreckage:
        server = Server(bodies, behave, takes)
        listener = await asyncio.start_server(server.accept, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        flood = Flood(port, "/infer", "", connections, time.monotonic() + 0.1, seconds=0.5, seed=3)
        async with listener:
            found = await Sender(msgspec.structs.replace(flood, **changes), bodies).run()
            await server.close()
        return found

    return asyncio.run(run())


def test_an_open_loop_sends_what_is_due(bodies: Corpus) -> None:
    found = flooded(bodies, well, rate=300, connections=200)  # more than arrive: one is always idle
    assert 100 < found.expected < 200
    assert found.offered == found.expected == found.statuses[200]
    assert found.wrong == found.statuses[0] == 0
    assert 0 < found.p50 <= found.p99
    assert found.refused_p50 == 0


def test_what_finds_no_idle_connection_is_not_sent(bodies: Corpus) -> None:
    found = flooded(bodies, well, rate=1000, takes=0.02, connections=2)
    assert found.expected > 350
    assert 5 < found.offered < 80
    assert found.statuses[200] == found.offered
    assert found.p99 < 200  # of two at a time, not of all that were wanted


def test_refusals_are_counted_apart(bodies: Corpus) -> None:
    found = flooded(bodies, lambda count, reply: reply if count % 2 else REFUSAL, rate=300)
    assert found.statuses[429] == pytest.approx(found.statuses[200], abs=1)
    assert found.refused_p50 > 0


def test_wrong_answers_and_broken_connections_are_told(bodies: Corpus) -> None:
    last = [b""]

    def behave(count: int, reply: bytes) -> bytes:
        last.append(reply)
        return b"" if count % 5 == 0 else last[-2] if count % 5 == 3 else reply

    found = flooded(bodies, behave, rate=300)
    assert found.wrong > 5
    assert found.statuses[0] > 5
    assert sum(found.statuses.values()) == found.offered


def test_patient_clients_wait_as_long_as_they_are_told(bodies: Corpus) -> None:
    found = flooded(bodies, lambda _, __: REFUSAL, connections=7, patient=True, seconds=1.5)
    assert found.statuses[429] == 14  # at once, and a second later
    impatient = flooded(bodies, lambda _, __: REFUSAL, connections=7, takes=0.001)
    assert impatient.statuses[429] > 30


def result(**changes: object) -> Result:
    one = Report(100, 0, 0, 50.0, 3200.0, 1.0, 2.0, 0.1)
    full = msgspec.structs.replace(one, rate=1000.0)
    flood = Wreckage(30_000, 9_000, {200: 4000, 429: 5000, 0: 0}, 0, 5.0, 19.0, 1.0, 2.0, 0.5)
    sizes = {"API": [80.0, 90.0, 91.0, 90.0, 90.0], "Valkey": [4.0] * 5}
    made = Result(
        LIGHT, patient=False, seconds=3.0, alone=one, full=full, flood=flood, recovery=0.5, memory=sizes
    )
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def test_a_result_that_keeps_all_targets() -> None:
    one = result()
    assert one.slower == 9.5
    assert one.others == {}
    assert one.grown == 1.0
    assert "**no**" not in targets([one], [])
    assert "10,000 / 3,000" in loads([one])
    assert "80 / 91 / 90" in memory([one])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"recovery": math.nan}, "nan"),
        ({"recovery": 2.5}, "2.50"),
        ({"memory": {"API": [80.0, 90.0, 95.0, 120.0, 90.0]}}, "1.33"),
        ({"flood": Wreckage(9, 9, {200: 4, 503: 5}, 0, 5.0, 19.0, 1.0, 2.0, 0.5)}, "5 (5 × 503)"),
        ({"flood": Wreckage(9, 9, {200: 9}, 2, 5.0, 19.0, 1.0, 2.0, 0.5)}, "2 (2 × 200)"),
        ({"flood": Wreckage(9, 9, {200: 9}, 0, 5.0, 21.0, 1.0, 2.0, 0.5)}, "10.5"),
    ],
)
def test_a_missed_target_is_named(changes: dict[str, object], said: str) -> None:
    (missed,) = [line for line in targets([result(**changes)], []).splitlines() if "**no**" in line]
    assert said in missed


def test_a_refusal_in_the_closed_loop_is_named() -> None:
    report = Report(100, 3, 1, 50.0, 3200.0, 1.0, 2.0, 0.1)
    assert "| 4 | **no** |" in targets([], [(HEAVY, report)])


@pytest.mark.slow
def test_a_short_run() -> None:
    results = ROOT / "benchmarks" / "RESULTS.md"
    before = results.read_text()
    command = [sys.executable, "-m", "benchmarks.overload", "--seconds", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if "neither right nor 429 | 0 |" in line]
    assert len(rows) == 4
    assert all(line.endswith("| yes |") for line in rows), done.stdout
    assert Path(results).read_text() == before  # a short run is no result
