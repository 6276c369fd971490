"""Which predictors a serving worker runs, and that it runs them all."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.database.engine import make_engine, make_sessions
from app.database.migrate import upgrade
from app.database.tables import Worker
from app.infrastructure.processes.managed import is_alive
from app.lanes import PredictorPresence, RequestConsumer
from app.settings import Settings, usable_cores
from tests.support.fixtures.servers import Valkey, until
from workers.main import predictor_devices
from workers.serving.processes import ServingConfig

SERVE = [sys.executable, "-m", "workers.main", "--role", "serve"]


def test_half_of_the_cores_predict_unless_configured_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECURRA_PREDICTORS", raising=False)
    assert Settings().predictors == max(1, usable_cores() // 2)
    assert usable_cores() >= 1
    monkeypatch.setenv("RECURRA_PREDICTORS", "3")
    assert Settings().predictors == 3
    monkeypatch.setenv("RECURRA_PREDICTORS", "0")
    with pytest.raises(ValidationError):
        Settings()


def test_predictors_are_on_the_cpu_or_one_on_each_card() -> None:
    assert predictor_devices(("cpu",), 3) == ("cpu", "cpu", "cpu")
    assert predictor_devices(("cuda:0", "cuda:1"), 3) == ("cuda:0", "cuda:1")


def test_each_predictor_has_an_id_of_its_own() -> None:
    config = ServingConfig(
        "redis://", "file:///", "/cache", "w", devices=("cpu", "cpu"), lane="l", max_batch=7
    )
    assert [(spec.worker_id, spec.device, spec.lane, spec.max_batch) for spec in config.specs()] == [
        ("w:0", "cpu", "l", 7),
        ("w:1", "cpu", "l", 7),
    ]


def worker_row(url: str) -> Worker | None:
    engine = make_engine(url)
    with make_sessions(engine)() as session:
        row = session.query(Worker).one_or_none()
    engine.dispose()
    return row


def test_a_killed_serving_worker_takes_its_predictors_along(tmp_path: Path, redis_server: Valkey) -> None:
    url = f"sqlite:///{tmp_path / 'test.db'}"
    engine = make_engine(url)
    upgrade(engine)
    engine.dispose()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RECURRA_")}
    environment |= {
        "RECURRA_DATA_DIR": str(tmp_path / "data"),
        "RECURRA_DATABASE_URL": url,
        "RECURRA_REDIS_URL": redis_server.url,
        "RECURRA_REDIS_PREFIX": f"{tmp_path.name}:",
        "RECURRA_LANE": tmp_path.name,
        "RECURRA_DEVICE": "cpu",
        "RECURRA_PREDICTORS": "2",
    }
    with (tmp_path / "log").open("wb") as log:
        worker = subprocess.Popen(SERVE, env=environment, stdout=log, stderr=log)
    try:
        until(lambda: worker_row(url) is not None, 60, "the worker's row")
        row = worker_row(url)
        assert row is not None
        assert row.device == "cpu"
        presences = [
            wait_for_presence(redis_server.url, tmp_path.name, f"{row.id}:{number}") for number in range(2)
        ]
        pids = [presence.pid for presence in presences]
        assert len(set(pids)) == 2
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        until(lambda: not any(map(is_alive, pids)), what="the predictors' end")
    finally:
        worker.kill()
        worker.wait()


def wait_for_presence(url: str, lane: str, worker_id: str) -> PredictorPresence:
    consumer = RequestConsumer(url, lane, worker_id)
    until(lambda: consumer.read_presence() is not None, 20, f"the presence of {worker_id}")
    presence = consumer.read_presence()
    consumer.close()
    assert presence is not None
    return presence
