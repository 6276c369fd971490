"""A supervisor whose disk or database fails tells so as soon as it can, and everything it has heard."""

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
from app.services.jobs import submission
from app.states import Status
from tests.app.services.jobs.test_leases import submit
from tests.workers.jobs.test_supervisor import PRETENDER, job
from workers.jobs.supervisor import Patience, Supervisor
from workers.process.child import failure

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
        patience = Patience(lease)
        return Supervisor(
            sessions, storage, tmp_path / "work", "worker_1", patience, "cpu", lambda: False, command
        )

    return make


def test_no_place_for_the_files_of_a_job(
    supervise: Callable[[str, float], Supervisor], sessions: Sessions, job_id: str, tmp_path: Path
) -> None:
    (tmp_path / "work").write_text("in the place of a directory")
    supervise("done", 60).run()
    left = job(sessions, job_id)
    assert (left.status, left.failures, left.owner) == (Status.QUEUED, 1, None)
    assert "heart" not in {thread.name for thread in threading.enumerate()}


def test_what_a_child_said_while_the_database_was_away_is_told(
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
        kinds = [told.type for told in submission.events(session, job_id, 0, 50)]
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
def test_a_disk_that_is_full_is_said_to_be(error: Exception, code: str) -> None:
    assert failure(error)["code"] == code
