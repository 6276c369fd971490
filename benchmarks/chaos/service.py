"""`recurra up` and one more training worker beside it, with every process they ever had."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import httpx
import redis
from sqlalchemy import create_engine, select, text
from sqlalchemy.engine import make_url

from app.database.engine import make_engine, make_readers, make_sessions
from app.database.tables import Job, Worker
from app.infrastructure.storage import Storage
from app.settings import Settings
from app.states import Status
from benchmarks.report import ROOT
from benchmarks.serving.processes import PROC, free_port, quiet, tree
from benchmarks.stack import RECURRA

LEASE, CHECKPOINT = 3.0, 0.2  # seconds
POOL_SIZE = 40  # as app/database/postgresql.py has it
READY_SECONDS, STOP_SECONDS, PATIENCE = 120.0, 90.0, 30.0
MARK = "CHAOS_RUN"  # in the environment of every process of a run
ROLES = {
    "up": "from app.cli import main",
    "API": "--processes",
    "large requests": "--large-requests-of",
    "training worker": "--role train",
    "serving worker": "--role serve",
    "predictor": "workers.serving.predictor",
    "Valkey": "valkey-server",
    "fork server": "workers.process.fork_server",
    "training": "workers.training.child",
    "supervisor": "spawn_main",
}
LASTING = frozenset(ROLES) - {"fork server", "training"}  # more than a burst of jobs


@dataclass(frozen=True)
class Process:
    """One process; its start tells it from a later one of the same number."""

    pid: int
    started: int  # clock ticks since boot
    role: str = field(compare=False)  # a child is told by its parent, which may end before it


@dataclass(frozen=True)
class Servers:
    """A PostgreSQL database and a Redis that are there already; without them the service has its own."""

    database_url: str = ""
    redis_url: str = ""

    @property
    def pooled(self) -> int:
        """Connections to the database that a process may come to keep, each with a descriptor."""
        return POOL_SIZE if self.database_url else 0


OWN_SERVERS = Servers()


@contextmanager
def fresh_servers(database_url: str, redis_url: str) -> Iterator[Servers]:
    """A new database on the server of this one, deleted at the end, and this database of Redis, emptied."""
    name = f"chaos_{uuid4().hex[:12]}"
    admin = create_engine(database_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"create database {name}"))
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    try:
        made = make_url(database_url).set(database=name).render_as_string(hide_password=False)
        yield Servers(made, redis_url)
    finally:
        with admin.connect() as connection:
            connection.execute(text(f"drop database {name} with (force)"))
        admin.dispose()


class Service:
    """What the run sees of it: processes, rows and files."""

    def __init__(self, directory: Path, servers: Servers) -> None:
        self.directory, self.data_dir, self.mark = directory, directory / "data", uuid4().hex
        self.port, self.servers = free_port(), servers
        self.settings = Settings(
            data_dir=self.data_dir,
            database_url=servers.database_url,
            redis_url=servers.redis_url,
            storage_url="",
        )
        self.seen: set[Process] = set()
        self._stopping = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper")
        self._up: subprocess.Popen[bytes] | None = None
        self._worker: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start both; returns when the service says it is ready and both workers take jobs."""
        self._up = self._run("up", "--port", str(self.port), "--data-dir", str(self.data_dir))
        self._until(self._ready, "the service")
        self.engine = make_engine(self.settings.database)
        self.sessions, self.readers = make_sessions(self.engine), make_readers(self.engine)
        self.storage = Storage(self.settings.storage)
        self._keeper.start()
        self._until(lambda: len(self.workers()) == 2, "two training workers")

    def _run(self, *arguments: str) -> subprocess.Popen[bytes]:
        environment = quiet(os.environ) | {
            MARK: self.mark,
            "RECURRA_DATA_DIR": str(self.data_dir),
            "RECURRA_LEASE_SECONDS": str(LEASE),
            "RECURRA_CHECKPOINT_SECONDS": str(CHECKPOINT),
            "RECURRA_DEVICE": "cpu",
            "RECURRA_DATABASE_URL": self.servers.database_url,
            "RECURRA_REDIS_URL": self.servers.redis_url,
        }
        with (self.directory / f"{arguments[0]}.log").open("ab") as log:
            return subprocess.Popen(
                [*RECURRA, *arguments],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _keep(self) -> None:
        """Have one more worker, as a service manager would."""
        while not self._stopping.wait(0.2):
            if self._worker is None or self._worker.poll() is not None:
                self._worker = self._run("worker", "--role", "train")

    def _ready(self) -> bool:
        with suppress(httpx.HTTPError):
            address = f"http://127.0.0.1:{self.port}/readyz"
            return httpx.get(address, timeout=2, trust_env=False).status_code == 200
        return False

    def _until(self, done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not done():
            if time.monotonic() > deadline:
                raise RuntimeError(f"{what} did not come; see {self.directory}")
            time.sleep(0.1)

    # What lives

    def processes(self, *roles: str) -> list[Process]:
        """Those of the service that live now."""
        roots = [process.pid for process in (self._up, self._worker) if process is not None]
        result = {pid for root in roots for pid in tree(root)} | self._marked()
        living = [process for pid in result if (process := _look(pid)) is not None]
        self.seen.update(living)
        return sorted((one for one in living if not roles or one.role in roles), key=lambda one: one.pid)

    def _marked(self) -> set[int]:
        """Those whose environment tells, whoever their parent is by now; Valkey overwrites its own."""
        needle, result = f"{MARK}={self.mark}".encode(), set[int]()
        for place in PROC.glob("[0-9]*/environ"):
            with suppress(OSError):
                if needle in place.read_bytes():
                    result.add(int(place.parent.name))
        return result

    def left(self) -> list[Process]:
        """Those that live although everything was stopped."""
        self._until_gone()
        return [one for one in self.seen if _look(one.pid) == one]

    def _until_gone(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while (self._marked() or any(_look(one.pid) == one for one in self.seen)) and (
            time.monotonic() < deadline
        ):
            self.processes()
            time.sleep(0.2)

    # What the database says

    def workers(self) -> dict[int, str]:
        """The ids of the training workers that live, by the number of their main process."""
        alive = {one.pid for one in self.processes("training worker")}
        with self.readers() as session:
            rows = session.execute(select(Worker.pid, Worker.id).order_by(Worker.started_at)).all()
        return {pid: worker_id for pid, worker_id in rows if pid in alive}

    def runs(self, owner: str | None) -> str | None:
        """The job that a worker owns now; one lost with its last supervisor may be its for a while."""
        with self.readers() as session:
            query = select(Job.id).where(Job.status == Status.RUNNING, Job.owner == owner)
            return session.scalars(query.order_by(Job.lease_until.desc())).first()

    def live(self, *statuses: Status) -> list[str]:
        """Jobs with one of these statuses, oldest first."""
        with self.readers() as session:
            return list(session.scalars(select(Job.id).where(Job.status.in_(statuses)).order_by(Job.id)))

    def stop(self) -> None:
        """Ask both to stop, as a deploy does."""
        self._stopping.set()
        if self._keeper.ident is not None:
            self._keeper.join()
        for process in (self._worker, self._up):
            if process is not None:
                process.send_signal(signal.SIGTERM)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(STOP_SECONDS)

    def close(self) -> None:
        """End for certain whatever is left."""
        self.stop()
        for one in self.seen | set(self.processes()):
            if _look(one.pid) == one:
                with suppress(ProcessLookupError):
                    os.kill(one.pid, signal.SIGKILL)
        for process in (self._worker, self._up):
            if process is not None:
                process.wait()
        if hasattr(self, "engine"):
            self.engine.dispose()


def _look(pid: int) -> Process | None:
    """A process as it is now; None when it has ended."""
    with suppress(OSError):
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        command = _command_line(pid)
        role = next((role for role, word in ROLES.items() if word in command), command[:60] or "?")
        if role == "fork server" and command == _command_line(int(fields[1])):  # its child
            role = "training"
        return None if fields[0] in "ZX" else Process(pid, int(fields[19]), role)
    return None


def _command_line(pid: int) -> str:
    return (PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")


@contextmanager
def service(directory: Path, servers: Servers) -> Iterator[Service]:
    """A running service; nothing of it is left at the end."""
    made = Service(directory, servers)
    try:
        made.start()
        yield made
    finally:
        made.close()
