"""The janitor: cleans up at intervals, survives errors, and stops at once."""

import logging
import time
from pathlib import Path

import pytest

from app.database.engine import Sessions, make_engine, make_sessions
from app.identifiers import new_id
from app.infrastructure.storage import Storage
from app.services.maintenance.janitor import FIRST_WAIT_SECONDS, Janitor
from tests.app.services.maintenance.test_cleanup import Yard
from tests.support.fixtures.servers import until


@pytest.fixture
def yard(sessions: Sessions, storage: Storage, tmp_path: Path) -> Yard:
    made = Yard(sessions, storage, tmp_path)
    made.job()
    return made


def janitor(yard: Yard, interval: float = 0.05, sessions: Sessions | None = None) -> Janitor:
    return Janitor(sessions or yard.sessions, yard.storage, yard.data_dir, interval)


def test_it_cleans_up_again_and_again(yard: Yard, caplog: pytest.LogCaptureFixture) -> None:
    needed = yard.put(f"datasets/{yard.dataset()}/content")
    made = janitor(yard)
    caplog.set_level(logging.INFO)
    made.start()
    try:
        for _ in range(2):
            yard.put(f"datasets/{new_id('ds')}/content")
            left = yard.directory(f"incoming/{new_id('tmp')}")
            until(lambda: yard.keys() == [needed], 30, "the cleanup of the store")
            until(lambda left=left: not left.exists(), 30, "the cleanup of the directory")
    finally:
        made.stop()
    assert "deleted 1 groups of stored files (5 bytes)" in caplog.text


def test_an_error_is_logged_and_the_next_cleanup_tries_again(
    yard: Yard, caplog: pytest.LogCaptureFixture
) -> None:
    broken = yard.data_dir / "late.db"
    engine = make_engine(f"sqlite:///{broken}")
    made = janitor(yard, sessions=make_sessions(engine))
    made.start()
    try:
        until(lambda: caplog.text.count("cleanup: ") >= 2, 30, "two failures")
    finally:
        made.stop()
        engine.dispose()
    assert "no such table" in caplog.text


def test_the_first_cleanup_waits_and_a_stop_is_quick(yard: Yard) -> None:
    gone = yard.put(f"datasets/{new_id('ds')}/content")
    made = janitor(yard, interval=10 * FIRST_WAIT_SECONDS)
    made.start()
    begun = time.monotonic()
    made.stop()
    assert time.monotonic() - begun < 1
    assert yard.keys() == [gone]


def test_one_that_never_started_can_be_stopped(yard: Yard) -> None:
    janitor(yard).stop()
