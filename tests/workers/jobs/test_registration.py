"""A worker's row: there while it lives, current, gone at once when it stops; an outage only makes it late."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, select, update

from app.database.engine import Sessions, db_now
from app.database.tables import Worker
from app.infrastructure.liveness import LivenessFile, lives
from app.services.jobs import workers
from tests.support.fixtures.servers import until
from workers.jobs import registration
from workers.jobs.registration import WorkerRegistration


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registration, "REPORT_SECONDS", 0.05)


def row(sessions: Sessions) -> Worker | None:
    with sessions() as session:
        return session.get(Worker, "w1")


@pytest.fixture
def loaded() -> list[str]:
    return []


@pytest.fixture
def made(sessions: Sessions, loaded: list[str], tmp_path: Path) -> Iterator[WorkerRegistration]:
    liveness = LivenessFile(tmp_path, "serve", "w1")
    one = WorkerRegistration(sessions, "w1", "serve", "cpu", lambda: list(loaded), liveness)
    yield one
    one.stop()


def test_a_worker_is_listed_while_it_lives_and_gone_when_it_stops(
    made: WorkerRegistration, sessions: Sessions
) -> None:
    assert row(sessions) is None
    made.start()
    until(lambda: row(sessions) is not None, what="the worker's row")
    worker_row = row(sessions)
    assert worker_row is not None
    assert (worker_row.role, worker_row.device, worker_row.pid, worker_row.loaded) == (
        "serve",
        "cpu",
        os.getpid(),
        [],
    )
    with sessions() as session:
        assert [worker.id for worker, _ in workers.list_live(session)] == ["w1"]
    made.stop()
    assert row(sessions) is None


def test_a_health_check_sees_it_from_its_first_report_to_its_stop(
    made: WorkerRegistration, tmp_path: Path
) -> None:
    assert not lives(tmp_path, "serve")
    made.start()
    until(lambda: lives(tmp_path, "serve"), what="its liveness file")
    assert not lives(tmp_path, "train")
    made.stop()
    assert not lives(tmp_path, "serve")


def test_its_row_stays_fresh_and_says_what_is_loaded(
    made: WorkerRegistration, sessions: Sessions, loaded: list[str]
) -> None:
    made.start()
    until(lambda: row(sessions) is not None, what="the worker's row")
    with sessions.begin() as session:
        session.execute(update(Worker).values(last_seen=db_now() - 1000))
    loaded.append("m/1")

    def refreshed() -> bool:
        worker_row = row(sessions)
        return (
            worker_row is not None
            and worker_row.loaded == ["m/1"]
            and worker_row.last_seen > worker_row.started_at - 500
        )

    until(refreshed, what="the next report")


def test_a_row_that_was_deleted_comes_back(made: WorkerRegistration, sessions: Sessions) -> None:
    made.start()
    until(lambda: row(sessions) is not None, what="the worker's row")
    with sessions.begin() as session:
        workers.remove(session, "w1")
    until(lambda: row(sessions) is not None, what="its return")


def test_a_database_that_is_away_makes_it_late_and_no_more(
    made: WorkerRegistration,
    sessions: Sessions,
    engine: Engine,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    away = [True]

    def refuse(*_: Any) -> None:
        if away[0]:
            raise engine.dialect.loaded_dbapi.OperationalError("no route to host")

    event.listen(engine, "before_cursor_execute", refuse)
    with caplog.at_level(logging.WARNING, "workers.jobs.registration"):
        made.start()
        until(lambda: len(caplog.records) >= 2, what="two failed reports")
        assert not lives(tmp_path, "serve")
        away[0] = False
        until(lambda: row(sessions) is not None, what="the worker's row")
        away[0] = True
        made.stop()  # does not raise
    away[0] = False
    assert "refreshing the worker's row" in caplog.text
    with sessions() as session:
        assert session.scalars(select(Worker.id)).all() == ["w1"]  # until it is stale


def test_stopping_what_never_started_is_harmless(made: WorkerRegistration, sessions: Sessions) -> None:
    made.stop()
    made.stop()
    assert row(sessions) is None
