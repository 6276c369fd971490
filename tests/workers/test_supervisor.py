"""The supervisor over a real database and real child processes that behave in every way a training can."""

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import update

from app.db import Sessions, db_now
from app.services import jobs
from app.states import Status
from app.storage import Storage
from app.tables import Job, ModelVersion
from tests.app.services.test_leases import submit
from tests.servers import until
from workers import supervisor
from workers.supervisor import Supervisor

PRETENDER = Path(__file__).parent / "pretender.py"


@pytest.fixture
def job_id(sessions: Sessions, storage: Storage, tmp_path: Path) -> str:
    (tmp_path / "arrays.npz").write_bytes(b"arrays")
    storage.put("datasets/ds_1/arrays/arrays.npz", tmp_path / "arrays.npz")
    with sessions.begin() as session:
        made = submit(session)
        session.execute(update(Job).values(training={"device": "auto", "epochs": 2}))
        return made


@pytest.fixture
def supervise(sessions: Sessions, storage: Storage, tmp_path: Path) -> Callable[..., Supervisor]:
    def make(behaviour: str, stopping: Callable[[], bool] = lambda: False, lease: float = 60) -> Supervisor:
        command = (sys.executable, str(PRETENDER), behaviour)
        return Supervisor(sessions, storage, tmp_path / "work", "worker_1", lease, "cpu", stopping, command)

    return make


def job(sessions: Sessions, job_id: str) -> Job:
    with sessions() as session:
        return session.get_one(Job, job_id)


def leftovers(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "work").iterdir())


def test_a_training_that_ends_well_becomes_a_version(
    supervise: Callable[..., Supervisor], sessions: Sessions, storage: Storage, job_id: str, tmp_path: Path
) -> None:
    supervise("done").run(job_id)
    done = job(sessions, job_id)
    assert (done.status, done.model_version, done.attempt) == (Status.SUCCEEDED, 1, 1)
    assert done.metrics == {"train_loss": 0.5, "valid_loss": 0.6, "smape": 1.0}
    with sessions() as session:
        version = session.get_one(ModelVersion, ("m", 1))
        kinds = [event.type for event in jobs.events(session, job_id, 0, 50)]
    assert (version.parameters, version.metrics, version.baseline) == (7, {"smape": 1.0}, {"smape": 2.0})
    assert version.bytes == sum(len(b"".join(storage.read(key))) for key in storage.keys(version.artifact))
    assert kinds == ["status", "status", "epoch", "warning", "status"]
    assert b'"device": "cpu"' in b"".join(storage.read(f"{version.artifact}/manifest.json"))
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(("behaviour", "code"), [("fail", "diverged"), ("noise", "internal")])
def test_a_training_that_fails_says_why(
    supervise: Callable[..., Supervisor], sessions: Sessions, job_id: str, behaviour: str, code: str
) -> None:
    supervise(behaviour).run(job_id)
    failed = job(sessions, job_id)
    assert (failed.status, failed.error_code, failed.crashes) == (Status.FAILED, code, 0)


def test_a_child_that_dies_puts_the_job_back(
    supervise: Callable[..., Supervisor], sessions: Sessions, job_id: str, tmp_path: Path
) -> None:
    for crashes in (1, 2, 3):
        supervise("crash").run(job_id)
        crashed = job(sessions, job_id)
        assert (crashed.status, crashed.crashes, crashed.owner) == (Status.QUEUED, crashes, None)
    supervise("crash").run(job_id)
    assert (job(sessions, job_id).status, job(sessions, job_id).error_code) == (Status.FAILED, "worker_lost")
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("behaviour", ["patient", "stubborn"])
def test_cancel_ends_a_running_training_within_seconds(
    supervise: Callable[..., Supervisor], sessions: Sessions, job_id: str, behaviour: str
) -> None:
    thread = threading.Thread(target=supervise(behaviour).run, args=(job_id,))
    thread.start()
    until(lambda: job(sessions, job_id).progress is not None, what="progress")
    with sessions.begin() as session:
        jobs.cancel(session, job_id)
    asked = time.monotonic()
    thread.join(timeout=20)
    assert not thread.is_alive()
    assert job(sessions, job_id).status == Status.CANCELLED
    assert time.monotonic() - asked < supervisor.STOP_GRACE + supervisor.EXIT_GRACE + 3


def test_a_worker_that_stops_gives_the_job_back_without_a_crash(
    supervise: Callable[..., Supervisor], sessions: Sessions, job_id: str
) -> None:
    told = threading.Event()
    thread = threading.Thread(target=supervise("patient", told.is_set).run, args=(job_id,))
    thread.start()
    until(lambda: job(sessions, job_id).progress is not None, what="progress")
    told.set()
    thread.join(timeout=20)
    assert (job(sessions, job_id).status, job(sessions, job_id).crashes) == (Status.QUEUED, 0)


def test_a_supervisor_that_lost_its_lease_writes_nothing(
    supervise: Callable[..., Supervisor], sessions: Sessions, job_id: str
) -> None:
    thread = threading.Thread(target=supervise("patient").run, args=(job_id,))
    thread.start()
    until(lambda: job(sessions, job_id).progress is not None, what="progress")
    with sessions.begin() as session:
        session.execute(
            update(Job).values(attempt=Job.attempt + 1, owner="worker_2", lease_until=db_now() + 60)
        )
    thread.join(timeout=20)
    assert not thread.is_alive()
    taken = job(sessions, job_id)
    assert (taken.status, taken.owner, taken.attempt) == (Status.RUNNING, "worker_2", 2)


def test_a_job_of_somebody_else_is_left_alone(
    supervise: Callable[..., Supervisor], sessions: Sessions, job_id: str
) -> None:
    with sessions.begin() as session:
        session.execute(update(Job).values(status=Status.RUNNING, attempt=1, lease_until=db_now() + 60))
    supervise("done").run(job_id)
    assert job(sessions, job_id).attempt == 1
    supervise("done").run("job_none")


def test_a_data_set_that_is_gone_fails_the_job(
    supervise: Callable[..., Supervisor], sessions: Sessions, storage: Storage, job_id: str
) -> None:
    storage.delete("datasets/ds_1")
    supervise("done").run(job_id)
    failed = job(sessions, job_id)
    assert (failed.status, failed.error_code) == (Status.FAILED, "dataset_missing")
