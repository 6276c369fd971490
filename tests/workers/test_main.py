"""Training workers as real processes: stopped, killed, competing, and with a killed child."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, update

from app.database.engine import Sessions, make_engine, make_sessions
from app.database.tables import Job, ModelVersion, Worker
from app.hyperparameters.options import NETWORK, TRAINING
from app.infrastructure.broker import Broker
from app.infrastructure.storage import Storage
from app.services.jobs import control, queries
from app.states import Status
from app.typedefs import Json
from tests.app.services.jobs.test_leases import submit
from tests.support.factories.series import series_set, store, waves
from tests.support.fixtures.processes import descendants, has_ended, processes_below
from tests.support.fixtures.servers import Valkey, until, valkey

QUICK, LONG = 1, 10_000  # epochs
PREFIX = "test-workers:"


class Rig:
    """A database, a store and a broker, with workers that are all ended for certain."""

    def __init__(self, directory: Path, template: Path, redis_url: str) -> None:
        (directory / "test.db").write_bytes(template.read_bytes())
        self.directory = directory
        self.url = f"sqlite:///{directory / 'test.db'}"
        self.engine = make_engine(self.url)
        self.sessions: Sessions = make_sessions(self.engine)
        self.storage = Storage((directory / "storage").as_uri())
        self.broker = Broker(redis_url, PREFIX)
        self.redis_url = redis_url
        self.workers: list[subprocess.Popen[bytes]] = []
        store(directory, series_set(waves(6, 60)))
        self.storage.put("datasets/ds_1/arrays/arrays.npz", directory / "arrays.npz")

    def start(self, *, ready: bool = True, **variables: str) -> subprocess.Popen[bytes]:
        """One more training worker; returns when it is `ready`, if it can be."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RECURRA_")}
        environment |= {
            "RECURRA_DATA_DIR": str(self.directory / "data"),
            "RECURRA_DATABASE_URL": self.url,
            "RECURRA_STORAGE_URL": (self.directory / "storage").as_uri(),
            "RECURRA_REDIS_URL": self.redis_url,
            "RECURRA_REDIS_PREFIX": PREFIX,
            "RECURRA_LEASE_SECONDS": "2",
            "RECURRA_DEVICE": "cpu",
            "OMP_NUM_THREADS": "1",
        } | variables
        with (self.directory / "workers.log").open("ab") as log:
            worker = subprocess.Popen(
                [sys.executable, "-m", "workers.main", "--role", "train"],
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.workers.append(worker)
        if ready:
            until(lambda: worker.pid in self.present(), 60, "the worker's presence")
        return worker

    def kill_workers(self) -> None:
        """End every worker and what it started."""
        for worker in self.workers:
            below = descendants(worker.pid)
            worker.kill()
            worker.wait()
            for pid in below:
                if not has_ended(pid):
                    os.kill(pid, signal.SIGKILL)
        self.workers.clear()

    def log(self) -> list[Json]:
        """What all workers have logged; every line is JSON."""
        return [json.loads(line) for line in (self.directory / "workers.log").read_text().splitlines()]

    def present(self) -> set[int]:
        with self.sessions() as session:
            return set(session.scalars(select(Worker.pid)))

    def submit(self, epochs: int) -> str:
        training = TRAINING | {"epochs": epochs, "batch_size": 64, "patience": LONG}
        with self.sessions.begin() as session:
            job_id = submit(session)
            values = {"training": training, "network": NETWORK | {"hidden_size": 8}}
            options = {"horizon": 4, "refit": False}
            session.execute(update(Job).where(Job.id == job_id).values(options=options, **values))
        self.broker.notify(job_id)
        return job_id

    def job(self, job_id: str) -> Job:
        with self.sessions() as session:
            return session.get_one(Job, job_id)

    def wait(self, job_id: str, done: Callable[[Job], bool], what: str) -> Job:
        until(lambda: done(self.job(job_id)), 60, what)
        return self.job(job_id)

    def statuses(self, job_id: str) -> list[str]:
        with self.sessions() as session:
            events = queries.list_events(session, job_id, 0, 500)
        return [event.data["status"] for event in events if event.type == "status"]

    def children(self, worker: subprocess.Popen[bytes]) -> set[int]:
        """The training processes below a worker."""
        return processes_below(worker.pid, "workers.training.child")

    def close(self) -> None:
        self.kill_workers()
        self.broker.close()
        self.engine.dispose()


@pytest.fixture(scope="module")
def rig(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, redis_server: Valkey
) -> Iterator[Rig]:
    made = Rig(tmp_path_factory.mktemp("rig"), sqlite_template, redis_server.url)
    yield made
    made.close()


@pytest.fixture(scope="module")
def worker(rig: Rig) -> subprocess.Popen[bytes]:
    """A worker that several tests share."""
    return rig.start()


def trained(job: Job) -> bool:
    assert job.status not in {Status.FAILED, Status.CANCELLED}, job.error_message
    return job.status == Status.SUCCEEDED


def test_a_job_is_trained_and_published(rig: Rig, worker: subprocess.Popen[bytes]) -> None:
    job_id = rig.submit(QUICK)
    job = rig.wait(job_id, trained, "success")
    assert (job.attempt, job.crashes, job.owner) == (1, 0, None)
    assert rig.statuses(job_id) == ["queued", "running", "succeeded"]
    with rig.sessions() as session:
        artifact = session.scalars(select(ModelVersion.artifact).where(ModelVersion.job_id == job_id)).one()
    names = {key.rpartition("/")[2] for key in rig.storage.keys(artifact)}
    assert names >= {"manifest.json", "model.onnx", "model.safetensors"}
    until(lambda: not list((rig.directory / "data" / "work").iterdir()), 10, "an empty work directory")


def test_workers_pools_and_children_log_json(rig: Rig, worker: subprocess.Popen[bytes]) -> None:
    rig.wait(rig.submit(QUICK), trained, "success")
    loggers = {line["logger"] for line in rig.log()}
    assert {"celery.apps.worker", "workers.jobs.celery_task"} <= loggers


def test_a_training_child_that_is_killed_is_tried_again(rig: Rig, worker: subprocess.Popen[bytes]) -> None:
    job_id = rig.submit(QUICK)
    until(lambda: bool(rig.children(worker)), 60, "the training child", every=0.02)
    (child,) = rig.children(worker)
    os.kill(child, signal.SIGKILL)
    job = rig.wait(job_id, trained, "success of the second attempt")
    assert (job.attempt, job.crashes) == (2, 1)
    assert rig.statuses(job_id) == ["queued", "running", "queued", "running", "succeeded"]


def test_two_workers_and_many_wake_ups_are_one_attempt(rig: Rig, worker: subprocess.Popen[bytes]) -> None:
    other = rig.start()
    job_id = rig.submit(QUICK)
    for _ in range(5):
        rig.broker.notify(job_id)
    job = rig.wait(job_id, trained, "success")
    until(lambda: rig.broker.pending() == 0, 30, "the last wake-up to be received")
    assert (job.attempt, job.crashes) == (1, 0)
    assert rig.statuses(job_id) == ["queued", "running", "succeeded"]
    other.send_signal(signal.SIGTERM)
    assert other.wait(20) == 0
    until(lambda: other.pid not in rig.present(), 5, "the worker's leave")


def test_a_worker_that_is_stopped_releases_its_job(rig: Rig, worker: subprocess.Popen[bytes]) -> None:
    job_id = rig.submit(LONG)
    rig.wait(job_id, lambda job: job.progress is not None, "progress")
    below = descendants(worker.pid)
    assert rig.children(worker)
    worker.send_signal(signal.SIGTERM)
    job = rig.wait(job_id, lambda job: job.status == Status.QUEUED, "the job's return")
    assert worker.wait(10) == 0
    until(lambda: all(map(has_ended, below)), 5, "the end of its processes")
    assert (job.attempt, job.crashes, job.owner, job.lease_until) == (1, 0, None, None)
    assert worker.pid not in rig.present()
    with rig.sessions.begin() as session:
        control.cancel(session, job_id)


def test_a_killed_worker_leaves_no_process_and_another_finishes(rig: Rig) -> None:
    rig.kill_workers()  # lest one of other tests takes the job
    worker = rig.start()
    job_id = rig.submit(QUICK)
    until(lambda: bool(rig.children(worker)), 60, "the training child", every=0.02)
    below = descendants(worker.pid)
    worker.kill()
    worker.wait()
    until(lambda: all(map(has_ended, below)), 10, "the end of its processes")
    assert rig.job(job_id).status == Status.RUNNING  # no process was left to write it
    rig.start()
    job = rig.wait(job_id, trained, "success by the other worker")
    assert job.attempt == 2
    assert job.crashes == 1
    assert rig.statuses(job_id) == ["queued", "running", "queued", "running", "succeeded"]


@pytest.fixture
def fragile_rig(tmp_path: Path, sqlite_template: Path) -> Iterator[tuple[Rig, Valkey]]:
    """A rig with a Redis server of its own, which may be killed."""
    with valkey() as server:
        made = Rig(tmp_path, sqlite_template, server.url)
        yield made, server
        made.close()
        server.start()


def assert_no_traceback(rig: Rig) -> None:
    assert [line for line in rig.log() if "traceback" in line] == []


def test_a_worker_that_is_stopped_while_redis_is_away_releases_its_job(
    fragile_rig: tuple[Rig, Valkey],
) -> None:
    rig, server = fragile_rig
    worker = rig.start()
    job_id = rig.submit(LONG)
    rig.wait(job_id, lambda job: job.progress is not None, "progress")
    below = descendants(worker.pid)
    server.kill()
    until(lambda: any("Connection to broker lost" in line["message"] for line in rig.log()), 30, "the loss")
    worker.send_signal(signal.SIGTERM)
    job = rig.wait(job_id, lambda job: job.status == Status.QUEUED, "the job's return")
    assert worker.wait(30) == 0
    until(lambda: all(map(has_ended, below)), 5, "the end of its processes")
    assert (job.attempt, job.crashes, job.owner) == (1, 0, None)
    assert worker.pid not in rig.present()
    assert_no_traceback(rig)


def test_a_worker_that_never_saw_redis_stops_as_cleanly(fragile_rig: tuple[Rig, Valkey]) -> None:
    rig, server = fragile_rig
    server.kill()
    worker = rig.start(ready=False)
    until(lambda: any("Cannot connect" in line["message"] for line in rig.log()), 60, "the first attempt")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0
    assert_no_traceback(rig)


def test_a_worker_without_its_device_says_so_and_ends(rig: Rig, tmp_path: Path) -> None:
    worker = rig.start(ready=False, RECURRA_DEVICE="cuda:99")
    assert worker.wait(60) == 1
    assert any("RECURRA_DEVICE is cuda:99" in line["message"] for line in rig.log())
