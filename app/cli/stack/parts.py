"""The parts `recurra up` runs: started in order, watched, restarted when they die, stopped in order."""

import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

import httpx

from app.cli.stack.embedded_servers import Claim, answers, valkey
from app.database.engine import make_engine
from app.database.migrate import upgrade
from app.infrastructure.processes import Child, rotate
from app.settings import Settings

READY_SECONDS = 120.0
FIRST_DELAY, LAST_DELAY, CALM_SECONDS = 0.5, 30.0, 60.0  # backoff of restarts; a calm minute resets it
WORKER_GRACE, SERVER_GRACE = 45.0, 10.0  # a training writes a checkpoint before it stops
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ROOT = Path(__file__).parents[3]
SAFE = {
    "PYTHONSAFEPATH": "1"
}  # a stranger's `app/` in the current directory is not imported, by no descendant


class NotReady(Exception):
    """A part ended, or the service did not become ready in time."""


class Stop(Exception):
    """The user asked to stop before the service was ready."""


class Signals:
    """Ctrl-C, SIGTERM and a closed terminal, counted; waiting ends as soon as one comes."""

    def __init__(self) -> None:
        self.count = 0
        self._read, self._write = os.pipe()
        self._before = {number: signal.getsignal(number) for number in STOPPING}
        self.count_them()

    def count_them(self) -> None:
        """From now on a signal is counted and ends a wait."""
        for number in STOPPING:
            signal.signal(number, self._note)

    def interrupt(self) -> None:
        """From now on a signal raises KeyboardInterrupt, which ends whatever blocks."""
        for number in STOPPING:
            signal.signal(number, signal.default_int_handler)

    def _note(self, _: int, __: FrameType | None) -> None:
        self.count += 1
        os.write(self._write, b"!")

    def wait(self, seconds: float) -> bool:
        """Wait; True as soon as there is a signal that no wait has reported yet."""
        if not select.select([self._read], [], [], seconds)[0]:
            return False
        os.read(self._read, 1)
        return True

    def restore(self) -> None:
        """Put back the handlers that were there before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._read)
        os.close(self._write)


def listen(host: str, port: int) -> socket.socket:
    """Open the API's socket here: a taken port is known at once, and 0 finds a free one without a race."""
    family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    opened = socket.socket(family, kind, proto)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind(address)
        opened.listen(2048)
    except OSError:
        opened.close()
        raise
    return opened


def url_of(opened: socket.socket) -> str:
    """Where a client on this machine reaches the socket."""
    host, port = opened.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def api_command(*where: str) -> list[str]:
    """The API server's command line."""
    return [sys.executable, "-m", "app.server", *where]


def worker_command(role: str) -> list[str]:
    """A worker's command line; only the worker process imports torch."""
    return [sys.executable, "-m", "workers.main", "--role", role]


@dataclass
class Kept:
    """A child that is started again, later each time, when it ends by itself."""

    child: Child
    delay: float = FIRST_DELAY
    due: float | None = None

    def tend(self, now: float) -> str | None:
        """Notice an end, or restart when it is time; a sentence to show when something happened."""
        if self.due is not None:
            if now >= self.due:
                self.due = None
                self.child.start()
            return None
        if (status := self.child.ended()) is None:
            return None
        self.child.kill()  # whatever it left behind in its session
        calm = now - self.child.started > CALM_SECONDS
        wait = FIRST_DELAY if calm else self.delay
        self.delay = min(2 * wait, LAST_DELAY)
        self.due = now + wait
        return f"{self.child.name} ended with status {status}; starting it again in {wait:g} s"


@dataclass
class Stack:
    """The whole service on one machine; servers that the settings name are used, the others brought along."""

    settings: Settings
    opened: socket.socket
    say: Callable[[str], None]
    signals: Signals
    api: Sequence[str] = ()  # command lines; tests bring their own
    workers: Mapping[str, Sequence[str]] = field(
        default_factory=lambda: {role: worker_command(role) for role in ("train", "serve")}
    )
    groups: list[tuple[list[Kept], float]] = field(default_factory=list)  # as started, each with its grace
    claim: Claim | None = None

    @property
    def url(self) -> str:
        """Where the API is."""
        return url_of(self.opened)

    def __enter__(self) -> Self:
        self.claim = Claim(self.settings.data_dir)
        try:
            self._start(self.claim)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self, claim: Claim) -> None:
        claim.announce(self.url)
        if not self.settings.redis_url:
            self._add([valkey(self.settings, claim)], SERVER_GRACE)
        upgrade(make_engine(self.settings.database))
        self._until(lambda: answers(self.settings.redis), "Redis")
        descriptor = self.opened.fileno()
        api = self.api or api_command("--fd", str(descriptor))
        self._add([self._child("api", api, descriptor)], SERVER_GRACE)
        self._add([self._child(role, command) for role, command in self.workers.items()], WORKER_GRACE)
        self._until(self._ready, "the service")

    def _child(self, name: str, command: Sequence[str], *keep: int) -> Child:
        data_dir = str(self.settings.data_dir.resolve())
        return Child(name, command, self.logs / f"{name}.log", {**SAFE, "RECURRA_DATA_DIR": data_dir}, keep)

    def _add(self, children: list[Child], grace: float) -> None:
        self.groups.append(([Kept(child) for child in children], grace))
        for child in children:
            rotate(child.log)
            child.start()

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=1, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def _until(self, done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not done():
            for child in (kept.child for kept in self.parts()):
                if (status := child.ended()) is not None:
                    raise NotReady(f"{child.name} ended with status {status}:\n{child.tail()}\n({child.log})")
            if time.monotonic() > deadline:
                raise NotReady(f"{what} was not ready after {READY_SECONDS:g} s; see {self.logs}")
            if self.signals.wait(0.1):
                raise Stop

    @property
    def logs(self) -> Path:
        """Where the parts write."""
        return self.settings.data_dir.resolve() / "logs"

    def parts(self) -> list[Kept]:
        """Every child, in starting order."""
        return [kept for group, _ in self.groups for kept in group]

    def supervise(self) -> None:
        """Keep every part running until a signal comes."""
        while not self.signals.wait(0.2):
            for kept in self.parts():
                if message := kept.tend(time.monotonic()):
                    self.say(message)

    def stop(self) -> None:
        """Stop workers, API and Valkey, in this order, each within its grace; a second signal kills."""
        for group, grace in reversed(self.groups):
            deadline = time.monotonic() + grace
            for kept in group:
                kept.child.ask()
            while any(kept.child.ended() is None for kept in group):
                if self.signals.count > 1 or time.monotonic() > deadline:
                    break
                self.signals.wait(0.02)
            for kept in group:
                kept.child.kill()
        self.groups.clear()
        if self.claim:
            self.claim.release()
            self.claim = None
