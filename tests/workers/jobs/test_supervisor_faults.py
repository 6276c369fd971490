"""A supervisor whose disk or database fails reports it, and all pending messages, as soon as it can."""

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import event, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app.database.engine import Sessions
from app.database.tables import Job
from app.infrastructure.storage import Storage
from app.services.jobs import queries
from app.states import Status
from tests.app.services.jobs.test_leases import submit
from tests.workers.jobs.test_supervisor import PRETENDER, job
from workers.jobs.supervisor import Supervisor, Timeouts
from workers.process.child import explain_failure

AWAY = 2.0  # seconds


@pytest.fixture
def job_id(sessions: Sessions, storage: Storage, tmp_path: Path) -> str:
    (tmp_path / "arrays.npz").write_bytes(b"arrays")
    storage.put("datasets/ds_1/arrays/arrays.npz", tmp_path / "arrays.npz")
    with sessions.begin() as session:
        made = submit(session)
        session.execute(update(Job).values(training={"device": "auto", "epochs": 2}))
        return made


@pytest.fixture
def supervise(sessions: Sessions, storage: Storage, tmp_path: Path) -> Callable[[str, float], Supervisor]:
    def make(behaviour: str, lease: float) -> Supervisor:
        command = (sys.executable, str(PRETENDER), behaviour)
        timeouts = Timeouts(lease)
        return Supervisor(
            sessions, storage, tmp_path / "work", "worker_1", timeouts, ["cpu"], lambda: False, command
        )

    return make


def test_a_work_directory_that_cannot_be_made(
    supervise: Callable[[str, float], Supervisor], sessions: Sessions, job_id: str, tmp_path: Path
) -> None:
    (tmp_path / "work").write_text("a file instead of a directory")
    supervise("done", 60).run()
    left = job(sessions, job_id)
    assert (left.status, left.failures, left.owner) == (Status.QUEUED, 1, None)
    assert "heartbeat" not in {thread.name for thread in threading.enumerate()}


def test_messages_during_an_outage_of_the_database_are_stored_afterwards(
    supervise: Callable[[str, float], Supervisor], sessions: Sessions, job_id: str
) -> None:
    claimed: list[float] = []

    def refuse(_: Session) -> None:
        if not claimed:
            claimed.append(time.monotonic())
        elif time.monotonic() - claimed[0] < AWAY:
            raise OperationalError("", {}, OSError("away"))

    event.listen(sessions, "before_commit", refuse)
    supervise("patient", 1.0).run()
    left = job(sessions, job_id)
    assert (left.status, left.attempt, left.crashes) == (Status.QUEUED, 1, 0)
    with sessions() as session:
        kinds = [one.type for one in queries.list_events(session, job_id, 0, 50)]
    assert kinds == ["status", "status", "epoch", "status"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(28, "No space left on device"), "no_space"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "no_space"),
        (OSError(2, "No such file or directory"), "internal"),
        (RuntimeError("anything else"), "internal"),
    ],
)
def test_a_full_disk_is_reported_as_such(error: Exception, code: str) -> None:
    assert explain_failure(error)["code"] == code
