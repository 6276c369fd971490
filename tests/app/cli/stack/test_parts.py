"""The stack starts in order, restarts what dies, shows why it cannot start, and stops everything."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.cli.stack import parts as module
from app.cli.stack import supervision
from app.cli.stack.parts import (
    NotReady,
    Signals,
    Stack,
    StopRequested,
    open_listener,
    url_of,
)
from app.cli.stack.supervision import SupervisedProcess
from app.infrastructure.processes.managed import ManagedProcess
from app.settings import Settings
from tests.support.fixtures.servers import until

API = """
import http.server, os, socket, sys
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()
    def log_message(self, *_): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Ready, bind_and_activate=False)
server.socket.close()
server.socket = socket.socket(fileno=int(sys.argv[1]))
print("serving", os.environ["RECURRA_DATA_DIR"], flush=True)
server.serve_forever()
"""
WORKER = "import time; print('working', flush=True); time.sleep(600)"
DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(600)
"""
Make = Callable[..., Stack]


@pytest.fixture
def signals() -> Iterator[Signals]:
    made = Signals()
    yield made
    made.restore()


@pytest.fixture
def messages() -> list[str]:
    return []


@pytest.fixture
def make(
    tmp_path: Path,
    signals: Signals,
    messages: list[str],
    sqlite_template: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Make]:
    """Builds a stack whose database is migrated already, which takes long."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "recurra.db").write_bytes(sqlite_template.read_bytes())
    with open_listener("127.0.0.1", 0) as listener:

        def build(api: str = API, worker: str = WORKER, **settings: Any) -> Stack:
            for name, value in settings.items():  # what it starts reads them from the environment
                monkeypatch.setenv(f"RECURRA_{name.upper()}", str(value))
            return Stack(
                Settings(data_dir=tmp_path / "data"),
                listener,
                messages.append,
                signals,
                api=[sys.executable, "-c", api, str(listener.fileno())],
                workers={"train": [sys.executable, "-c", worker]},
            )

        yield build


def test_it_starts_every_part_and_stops_every_part(make: Make, tmp_path: Path) -> None:
    (tmp_path / "data" / "recurra.db").unlink()
    with make() as stack:
        parts = {process.child.name: process.child for process in stack.processes()}
        assert list(parts) == ["valkey", "api", "train"]
        assert httpx.get(f"{stack.url}/readyz").status_code == 200
        assert (tmp_path / "data" / "recurra.db").exists()
        until(lambda: str(tmp_path / "data") in parts["api"].tail(), what="the API's environment")
        pids = [child.pid for child in parts.values()]
        assert all(pids)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert not stack.processes()
    with make():  # and the directory is free again
        pass


def test_a_database_that_cannot_be_migrated_is_named(make: Make) -> None:
    with (
        pytest.raises(
            NotReady, match=r"^The database at sqlite:////proc/nowhere/recurra.db failed: .*No such file"
        ),
        make(database_url="sqlite:////proc/nowhere/recurra.db"),
    ):
        pass


def test_named_servers_are_not_started(make: Make, tmp_path: Path, redis_server: Any) -> None:
    database = tmp_path / "elsewhere.db"
    (tmp_path / "data" / "recurra.db").unlink()
    with make(redis_url=redis_server.url, database_url=f"sqlite:///{database}") as stack:
        assert [process.child.name for process in stack.processes()] == ["api", "train"]
    assert database.exists()
    assert not (tmp_path / "data" / "recurra.db").exists()
    assert not (tmp_path / "data" / "valkey").exists()


def test_a_part_that_dies_at_the_start_is_shown(make: Make) -> None:
    with (
        pytest.raises(NotReady, match=r"(?s)train ended with status 3:.*no torch here") as caught,
        make(api=WORKER, worker="import sys; print('no torch here', flush=True); sys.exit(3)"),
    ):
        pytest.fail("it was not ready")
    assert "train.log" in str(caught.value)


def test_a_service_that_never_gets_ready_is_stopped(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READY_SECONDS", 0.5)
    with pytest.raises(NotReady, match=r"was not ready after 0\.5 s"), make(api=WORKER):
        pytest.fail("it was not ready")


def test_a_part_that_dies_later_is_started_again(
    make: Make, signals: Signals, messages: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "FIRST_RESTART_SECONDS", 0.05)
    with make() as stack:
        train = stack.processes()[-1]
        train.delay = 0.05
        first = train.child.pid
        assert first is not None

        def disturb() -> None:
            os.kill(first, signal.SIGKILL)
            until(lambda: train.child.pid not in (None, first), what="the restart")
            os.kill(os.getpid(), signal.SIGTERM)

        other = threading.Thread(target=disturb)
        other.start()
        stack.supervise()
        other.join()
    assert messages == ["train ended with status -9; starting it again in 0.05 s"]
    assert signals.count == 1


def test_restarts_back_off_and_calm_down(tmp_path: Path) -> None:
    process = SupervisedProcess(ManagedProcess("brief", [sys.executable, "-c", ""], tmp_path / "log"))
    waits, now = [], 0.0
    for _ in range(8):
        process.child.start()
        process.child.started = now
        until(lambda: process.child.poll() == 0, what="its end")
        waits.append(str(process.check(now)).rpartition(" in ")[2])
        assert process.restart_at is not None
        now, process.restart_at = process.restart_at, None
    assert waits == ["0.5 s", "1 s", "2 s", "4 s", "4 s", "4 s", "4 s", "4 s"]
    process.child.start()
    process.child.started = now
    until(lambda: process.child.poll() == 0, what="its end")
    assert "in 0.5 s" in str(process.check(now + 61))


def test_a_signal_before_it_is_ready_stops_it(make: Make, signals: Signals) -> None:
    signals._count(signal.SIGINT, None)
    with pytest.raises(StopRequested), make(api=WORKER):
        pytest.fail("it was stopped")


def test_a_second_signal_kills(make: Make, signals: Signals) -> None:
    with make(worker=DEAF) as stack:
        until(lambda: stack.processes()[-1].child.tail() == "deaf", what="the worker")
        pid = stack.processes()[-1].child.pid
        signals._count(signal.SIGINT, None)
        signals._count(signal.SIGINT, None)
    assert not Path(f"/proc/{pid}").exists()


def test_signals_are_counted_and_handlers_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    signals = Signals()
    os.kill(os.getpid(), signal.SIGTERM)
    assert signals.wait(5)
    assert not signals.wait(0)
    assert signals.count == 1
    signals.interrupt()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    signals.restore()
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_taken_port_is_an_error_and_zero_finds_a_free_one() -> None:
    with open_listener("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        assert url_of(listener) == f"http://127.0.0.1:{port}"
        with pytest.raises(OSError, match="in use"):
            open_listener("127.0.0.1", port)
    with open_listener("0.0.0.0", 0) as everywhere:  # noqa: S104
        assert url_of(everywhere).startswith("http://127.0.0.1:")
    if socket.has_ipv6:
        with open_listener("::1", 0) as six:
            assert url_of(six).startswith("http://[::1]:")
