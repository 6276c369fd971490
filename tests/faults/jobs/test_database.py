"""The database goes away, says nothing, or loses an answer: nothing else does."""

import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import func, select

from app.database.tables import Job, ModelVersion
from app.typedefs import Json
from tests.conftest import server_url
from tests.faults.jobs.harness import LEASE, QUICK
from tests.faults.jobs.invariants import check
from tests.faults.jobs.siege import Pulse, Siege, siege
from tests.faults.jobs.twins import Twins
from tests.support.fixtures.servers import until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

EPOCHS = 48  # so that a training outlasts an outage, on a fast machine too
AWAY = 8.0  # seconds, longer than the lease
AT_ONCE = {"refuse": 1.0, "black_hole": 5.0}  # seconds in which a request is answered
WRITERS = 20  # requests that cannot write, more than a pool of connections often has
FENCE = LEASE + 4.0  # seconds in which a training has left a checkpoint and ended


@pytest.fixture
def server() -> str:
    return server_url("RECURRA_TEST_DATABASE_URL")


def lasting(start: float, seconds: float) -> None:
    until(lambda: time.monotonic() - start > seconds, seconds + 5, "the end of the outage", every=0.05)


# F10


def outage(besieged: Siege, twins: Twins, fault: str) -> None:
    """The database is away for longer than the lease."""
    wanted = twins.of(EPOCHS)
    besieged.api()
    besieged.worker()
    job_id = besieged.submit(EPOCHS)
    besieged.until_checkpoint(job_id)
    begun = time.monotonic()
    with Pulse(str(besieged.http.base_url)) as pulse:
        getattr(besieged.database_proxy, fault)()
        asked(besieged, job_id, AT_ONCE[fault])
        until(lambda: not besieged.training(), FENCE, "the training's fence", every=0.05)
        left = besieged.checkpoint_steps(job_id)[0]
        lasting(begun, AWAY)
        asked(besieged, job_id, AT_ONCE[fault])
        besieged.database_proxy.heal()
        job = besieged.wait(job_id)
    pulse.check()
    assert besieged.resumed_at(job_id) == [left], "the training's fence left no step to go on from"
    assert (job.attempt, job.crashes, job.failures) == (2, 0, 0)
    assert besieged.weights(job_id) == wanted.weights
    assert besieged.curve(job_id) == wanted.curve
    check(besieged)


def asked(besieged: Siege, job_id: str, seconds: float) -> None:
    """Many ask at the same time, and each is told that the database is away."""
    routes: list[tuple[str, str, Json | None]] = [
        ("GET", f"/v1/jobs/{job_id}", None),
        ("GET", "/v1/jobs", None),
        ("GET", "/readyz", None),
        ("POST", f"/v1/jobs/{job_id}/pause", None),
        ("POST", "/v1/jobs", besieged.wish()),
    ]
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda number: besieged.ask(*routes[number % len(routes)]), range(20)))
    assert {status for status, _ in answers} == {503}, f"other answers than 503: {answers}"
    assert max(took for _, took in answers) < seconds, f"late answers: {answers}"
    assert besieged.http.get("/readyz").json()["checks"]["database"] == "unavailable"


@pytest.mark.parametrize("fault", AT_ONCE)
def test_a_training_survives_an_outage(fault: str, server: str, twins: Twins, tmp_path: Path) -> None:
    with siege(tmp_path, server=server) as besieged:
        outage(besieged, twins, fault)


@pytest.mark.parametrize(
    ("fault", "without", "complaint"),
    [
        ("refuse", "self_fence", "the training's fence"),
        ("refuse", "away", "other answers than 503"),
        ("black_hole", "patience", "other answers than 503"),
    ],
)
def test_that_is_noticed(
    fault: str, without: str, complaint: str, server: str, twins: Twins, tmp_path: Path
) -> None:
    with siege(tmp_path, without, server) as besieged, pytest.raises(AssertionError, match=complaint):
        outage(besieged, twins, fault)


# F11


def lost_publication(besieged: Siege) -> None:
    """The version is committed, and nobody hears of it."""
    besieged.api()
    besieged.worker()
    trap = besieged.database_proxy.lose_answer(b"COMMIT", after=b"INSERT INTO model_versions")
    job_id = besieged.submit(QUICK)
    assert trap.sprung.wait(60)
    job = besieged.wait(job_id)
    assert (job.attempt, job.crashes, job.failures) == (1, 0, 0)
    until(lambda: not list((besieged.data_dir / "work").iterdir()), 20, "the supervisor's rest", every=0.05)
    with besieged.sessions() as session:
        versions = list(session.scalars(select(ModelVersion)))
    assert [version.job_id for version in versions] == [job_id], "more versions"
    names = {key.rpartition("/")[2] for key in besieged.storage.keys(versions[0].artifact)}
    assert names >= {"manifest.json", "model.onnx", "model.safetensors"}
    assert besieged.statuses(job_id) == ["queued", "running", "succeeded"]
    check(besieged)


def test_a_version_is_published_once(server: str, tmp_path: Path) -> None:
    with siege(tmp_path, server=server) as besieged:
        lost_publication(besieged)


def test_a_second_one_is_noticed(server: str, tmp_path: Path) -> None:
    with (
        siege(tmp_path, "ended_fence", server) as besieged,
        pytest.raises(AssertionError, match=r"supervisor's rest|^job_|more versions"),
    ):
        lost_publication(besieged)


def lost_submission(besieged: Siege) -> None:
    """The job is committed, and its submitter does not hear of it."""
    besieged.api()
    body = besieged.wish()
    trap = besieged.database_proxy.lose_answer(b"COMMIT", after=b"INSERT INTO jobs")
    first = besieged.http.post("/v1/jobs", json=body, headers={"Idempotency-Key": "once"})
    assert trap.sprung.wait(5)
    assert first.status_code == 503
    assert first.headers["Retry-After"]
    again = besieged.http.post("/v1/jobs", json=body, headers={"Idempotency-Key": "once"})
    assert again.status_code == 202, f"not repeated: {again.text}"
    assert again.headers.get("Idempotency-Replayed") == "true", "not repeated"
    with besieged.sessions() as session:
        assert list(session.scalars(select(Job.id))) == [again.json()["id"]]


def test_a_submission_is_repeated_safely(server: str, tmp_path: Path) -> None:
    with siege(tmp_path, server=server) as besieged:
        lost_submission(besieged)


def test_a_second_job_is_noticed(server: str, tmp_path: Path) -> None:
    with (
        siege(tmp_path, "kept_answer", server) as besieged,
        pytest.raises(AssertionError, match="not repeated"),
    ):
        lost_submission(besieged)


# A SQLite file that another process locks


@contextmanager
def locked(path: Path) -> Iterator[float]:
    """Somebody writes and does not come to an end; the moment he began."""
    connection = sqlite3.connect(path, timeout=60, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield time.monotonic()
    finally:
        connection.rollback()
        connection.close()


def held_up(besieged: Siege) -> None:
    """For ten seconds nobody can write."""
    besieged.environment["RECURRA_LEASE_SECONDS"] = "60"
    besieged.api()
    besieged.worker()
    job_id = besieged.submit(EPOCHS)
    besieged.until_checkpoint(job_id)
    with Pulse(str(besieged.http.base_url)) as pulse, locked(besieged.directory / "recurra.db") as begun:
        with ThreadPoolExecutor(WRITERS) as pool:
            wish = besieged.wish()
            posted = [pool.submit(besieged.ask, "POST", "/v1/jobs", wish) for _ in range(WRITERS)]
            for _ in range(5):
                status, took = besieged.ask("GET", f"/v1/jobs/{job_id}")
                assert status == 200, f"a late reader: {status}"
                assert took < 2.0, "a late reader"
        written = [future.result() for future in posted]
        assert {status for status, _ in written} == {503}, f"other answers than 503: {written}"
        assert max(took for _, took in written) < 8.0, f"late answers: {written}"
        lasting(begun, 10.0)
    pulse.check()
    job = besieged.wait(job_id)
    assert (job.attempt, job.crashes, job.failures) == (1, 0, 0)
    with besieged.sessions() as session:
        assert session.scalar(select(func.count()).select_from(Job)) == 1
    check(besieged)


def test_a_locked_file_holds_only_writers_up(tmp_path: Path) -> None:
    with siege(tmp_path) as besieged:
        held_up(besieged)


@pytest.mark.parametrize(
    ("without", "complaint"), [("readers", "a late reader"), ("away", "other answers than 503")]
)
def test_more_held_up_is_noticed(without: str, complaint: str, tmp_path: Path) -> None:
    with siege(tmp_path, without) as besieged, pytest.raises(AssertionError, match=complaint):
        held_up(besieged)
