"""The embedded Valkey is private, alone on its directory, and can be lost without losing a job."""

import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from sqlalchemy import update

from app.cli.stack import embedded_servers
from app.cli.stack.embedded_servers import (
    DirectoryInUse,
    DirectoryLock,
    is_responding,
    private_directory,
    valkey_process,
)
from app.database.engine import db_now, make_engine, make_sessions
from app.database.tables import Job
from app.infrastructure.broker import Broker
from app.infrastructure.processes.managed import ManagedProcess
from app.services.jobs.dispatcher import Dispatcher
from app.settings import Settings
from tests.app.services.jobs.test_leases import submit
from tests.support.fixtures.servers import until


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", redis_url="")


@pytest.fixture
def claim(settings: Settings) -> Iterator[DirectoryLock]:
    made = DirectoryLock(settings.data_dir)
    yield made
    made.release()


@pytest.fixture
def server(settings: Settings, claim: DirectoryLock) -> Iterator[ManagedProcess]:
    child = valkey_process(settings, claim)
    child.start()
    until(lambda: is_responding(settings.redis), what="Valkey")
    yield child
    child.kill()


def test_it_listens_on_a_private_socket_and_no_port(settings: Settings, server: ManagedProcess) -> None:
    with redis.Redis.from_url(settings.redis) as client:
        result = client.config_get("*")
    expected = {
        "port": "0",
        "appendonly": "no",  # lanes carry megabytes a second that nobody needs again
        "save": "",
        "maxmemory-policy": "noeviction",
    }
    assert {name: result[name] for name in expected} == expected
    socket = settings.redis_socket
    assert stat.S_IMODE(socket.stat().st_mode) == 0o700
    assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700


@pytest.fixture
def broker(settings: Settings, server: ManagedProcess) -> Iterator[Broker]:
    made = Broker(settings.redis)
    yield made
    made.close()


def test_a_queued_job_is_rung_for_again_when_valkey_lost_everything(
    settings: Settings, server: ManagedProcess, broker: Broker, sqlite_template: Path, tmp_path: Path
) -> None:
    (tmp_path / "test.db").write_bytes(sqlite_template.read_bytes())
    engine = make_engine(f"sqlite:///{tmp_path / 'test.db'}")
    sessions = make_sessions(engine)
    dispatcher = Dispatcher(sessions, broker, renotify_seconds=5)
    with sessions.begin() as session:
        submit(session)
    dispatcher.run_pass()
    assert broker.pending() == 1
    server.kill()
    assert not is_responding(settings.redis)
    server.start()
    until(lambda: is_responding(settings.redis), what="Valkey again")
    assert broker.pending() == 0
    with sessions.begin() as session:
        session.execute(update(Job).values(dispatched_at=db_now() - 6))
    dispatcher.run_pass()
    assert broker.pending() == 1
    engine.dispose()


def test_nothing_is_written_to_its_directory(settings: Settings, server: ManagedProcess) -> None:
    with redis.Redis.from_url(settings.redis) as client:
        client.rpush("lane", *range(100))
    server.terminate()
    until(lambda: server.poll() == 0, what="its end")
    assert list((settings.data_dir / "valkey").iterdir()) == []


def test_sigterm_ends_it_in_order(server: ManagedProcess) -> None:
    server.terminate()
    until(lambda: server.poll() == 0, what="its end")
    assert "bye bye" in server.tail()


def test_a_long_data_directory_has_its_socket_elsewhere(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / ("long" * 30), redis_url="")
    assert len(os.fsencode(settings.redis_socket)) <= 103
    assert settings.redis_socket != Settings(data_dir=tmp_path / ("long" * 31)).redis_socket
    claim = DirectoryLock(settings.data_dir)
    server = valkey_process(settings, claim)
    server.start()
    try:
        until(lambda: is_responding(settings.redis), what="Valkey")
    finally:
        server.kill()
        claim.release()
        settings.redis_socket.unlink(missing_ok=True)


@pytest.mark.parametrize("name", ["with space", "per%20cent", "ünï", "que?stion"])
def test_odd_directory_names_make_working_urls(tmp_path: Path, name: str) -> None:
    settings = Settings(data_dir=tmp_path / name, redis_url="")
    claim = DirectoryLock(settings.data_dir)
    server = valkey_process(settings, claim)
    server.start()
    try:
        until(lambda: is_responding(settings.redis), what="Valkey")
    finally:
        server.kill()
        claim.release()


def test_a_second_claim_says_who_holds_the_directory(settings: Settings, claim: DirectoryLock) -> None:
    claim.announce("http://127.0.0.1:8000")
    with pytest.raises(
        DirectoryInUse, match=rf"already running on .* at http://127\.0\.0\.1:8000 \(process {os.getpid()}\)"
    ):
        DirectoryLock(settings.data_dir)


def test_a_released_directory_is_free(settings: Settings) -> None:
    DirectoryLock(settings.data_dir).release()
    DirectoryLock(settings.data_dir).release()


def test_a_leftover_server_keeps_the_directory_until_it_ends(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = DirectoryLock(settings.data_dir)
    server = valkey_process(settings, first)
    server.start()
    until(lambda: is_responding(settings.redis), what="Valkey")
    first.release()  # as if the process that held it had been killed ...
    (settings.data_dir / "lock").write_text("999999999 http://gone")  # ... and its number is nobody's
    monkeypatch.setattr(embedded_servers, "LOCK_WAIT_SECONDS", 0.2)
    with pytest.raises(DirectoryInUse):
        DirectoryLock(settings.data_dir)
    monkeypatch.setattr(embedded_servers, "LOCK_WAIT_SECONDS", 10.0)
    assert server.pid is not None
    os.kill(server.pid, signal.SIGTERM)
    second = DirectoryLock(settings.data_dir)  # waits for the server's end
    second.release()
    server.kill()


def test_a_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    target = private_directory(tmp_path / "mine")
    assert stat.S_IMODE(target.stat().st_mode) == 0o700
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(DirectoryInUse, match="not a directory of this user"):
        private_directory(tmp_path / "link")


def test_nobody_answers_where_nothing_listens(tmp_path: Path) -> None:
    assert not is_responding(f"unix://{tmp_path}/none.sock")
    assert not is_responding("redis://127.0.0.1:1/0")
