"""The chaos run's account finds what a service did wrong, and only that."""

import hashlib
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from app.database.engine import make_engine, make_readers, make_sessions
from app.database.tables import Job, JobEvent, ModelVersion
from app.infrastructure.artifacts import digest_stored
from app.infrastructure.events.job_events import append_events
from app.infrastructure.storage import Storage
from app.services.jobs import control, leases
from app.services.jobs.leases import Lease
from app.services.models.versions import TrainingOutcome
from app.states import Status
from benchmarks.chaos.faults import DISK_FULL, LOCK
from benchmarks.chaos.figures import faults, growth, jobs
from benchmarks.chaos.ledger import Fault, Ledger
from benchmarks.chaos.service import MARK, OWN_SERVERS, Process, Service
from benchmarks.chaos.stream import Stream
from benchmarks.chaos.verdict import Verdict, leaks
from benchmarks.chaos.watch import Growth, Sample, thirds
from tests.app.services.jobs.test_leases import submit
from tests.support.fixtures.servers import until

SETTING, WEIGHTS = "gru", b"weights"
PARENT = """
import signal, subprocess, sys
subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()", "workers.training.child"])
signal.pause()
"""


class Play:
    """A service's rows and files, made as its workers would, and a ledger that agrees with them."""

    def __init__(self, directory: Path, template: Path) -> None:
        (directory / "test.db").write_bytes(template.read_bytes())
        self.engine = make_engine(f"sqlite:///{directory / 'test.db'}")
        self.sessions, self.readers = make_sessions(self.engine), make_readers(self.engine)
        self.storage, self.data_dir = Storage((directory / "storage").as_uri()), directory / "data"
        self.data_dir.mkdir()
        self.ledger = Ledger(directory / "faults.log")
        self.good = self.job()
        self.finish(self.claim(self.good))

    def job(self) -> str:
        with self.sessions.begin() as session:
            job_id = submit(session)
            session.execute(update(Job).where(Job.id == job_id).values(model="weather"))
        self.ledger.accept(len(self.ledger.numbers), job_id, SETTING)
        return job_id

    def claim(self, job_id: str) -> Lease:
        with self.sessions.begin() as session:
            job = leases.claim(session, job_id, "worker", 60)
            assert job is not None
            return Lease(job.id, job.attempt)

    def lose(self, job_id: str, kind: str = "kill worker") -> None:
        lease = self.claim(job_id)
        with self.sessions.begin() as session:
            leases.release(session, lease, crashed=True)
        self.ledger.note(kind, time.time(), job_id)

    def finish(self, lease: Lease, weights: bytes = WEIGHTS) -> None:
        prefix = f"artifacts/{lease.job_id}/{lease.attempt}"
        path = self.data_dir / "model.safetensors"
        path.write_bytes(weights)
        self.storage.put(f"{prefix}/model.safetensors", path)
        sha256 = digest_stored(self.storage, prefix)
        with self.sessions.begin() as session:
            leases.succeed(session, lease, TrainingOutcome(prefix, 1, 1, sha256, {}, {}))

    def cancel(self, job_id: str) -> None:
        with self.sessions.begin() as session:
            control.cancel(session, job_id)
        self.ledger.cancelled.add(job_id)

    def change(self, change: Callable[[Session], object]) -> None:
        with self.sessions.begin() as session:
            change(session)

    def verdict(self) -> Verdict:
        service = cast("Service", self)
        twins = {SETTING: hashlib.sha256(WEIGHTS).hexdigest()}
        stream: Any = SimpleNamespace(twins={}, weights=lambda job_id: Stream.weights(stream, job_id))
        stream._service, stream.twins = service, Twins(twins)
        return Verdict(service, stream, self.ledger)


class Twins(dict[str, str]):
    """Twins whose jobs are not stored here."""

    def __len__(self) -> int:
        return 0


@pytest.fixture
def play(tmp_path: Path, sqlite_template: Path) -> Iterator[Play]:
    made = Play(tmp_path, sqlite_template)
    yield made
    made.engine.dispose()


def test_what_went_well_is_not_blamed(play: Play) -> None:
    play.cancel(play.job())
    twice = play.job()
    play.lose(twice)
    play.lose(twice, "kill training")
    play.finish(play.claim(twice))
    full = play.job()
    lease = play.claim(full)
    play.change(lambda session: leases.end(session, lease, Status.FAILED, code="no_space", message="full"))
    play.ledger.note(DISK_FULL, time.time(), full)
    verdict = play.verdict()
    assert verdict.wrong() == []
    assert verdict.ends() == {"succeeded": 2, "cancelled": 1, "failed (no_space)": 1}
    assert verdict.attempts() == {1: 2, 0: 1, 3: 1}
    assert all(0 <= one < 5 for one in verdict.recoveries().get("kill worker", []))


def unended(play: Play) -> str:
    play.claim(play.job())
    return "is running"


def other_weights(play: Play) -> str:
    play.finish(play.claim(play.job()), b"others")
    return "differs from its twin"


def no_version(play: Play) -> str:
    play.change(lambda session: session.execute(delete(ModelVersion)))
    return "succeeded with 0 versions"


def cancelled_with_a_version(play: Play) -> str:
    play.change(lambda session: session.execute(update(Job).values(status=Status.CANCELLED)))
    return "is cancelled and has 1 versions"


def cancelled_for_nothing(play: Play) -> str:
    play.cancel(play.job())
    play.ledger.cancelled.clear()
    return "nobody asked for it"


def cancelled_in_vain(play: Play) -> str:
    play.ledger.cancelled.add(play.good)
    return "was cancelled and is succeeded"


def failed(play: Play) -> str:
    lease = play.claim(play.job())
    play.change(lambda session: leases.end(session, lease, Status.FAILED, code="no_space", message="full"))
    return "failed: no_space"


def given_up_too_early(play: Play) -> str:
    job_id = play.job()
    for _ in range(4):
        play.lose(job_id)
    play.ledger.faults.pop()
    return "failed: worker_lost"


def charged_for_nothing(play: Play) -> str:
    job_id = play.job()
    play.lose(job_id, "FLUSHDB")
    play.finish(play.claim(job_id))
    return "was charged 1 losses and had at most 0"


def lost(play: Play) -> str:
    play.change(lambda session: session.execute(delete(JobEvent)))
    play.change(lambda session: session.execute(delete(Job)))
    return "1 jobs were accepted, 0 are stored"


def submitted_twice(play: Play) -> str:
    first, second = play.good, play.job()
    del play.ledger.numbers[1]
    play.ledger.accept(0, second, SETTING)
    return f"one Idempotency-Key made {first} and {second}"


def told_after_the_end(play: Play) -> str:
    play.change(lambda session: append_events(session, play.good, [("epoch", {})]))
    return "its last event is epoch"


def attempt_skipped(play: Play) -> str:
    play.change(lambda session: session.execute(update(Job).values(attempt=3)))
    return "had the attempts [1] and counts 3"


def gap(play: Play) -> str:
    play.change(lambda session: session.execute(delete(JobEvent).where(JobEvent.seq == 2)))
    return "gaps in its history"


def answered_500(play: Play) -> str:
    play.ledger.answered("submit", 500)
    return "submit was answered with 500"


@pytest.mark.parametrize(
    "break_it",
    [
        unended, other_weights, no_version, cancelled_with_a_version, cancelled_for_nothing,
        cancelled_in_vain, failed, given_up_too_early, charged_for_nothing, lost, submitted_twice,
        told_after_the_end, attempt_skipped, gap, answered_500,
    ],
)  # fmt: skip
def test_what_went_wrong_is_said(play: Play, break_it: Callable[[Play], str]) -> None:
    expected = break_it(play)
    assert any(expected in sentence for sentence in play.verdict().wrong()), play.verdict().wrong()


def test_an_outage_longer_than_the_lease_may_cost_a_worker(play: Play) -> None:
    charged_for_nothing(play)
    now = time.time()
    play.ledger.faults.append(Fault(LOCK, now - 1, now + 1))
    assert any("was charged 1" in sentence for sentence in play.verdict().wrong())
    play.ledger.faults.append(Fault(LOCK, now - 7, now))
    assert play.verdict().wrong() == []


def test_leaked_files_are_found(play: Play) -> None:
    service = cast("Service", play)
    (play.data_dir / "model.safetensors").unlink()
    assert leaks(service) == ([], 0)
    (play.data_dir / "incoming").mkdir()
    (play.data_dir / "incoming" / "left").write_text("x")
    play.change(lambda session: session.execute(update(ModelVersion).values(artifact="artifacts/other/1")))
    left, removed = leaks(service)
    assert removed + len(left) >= 2


def test_growth_is_seen_and_warmth_is_not() -> None:
    steady = [Sample(20 + n % 3, 100 + n % 7) for n in range(93)]
    leaking = [Sample(20 + n, 100 + n) for n in range(93)]
    process = Process(1, 2, "API")
    assert Growth(process, 93, *thirds(steady)).is_flat(0)
    assert not Growth(process, 93, *thirds(leaking)).is_flat(0)
    assert "| API | 1 | 93 | 35 → 97 | 115 → 177 |" in growth([Growth(process, 93, *thirds(leaking))])


def test_tables_tell_times_and_recoveries(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "log")
    ledger.note("kill worker", 1.0, "job_1")
    ledger.note("kill worker", 2.0, "job_2")
    assert "| kill worker | 2 | 4.0 / 5.0 |" in faults(ledger, {"kill worker": [3.0, 5.0]})
    told = jobs(Counter({"succeeded": 2}), Counter({1: 2, 4: 1}))
    assert "succeeded: 2" in told
    assert "1: 2, 4: 1" in told


def test_a_process_is_found_by_its_mark_whoever_its_parent_is(tmp_path: Path) -> None:
    served = Service(tmp_path, OWN_SERVERS)
    program = tmp_path / "parent.py"
    program.write_text(PARENT)
    environment = os.environ | {MARK: served.mark}
    with subprocess.Popen([sys.executable, program], env=environment) as parent:
        until(lambda: len(served.processes("training")) == 1, 10, "the child")
        (child,) = served.processes("training")
        parent.kill()
    assert child in served.seen
    served.close()
    until(lambda: served.processes() == [], 10, "its end")
