"""The clock and the transactions are the same on both databases."""

import sqlite3
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, select, text
from sqlalchemy.exc import OperationalError

from app.database.engine import Sessions, db_now, make_engine, make_readers, make_sessions
from app.database.sqlite import BUSY_SECONDS
from app.database.tables import Model


def test_the_database_clock_is_in_seconds_since_1970(sessions: Sessions) -> None:
    with sessions() as session:
        first = session.execute(select(db_now())).scalar_one()
        assert isinstance(first, float)
        assert abs(first - time.time()) < 5
        assert first % 1 or session.execute(select(db_now())).scalar_one() % 1  # not whole seconds only


def test_a_row_gets_its_time_from_the_database(sessions: Sessions) -> None:
    with sessions.begin() as session:
        session.add(Model(id="model_1", name="m", task="forecasting", versions=0))
    with sessions() as session:
        assert abs(session.get_one(Model, ("default", "m")).created_at - time.time()) < 5


def test_read_modify_write_from_many_threads_loses_nothing(sessions: Sessions) -> None:
    with sessions.begin() as session:
        session.add(Model(id="model_1", name="m", task="forecasting", versions=0))
    failures: list[BaseException] = []

    def add() -> None:
        try:
            for _ in range(20):
                with sessions.begin() as session:
                    model = session.get_one(Model, ("default", "m"), with_for_update=True)
                    model.versions += 1
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test must see it
            failures.append(error)

    threads = [threading.Thread(target=add) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with sessions() as session:
        assert session.get_one(Model, ("default", "m")).versions == 120


def test_writers_take_turns(database_url: str, sessions: Sessions) -> None:
    """Many threads of two processes; without the write lock some waited for five seconds and failed."""
    others = make_sessions(make_engine(database_url))
    with sessions.begin() as session:
        session.add(Model(id="model_1", name="m", task="forecasting", versions=0))
    end = time.monotonic() + 2
    waits: list[float] = []
    failures: list[BaseException] = []

    def write(mine: Sessions) -> None:
        try:
            while (begun := time.monotonic()) < end:
                with mine.begin() as session:
                    session.get_one(Model, ("default", "m"), with_for_update=True).versions += 1
                    waits.append(time.monotonic() - begun)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test must see it
            failures.append(error)

    threads = [threading.Thread(target=write, args=(mine,)) for mine in (sessions,) * 16 + (others,)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    others.kw["bind"].dispose()
    assert failures == []
    assert max(waits) < 1.5
    with sessions() as session:
        assert session.get_one(Model, ("default", "m")).versions == len(waits)


def test_a_reader_does_not_wait_for_a_writer(engine: Engine, sessions: Sessions) -> None:
    readers = make_readers(engine)
    with sessions() as writer, readers() as reader:
        writer.add(Model(id="model_2", name="unseen", task="forecasting", versions=0))
        writer.flush()
        assert reader.execute(select(Model.name)).all() == []
        writer.rollback()


def test_sqlite_uses_a_write_ahead_log(engine: Engine) -> None:
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
            assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1
    else:
        with engine.connect() as connection:
            assert connection.execute(text("show lock_timeout")).scalar() == "5s"


def test_a_writer_that_fails_to_begin_does_not_block_others(sqlite_template: Path, tmp_path: Path) -> None:
    (tmp_path / "test.db").write_bytes(sqlite_template.read_bytes())
    engine, away = make_engine(f"sqlite:///{tmp_path / 'test.db'}"), [True]

    @event.listens_for(engine, "before_cursor_execute")
    def refuse(*_: object) -> None:
        if away[0]:
            raise sqlite3.OperationalError("disk I/O error")

    with pytest.raises(OperationalError), engine.begin():
        pass
    away[0] = False
    began = time.monotonic()
    with engine.begin() as connection:
        connection.execute(select(Model))
    assert time.monotonic() - began < BUSY_SECONDS / 2
    engine.dispose()
