"""The janitor: sweeps again and again, outlives what goes wrong, and stops at once."""

import logging
import time
from pathlib import Path

import pytest

from app.database.engine import Sessions, make_engine, make_sessions
from app.identifiers import new_id
from app.infrastructure.storage import Storage
from app.services.maintenance.janitor import SETTLED, Janitor
from tests.app.services.maintenance.test_cleanup import Yard
from tests.servers import until


@pytest.fixture
def yard(sessions: Sessions, storage: Storage, tmp_path: Path) -> Yard:
    made = Yard(sessions, storage, tmp_path)
    made.job()
    return made


def janitor(yard: Yard, every: float = 0.05, sessions: Sessions | None = None) -> Janitor:
    return Janitor(sessions or yard.sessions, yard.storage, yard.data_dir, every)


def test_it_sweeps_again_and_again(yard: Yard, caplog: pytest.LogCaptureFixture) -> None:
    kept = yard.put(f"datasets/{yard.dataset()}/content")
    made = janitor(yard)
    caplog.set_level(logging.INFO)
    made.start()
    try:
        for _ in range(2):
            yard.put(f"datasets/{new_id('ds')}/content")
            left = yard.directory(f"incoming/{new_id('tmp')}")
            until(lambda: yard.keys() == [kept], 30, "the sweep of the store")
            until(lambda left=left: not left.exists(), 30, "the sweep of the directory")
    finally:
        made.stop()
    assert "swept 1 places (5 bytes)" in caplog.text


def test_what_goes_wrong_is_logged_and_tried_again(yard: Yard, caplog: pytest.LogCaptureFixture) -> None:
    broken = yard.data_dir / "late.db"
    engine = make_engine(f"sqlite:///{broken}")
    made = janitor(yard, sessions=make_sessions(engine))
    made.start()
    try:
        until(lambda: caplog.text.count("sweep: ") >= 2, 30, "two failures")
    finally:
        made.stop()
        engine.dispose()
    assert "no such table" in caplog.text


def test_a_start_is_left_in_peace_and_a_stop_is_quick(yard: Yard) -> None:
    gone = yard.put(f"datasets/{new_id('ds')}/content")
    made = janitor(yard, every=10 * SETTLED)
    made.start()
    begun = time.monotonic()
    made.stop()
    assert time.monotonic() - begun < 1
    assert yard.keys() == [gone]


def test_one_that_never_started_can_be_stopped(yard: Yard) -> None:
    janitor(yard).stop()
