"""The processes of `recurra up`: started in order, restarted when they end, stopped in reverse order."""

import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

import httpx

from app.cli.stack.command_lines import (
    SAFE_PATH,
    api_command,
    migrate_command,
    page_command,
    worker_command,
)
from app.cli.stack.embedded_servers import DirectoryLock, is_responding, valkey_process
from app.cli.stack.supervision import StandbyProcess, SupervisedProcess
from app.infrastructure.processes.managed import ManagedProcess, rotate_log
from app.settings import Settings

READY_SECONDS = 120.0
WORKER_STOP_SECONDS, SERVER_STOP_SECONDS = 45.0, 10.0  # a training writes a checkpoint before it stops
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ROOT = Path(__file__).parents[3]


class NotReady(Exception):
    """A process ended, or the service did not become ready in time."""


class StopRequested(Exception):
    """The user asked to stop before the service was ready."""


class Signals:
    """Counts Ctrl-C, SIGTERM and the loss of the terminal; a wait ends with the next one."""

    def __init__(self) -> None:
        self.count = 0
        self._read, self._write = os.pipe()
        self._previous = {number: signal.getsignal(number) for number in STOP_SIGNALS}
        self.count_signals()

    def count_signals(self) -> None:
        """From now on a signal is counted and ends a wait."""
        for number in STOP_SIGNALS:
            signal.signal(number, self._count)

    def interrupt(self) -> None:
        """From now on a signal raises KeyboardInterrupt, which ends any blocking call."""
        for number in STOP_SIGNALS:
            signal.signal(number, signal.default_int_handler)

    def _count(self, _: int, __: FrameType | None) -> None:
        self.count += 1
        os.write(self._write, b"!")

    def wait(self, seconds: float) -> bool:
        """Wait for a signal that no other wait has reported; False if none comes in time."""
        if not select.select([self._read], [], [], seconds)[0]:
            return False
        os.read(self._read, 1)
        return True

    def restore(self) -> None:
        """Restore the handlers that were set before."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        os.close(self._read)
        os.close(self._write)


def open_listener(host: str, port: int) -> socket.socket:
    """A listening socket for the API; opened here, a port in use is known at once, and 0 takes a free one."""
    family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, proto)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(2048)
    except OSError:
        listener.close()
        raise
    return listener


def url_of(listener: socket.socket) -> str:
    """The URL at which a client on this machine reaches the socket."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@dataclass
class Stack:
    """The whole service on one machine; it starts the servers for which the settings have no URL."""

    settings: Settings
    listener: socket.socket
    report: Callable[[str], None]
    signals: Signals
    api_processes: int = 1
    insecure: bool = False  # answers other machines without keys
    page_listener: socket.socket | None = None  # None: without the page for people
    api: Sequence[str] = ()  # command line; tests have their own
    workers: Mapping[str, Sequence[str]] = field(
        default_factory=lambda: {role: worker_command(role) for role in ("train", "serve")}
    )
    # In starting order, each with the seconds it has to stop
    groups: list[tuple[list[SupervisedProcess | StandbyProcess], float]] = field(default_factory=list)
    lock: DirectoryLock | None = None

    @property
    def url(self) -> str:
        """The URL of the API."""
        return url_of(self.listener)

    def __enter__(self) -> Self:
        self.lock = DirectoryLock(self.settings.data_dir)
        try:
            self._start(self.lock)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self, lock: DirectoryLock) -> None:
        lock.announce(self.url)
        if not self.settings.redis_url:
            self._start_group([valkey_process(self.settings, lock)], SERVER_STOP_SECONDS)
        self._migrate()
        self._wait_until(lambda: is_responding(self.settings.redis), "Redis")
        descriptor = self.listener.fileno()
        insecure = ["--insecure"] if self.insecure else []
        options = ("--fd", str(descriptor), "--processes", str(self.api_processes), *insecure)
        api = self.api or api_command(*options)
        self._start_group([self._process("api", api, descriptor, **self._page_location)], SERVER_STOP_SECONDS)
        workers = [self._process(role, command) for role, command in self.workers.items()]
        self._start_group(workers, WORKER_STOP_SECONDS)
        self._wait_until(self._is_ready, "the service")
        if self.page_listener is not None:
            self._add_page(self.page_listener)

    def _add_page(self, listener: socket.socket) -> None:
        """Have the page started by its first visitor; the service is ready without it."""
        descriptor = listener.fileno()
        insecure = ["--insecure"] if self.insecure else []
        command = page_command("--fd", str(descriptor), "--url", self.url, *insecure)
        child = self._process("page", command, descriptor)
        rotate_log(child.log)
        self.groups.append(([StandbyProcess(child, listener)], SERVER_STOP_SECONDS))

    @property
    def _page_location(self) -> dict[str, str]:
        """The setting by which the API sends people to the page, unless the environment has another."""
        if self.page_listener is None or self.settings.page_url:
            return {}
        return {"RECURRA_PAGE_URL": f":{self.page_listener.getsockname()[1]}"}

    def _migrate(self) -> None:
        """Migrate in a process of its own: this one lives long, and needs no database."""
        migrated = subprocess.run(  # noqa: S603 - our own command line
            migrate_command(),
            env={**os.environ, **self._environment},
            capture_output=True,
            text=True,
            check=False,
        )
        if migrated.returncode:
            raise NotReady(migrated.stderr.strip())

    @property
    def _environment(self) -> dict[str, str]:
        return {**SAFE_PATH, "RECURRA_DATA_DIR": str(self.settings.data_dir.resolve())}

    def _process(self, name: str, command: Sequence[str], *pass_fds: int, **variables: str) -> ManagedProcess:
        environment = self._environment | variables
        return ManagedProcess(name, command, self.logs / f"{name}.log", environment, pass_fds)

    def _start_group(self, processes: list[ManagedProcess], stop_seconds: float) -> None:
        self.groups.append(([SupervisedProcess(process) for process in processes], stop_seconds))
        for process in processes:
            rotate_log(process.log)
            process.start()

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=1, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def _wait_until(self, is_done: Callable[[], bool], name: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not is_done():
            for child in (process.child for process in self.processes()):
                if (status := child.poll()) is not None:
                    raise NotReady(f"{child.name} ended with status {status}:\n{child.tail()}\n({child.log})")
            if time.monotonic() > deadline:
                raise NotReady(f"{name} was not ready after {READY_SECONDS:g} s; see {self.logs}")
            if self.signals.wait(0.1):
                raise StopRequested

    @property
    def logs(self) -> Path:
        """The directory of the processes' logs."""
        return self.settings.data_dir.resolve() / "logs"

    def processes(self) -> list[SupervisedProcess | StandbyProcess]:
        """All processes, in starting order."""
        return [process for group, _ in self.groups for process in group]

    def supervise(self) -> None:
        """Keep every process running until a signal comes."""
        while not self.signals.wait(0.2):
            for process in self.processes():
                if message := process.check(time.monotonic()):
                    self.report(message)

    def stop(self) -> None:
        """Stop workers, API and Valkey, in this order, each in its time; a second signal kills them."""
        for group, seconds in reversed(self.groups):
            deadline = time.monotonic() + seconds
            for process in group:
                process.child.terminate()
            while any(process.child.poll() is None for process in group):
                if self.signals.count > 1 or time.monotonic() > deadline:
                    break
                self.signals.wait(0.02)
            for process in group:
                process.child.kill()
        self.groups.clear()
        if self.lock:
            self.lock.release()
            self.lock = None
