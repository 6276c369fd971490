"""The janitor: cleans up at intervals, survives errors, and stops at once."""

import logging
import time
from pathlib import Path

import pytest

from app.database.engine import Sessions, make_engine, make_sessions
from app.identifiers import new_id
from app.infrastructure.storage import Storage
from app.services.maintenance.janitor import FIRST_WAIT_SECONDS, Janitor
from tests.app.services.maintenance.test_cleanup import Rig
from tests.support.fixtures.servers import until


@pytest.fixture
def rig(sessions: Sessions, storage: Storage, tmp_path: Path) -> Rig:
    made = Rig(sessions, storage, tmp_path)
    made.job()
    return made


def janitor(rig: Rig, interval: float = 0.05, sessions: Sessions | None = None) -> Janitor:
    return Janitor(sessions or rig.sessions, rig.storage, rig.data_dir, interval)


def test_it_cleans_up_again_and_again(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    needed = rig.put(f"datasets/{rig.dataset()}/content")
    made = janitor(rig)
    caplog.set_level(logging.INFO)
    made.start()
    try:
        for _ in range(2):
            rig.put(f"datasets/{new_id('ds')}/content")
            left = rig.directory(f"incoming/{new_id('tmp')}")
            until(lambda: rig.keys() == [needed], 30, "the cleanup of the store")
            until(lambda left=left: not left.exists(), 30, "the cleanup of the directory")
    finally:
        made.stop()
    assert "deleted 1 groups of stored files (5 bytes)" in caplog.text


def test_an_error_is_logged_and_the_next_cleanup_tries_again(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    broken = rig.data_dir / "late.db"
    engine = make_engine(f"sqlite:///{broken}")
    made = janitor(rig, sessions=make_sessions(engine))
    made.start()
    try:
        until(lambda: caplog.text.count("cleanup: ") >= 2, 30, "two failures")
    finally:
        made.stop()
        engine.dispose()
    assert "no such table" in caplog.text


def test_the_first_cleanup_waits_and_a_stop_is_quick(rig: Rig) -> None:
    gone = rig.put(f"datasets/{new_id('ds')}/content")
    made = janitor(rig, interval=10 * FIRST_WAIT_SECONDS)
    made.start()
    begun = time.monotonic()
    made.stop()
    assert time.monotonic() - begun < 1
    assert rig.keys() == [gone]


def test_one_that_never_started_can_be_stopped(rig: Rig) -> None:
    janitor(rig).stop()
