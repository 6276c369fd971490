"""The service's processes, started one by one with environments of their own, and the servers they need."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import redis
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from app.cli.stack.parts import ROOT
from app.database.engine import make_engine
from app.database.migrate import upgrade
from tests.faults.jobs.switches import MARK
from tests.support.fixtures.processes import command_line, descendants, has_ended, is_fork_server
from tests.support.fixtures.servers import until, valkey

LAUNCHER = "tests.faults.jobs.sabotage"
TRAINING = ("workers.training.child", "tests.faults.jobs.afflicted")  # modules of training children
POOL = "spawn_main"  # of a Celery worker's pool child

Environment = Mapping[str, str]


def marked(mark: str) -> set[int]:
    """Every living process that was started below a stack, whoever its parent is by now."""
    needle, found = f"{MARK}={mark}".encode(), set[int]()
    for place in Path("/proc").glob("[0-9]*/environ"):
        pid = int(place.parent.name)
        with suppress(OSError):
            if needle in place.read_bytes().split(b"\0") and not has_ended(pid):
                found.add(pid)
    return found


class Part:
    """One process of the service, with whatever it starts."""

    def __init__(self, name: str, command: Sequence[str], log: Path, environment: Environment, *keep: int):
        self.name, self.log = name, log
        self.orphans: set[int] = set()  # what was below it when it was killed
        clean = {key: value for key, value in os.environ.items() if not key.startswith("RECURRA_")}
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                env=clean | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default"} | dict(environment),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=keep,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def below(self, *words: str) -> set[int]:
        """Its living descendants, of those whose command line has one of these words."""
        found = {pid for pid in descendants(self.pid) if not has_ended(pid)}
        return {pid for pid in found if not words or any(word in command_line(pid) for word in words)}

    def pool(self) -> set[int]:
        """A train worker's supervisors."""
        return self.below(POOL) - self.below(*TRAINING)

    def training(self) -> set[int]:
        """A train worker's training children."""
        return {pid for pid in self.below(*TRAINING) if not is_fork_server(pid)}

    def everything(self) -> set[int]:
        return {self.pid, *self.below()}

    def signal(self, number: int) -> None:
        """To the process alone."""
        self._process.send_signal(number)

    def signal_all(self, number: int) -> None:
        """To it and all below, as when a machine freezes."""
        for pid in self.everything():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> set[int]:
        """As `kill -9` does, of the process alone; what was below it, which must end by itself."""
        below = self.below()
        self.orphans |= below
        self._process.kill()
        self._process.wait()
        return below

    def stop(self, seconds: float = 45) -> int:
        """Ask it to stop as a deploy does; its exit status."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(seconds)

    def wait(self, seconds: float = 45) -> int:
        """Its exit status, once it ends by itself."""
        return self._process.wait(seconds)


def end_all(mark: str, orphans: set[int]) -> None:
    """Kill every process of a stack; `orphans` may be some that write their title over their environment."""

    def none_left() -> bool:
        left = marked(mark) | {pid for pid in orphans if not has_ended(pid)}
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left

    until(none_left, 20, "the end of all processes", every=0.05)


@contextmanager
def sqlite(path: Path) -> Iterator[str]:
    """A migrated SQLite file."""
    url = f"sqlite:///{path}"
    migrated(url)
    yield url


@contextmanager
def postgresql(server: str) -> Iterator[str]:
    """A fresh, migrated database, dropped at the end."""
    base, name = make_url(server), f"recurra_{uuid4().hex[:12]}"
    admin = create_engine(base, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"create database {name}"))
    try:
        url = base.set(database=name).render_as_string(hide_password=False)
        migrated(url)
        yield url
    finally:
        with admin.connect() as connection:
            connection.execute(text(f"drop database {name} with (force)"))
        admin.dispose()


def migrated(url: str) -> None:
    engine = make_engine(url)
    upgrade(engine)
    engine.dispose()


@contextmanager
def embedded_redis() -> Iterator[str]:
    """A Valkey server of one stack."""
    with valkey() as server:
        yield server.url


@contextmanager
def shared_redis(url: str, prefix: str) -> Iterator[str]:
    """A server that others use too; our keys are deleted at the end."""
    yield url
    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter(f"{prefix}*"):
            client.delete(key)


def python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]
