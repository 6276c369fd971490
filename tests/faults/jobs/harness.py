"""A real service under faults: an API, training workers, a database and Redis, each to be killed or frozen.

`Stack` has the servers; its parts are started by the test, with environments and safeguards of their own.
"""

import hashlib
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from sqlalchemy import func, select

from app.cli.stack.parts import open_listener, url_of
from app.database.engine import make_engine, make_readers, make_sessions
from app.database.tables import Job, JobEvent, ModelVersion, Worker
from app.infrastructure.broker import Broker
from app.infrastructure.checkpoint_name import step_of
from app.infrastructure.storage import Storage
from app.services.jobs import checkpoints, queries
from app.states import TERMINAL, Status
from app.typedefs import Json
from tests.faults.jobs import parts
from tests.faults.jobs.parts import LAUNCHER, Part, python
from tests.faults.jobs.switches import AFFLICTED, MARK, OFF, PROGRAM, SLOW
from tests.support.fixtures.processes import command_line, is_fork_server
from tests.support.fixtures.servers import until

SAMPLE = Path(__file__).parents[3] / "app" / "samples" / "seattle_weather.csv"
LEASE, CHECKPOINT = 3.0, 0.2  # seconds
QUICK, STEADY, ENDLESS = 1, 8, 10_000  # epochs: as short as can be, some seconds, never done
NETWORK: Json = {"hidden_size": 16}
OPTIONS: Json = {"horizon": 7}
PATIENCE = 90.0  # seconds a test waits for what has to come, on a machine that does other work too


class Stack:
    """One service: the servers' URLs, its parts, and what it looks like from outside."""

    def __init__(
        self, directory: Path, database: str, redis_url: str, name: str, safeguard: str = ""
    ) -> None:
        self.directory, self.data_dir = directory, directory / "data"
        self.database, self.redis_url, self.prefix = database, redis_url, f"test-{name}:"
        self.mark = name
        self.off = safeguard  # the safeguard that is switched off in every part that is started
        self.environment = {
            MARK: name,
            "RECURRA_DATA_DIR": str(self.data_dir),
            "RECURRA_DATABASE_URL": database,
            "RECURRA_REDIS_URL": redis_url,
            "RECURRA_REDIS_PREFIX": self.prefix,
            "RECURRA_LANE": f"test-{name}",
            "RECURRA_STORAGE_URL": (directory / "storage").as_uri(),
            "RECURRA_LEASE_SECONDS": str(LEASE),
            "RECURRA_CHECKPOINT_SECONDS": str(CHECKPOINT),
            "RECURRA_DEVICE": "cpu",
        }
        self.data_dir.mkdir()
        self.engine = make_engine(database)
        self.sessions, self.readers = make_sessions(self.engine), make_readers(self.engine)
        self.storage = Storage((directory / "storage").as_uri())
        self.broker = Broker(redis_url, self.prefix)
        self.listener = open_listener("127.0.0.1", 0)
        self.http = httpx.Client(base_url=url_of(self.listener), timeout=30, trust_env=False)
        self.parts: list[Part] = []
        self._dataset = ""

    # Parts

    def start(
        self, name: str, module: str, *arguments: str, prefix: Sequence[str] = (), **environment: str
    ) -> Part:
        """A process of the service; `prefix` is a command that runs it, `environment` is over the stack's."""
        more = self.environment | environment
        command = python(module, *arguments)
        if self.off or {OFF, AFFLICTED, SLOW} & more.keys():
            command = python(LAUNCHER, *arguments)
            more |= {OFF: self.off, PROGRAM: module}
        log = self.directory / f"{name}.log"
        keep = () if self.listener.fileno() < 0 else (self.listener.fileno(),)  # closed before `recurra up`
        part = Part(name, [*prefix, *command], log, more, *keep)
        self.parts.append(part)
        return part

    def api(self, *, wait: bool = True, prefix: Sequence[str] = (), **environment: str) -> Part:
        """One more API process on the stack's socket, which several may share; ready when this returns."""
        number = self.listener.fileno()
        part = self.start("api", "app.server", "--fd", str(number), prefix=prefix, **environment)
        if wait:
            until(self.ready, PATIENCE, "the API", every=0.05)
        return part

    def worker(self, *, wait: bool = True, prefix: Sequence[str] = (), **environment: str) -> Part:
        """One more training worker; it takes jobs when this returns."""
        part = self.start("train", "workers.main", "--role", "train", prefix=prefix, **environment)
        if wait:
            self.wait_for_workers(part)
        return part

    def up(self) -> Part:
        """`recurra up` on the stack's port and files, with its own Redis; it is ready when this returns."""
        self.listener.close()
        more = {"RECURRA_REDIS_URL": "", "RECURRA_PREDICTORS": "1", OFF: self.off}
        part = self.start("up", "app.cli", "up", "--port", str(self.http.base_url.port), **more)
        until(lambda: self.ready("/readyz"), PATIENCE, "recurra up", every=0.05)
        return part

    def wait_for_workers(self, *workers: Part) -> None:
        """Until these workers, which were just started, take jobs."""
        wanted = {worker.pid for worker in workers}
        until(lambda: wanted <= self.present(), PATIENCE, "the workers' presence", every=0.05)

    def two_workers(self) -> tuple[Part, Part]:
        """An API and two training workers, started at the same time."""
        self.api(wait=False)
        workers = self.worker(wait=False), self.worker(wait=False)
        until(self.ready, PATIENCE, "the API", every=0.05)
        self.wait_for_workers(*workers)
        return workers

    def ready(self, path: str = "/healthz") -> bool:
        """Whether the API answers."""
        try:
            return self.http.get(path, timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def present(self) -> set[int]:
        """The workers that the database knows of."""
        with self.readers() as session:
            return set(session.scalars(select(Worker.pid)))

    def training(self) -> set[int]:
        """The training children of all parts, and those that have lost their parents."""
        return {pid for pid in parts.marked(self.mark) if _trains(pid)}

    def another_training(self, *before: int, seconds: float = PATIENCE) -> int:
        """Wait for a training child that is none of these."""
        until(lambda: bool(self.training() - set(before)), seconds, "a training child", every=0.05)
        return (self.training() - set(before)).pop()

    # Jobs, over the API

    def dataset(self) -> str:
        """The sample, uploaded once."""
        if not self._dataset:
            files: Any = {"file": (SAMPLE.name, SAMPLE.read_bytes()), "task": (None, "forecasting")}
            self._dataset = str(self._made(self.http.post("/v1/datasets", files=files), 201)["id"])
        return self._dataset

    def body(self, epochs: int = STEADY, model: str = "weather", **training: Any) -> Json:
        """A training of the sample; it ends after so many epochs, never before."""
        settings = {"epochs": epochs, "batch_size": 8, "patience": ENDLESS, "seed": 1} | training
        body = {"task": "forecasting", "dataset": self.dataset(), "model": model, "training": settings}
        return body | {"network": NETWORK, "options": OPTIONS}

    def submit(self, epochs: int = STEADY, model: str = "weather", **training: Any) -> str:
        """Queue a training of the sample."""
        answer = self.http.post("/v1/jobs", json=self.body(epochs, model, **training))
        return str(self._made(answer, 202)["id"])

    def order(self, job_id: str, verb: str) -> httpx.Response:
        """`cancel`, `pause` or `resume`."""
        return self.http.post(f"/v1/jobs/{job_id}/{verb}")

    def curve(self, job_id: str) -> list[Json]:
        """What each epoch reported, without the times."""
        epochs = self.http.get(f"/v1/jobs/{job_id}/metrics").raise_for_status().json()["epochs"]
        return [{name: value for name, value in epoch.items() if name != "seconds"} for epoch in epochs]

    def _made(self, answer: httpx.Response, status: int) -> Json:
        assert answer.status_code == status, answer.text
        body: Json = answer.json()
        return body

    # Jobs, in the database, which is the truth

    def job(self, job_id: str) -> Job:
        with self.readers() as session:
            return session.get_one(Job, job_id)

    def unfinished(self) -> int:
        """How many jobs have not ended."""
        with self.readers() as session:
            return session.scalar(select(func.count(Job.id)).where(Job.status.not_in(TERMINAL))) or 0

    def events(self, job_id: str, kind: str | None = None) -> list[JobEvent]:
        with self.readers() as session:
            found = queries.list_events(session, job_id, 0, 100_000)
        return [event for event in found if kind is None or event.type == kind]

    def statuses(self, job_id: str) -> list[str]:
        """Every status that the job ever had."""
        return [str(event.data["status"]) for event in self.events(job_id, "status")]

    def until(self, job_id: str, done: Callable[[Job], bool], what: str, seconds: float = PATIENCE) -> Job:
        """Wait for something about a job; fails at once when the job failed."""

        def seen() -> bool:
            job = self.job(job_id)
            if done(job):
                return True
            assert job.status not in TERMINAL, f"{job.status} while waiting for {what}: {job.error_message}"
            return False

        until(seen, seconds, f"{what} of {job_id}", every=0.03)
        return self.job(job_id)

    def wait(self, job_id: str, *statuses: str, seconds: float = PATIENCE) -> Job:
        """Wait for one of these statuses, or else for success."""
        wanted = set(statuses) or {Status.SUCCEEDED}
        return self.until(job_id, lambda job: job.status in wanted, " or ".join(wanted), seconds)

    def until_attempt(self, job_id: str, attempt: int, seconds: float = PATIENCE) -> Job:
        """Wait until the job runs, or ran, for the so-manieth time."""
        return self.until(job_id, lambda job: job.attempt >= attempt, f"attempt {attempt}", seconds)

    def until_step(self, job_id: str, step: int, seconds: float = PATIENCE) -> Job:
        """Wait until the running attempt has said that it did so many steps of the first fit, or refits."""
        return self.until(job_id, lambda job: _step(job) >= step, f"step {step}", seconds)

    # What is kept

    def checkpoint_steps(self, job_id: str) -> list[int]:
        """Of the stored checkpoints, the furthest first."""
        keys = checkpoints.newest_first(self.storage, job_id)
        return [step for key in keys if (step := step_of(Path(key).name)) is not None]

    def until_checkpoint(self, job_id: str, least: int = 1, seconds: float = PATIENCE) -> int:
        """Wait for a stored checkpoint that is so far at least; how far it is."""
        farthest = 0

        def far() -> bool:
            nonlocal farthest
            farthest = max(self.checkpoint_steps(job_id), default=0)
            return farthest >= least

        until(far, seconds, f"a checkpoint of {job_id} after step {least}", every=0.05)
        return farthest

    def resumed_at(self, job_id: str) -> list[int]:
        """The steps after which later attempts went on."""
        told = [str(event.data["message"]) for event in self.events(job_id, "log")]
        start = "Resumed from the checkpoint at step "
        return [int(text.removeprefix(start)) for text in told if text.startswith(start)]

    def went_on(self, job_id: str, step: int) -> None:
        """Each later attempt went on from a checkpoint, and the first of these was so far at least."""
        resumed = self.resumed_at(job_id)
        assert len(resumed) == self.job(job_id).attempt - 1, f"an attempt did not go on, only {resumed}"
        assert resumed[0] >= step, f"it went on after {resumed[0]}, not after {step}"
        assert resumed == sorted(resumed)

    def charged(self, job_id: str, *, attempts: int, crashes: int = 0, failures: int = 0) -> None:
        """The job took so many attempts, and its budgets were charged so much."""
        job = self.job(job_id)
        found = f"{job.attempt} attempts, {job.crashes} crashes, {job.failures} failures"
        wanted = f"{attempts} attempts, {crashes} crashes, {failures} failures"
        assert found == wanted, f"{found}, not {wanted}"

    def weights(self, job_id: str) -> str:
        """The sha256 of the weights that the job's only version has."""
        with self.readers() as session:
            query = select(ModelVersion.artifact).where(ModelVersion.job_id == job_id)
            artifact = session.scalars(query).one()
        return hashlib.sha256(b"".join(self.storage.read(f"{artifact}/model.safetensors"))).hexdigest()

    def close(self) -> None:
        """End everything for certain."""
        for part in self.parts:
            if part.alive:
                part.signal(signal.SIGCONT)
        parts.end_all(self.mark, set().union(*(part.orphans for part in self.parts)))
        for part in self.parts:
            part.wait(5)
        self.http.close()
        self.listener.close()
        self.broker.close()
        self.engine.dispose()


def _trains(pid: int) -> bool:
    command = command_line(pid)
    return any(module in command for module in parts.TRAINING) and not is_fork_server(pid)


def _step(job: Job) -> int:
    return int((job.progress or {}).get("step") or 0)


@contextmanager
def stack(
    directory: Path, safeguard: str = "", database_url: str = "", redis_url: str = ""
) -> Iterator[Stack]:
    """A service without parts yet: on the named servers, or on a SQLite file and a Valkey of its own."""
    name = uuid4().hex[:12]
    with ExitStack() as servers:
        database = servers.enter_context(
            parts.postgresql(database_url) if database_url else parts.sqlite(directory / "recurra.db")
        )
        redis = servers.enter_context(
            parts.shared_redis(redis_url, f"test-{name}:") if redis_url else parts.embedded_redis()
        )
        made = Stack(directory, database, redis, name, safeguard)
        servers.callback(made.close)
        yield made
