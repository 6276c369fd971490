"""A training worker as a real process cleans up while it waits for jobs, and stops without delay."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from app.database.engine import make_engine, make_sessions
from app.identifiers import new_id
from app.infrastructure.storage import Storage
from tests.app.services.maintenance.test_cleanup import Rig
from tests.support.fixtures.servers import Valkey, until


def test_a_training_worker_cleans_up(tmp_path: Path, sqlite_template: Path, redis_server: Valkey) -> None:
    (tmp_path / "test.db").write_bytes(sqlite_template.read_bytes())
    url = f"sqlite:///{tmp_path / 'test.db'}"
    engine = make_engine(url)
    rig = Rig(make_sessions(engine), Storage((tmp_path / "storage").as_uri()), tmp_path)
    old = rig.put(f"datasets/{rig.dataset()}/content")
    young = rig.put(f"datasets/{new_id('ds')}/content", seconds=0)
    rig.put(f"datasets/{new_id('ds')}/content")
    left = rig.directory(f"work/{new_id('job')}-1-abc")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RECURRA_")} | {
        "RECURRA_DATA_DIR": str(rig.data_dir),
        "RECURRA_DATABASE_URL": url,
        "RECURRA_STORAGE_URL": (tmp_path / "storage").as_uri(),
        "RECURRA_REDIS_URL": redis_server.url,
        "RECURRA_REDIS_PREFIX": "test-cleanup:",
        "RECURRA_CLEANUP_SECONDS": "0.2",
        "RECURRA_DEVICE": "cpu",
    }
    with (tmp_path / "log").open("wb") as log:
        command = [sys.executable, "-m", "workers.main", "--role", "train"]
        worker = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        until(lambda: set(rig.keys()) == {old, young} and not left.exists(), 90, "the cleanup")
        begun = time.monotonic()
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0
        assert time.monotonic() - begun < 40
    finally:
        if worker.poll() is None:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
        engine.dispose()
    assert "deleted 1 groups of stored files (5 bytes)" in (tmp_path / "log").read_text()
