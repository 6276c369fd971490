"""A batch prediction under its supervisor: real children that are killed, stopped, cancelled and resumed."""

import json
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import delete, update

from app.database.engine import Sessions
from app.database.tables import Job, Model, ModelVersion
from app.identifiers import new_id
from app.infrastructure.artifacts import digest_stored
from app.infrastructure.events.job_events import append_events
from app.infrastructure.storage import Storage
from app.services.jobs import batch_predictions, control, queries
from app.states import Status
from app.typedefs import Json
from tests.support.factories.batches import dataset, lines, version
from tests.support.factories.series import series_set
from tests.support.fixtures.processes import processes_below
from tests.support.fixtures.servers import until
from workers.batch.predict import PART_INSTANCES
from workers.jobs.kinds import BatchPredictionJob, TrainingJob
from workers.jobs.supervisor import Supervisor, Timeouts

COUNT = 3 * PART_INSTANCES + 100  # four parts


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version and a data set of many short series, every thousandth without a value."""
    directory = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    values = [50 + rng.normal(size=int(size)).cumsum() for size in rng.integers(4, 30, COUNT)]
    for index in range(0, COUNT, 1000):
        values[index][:] = np.nan
    version(directory / "model")
    dataset(directory / "data", series_set(values))
    return directory


@dataclass
class Rig:
    """A database and a store that hold what a batch needs."""

    sessions: Sessions
    storage: Storage
    work: Path
    stopping: threading.Event = field(default_factory=threading.Event)

    def submit(self) -> str:
        job_id = new_id("job")
        with self.sessions.begin() as session:
            session.add(
                Job(
                    id=job_id, kind="batch_predict", task="forecasting", dataset_id="ds_1", model="m",
                    model_version=1, network={}, training={}, job_metadata={},
                    options={"parameters": {"horizon": 2}},
                )
            )  # fmt: skip
        return job_id

    def supervisor(self, device: str = "cpu") -> Supervisor:
        return Supervisor(
            self.sessions, self.storage, self.work, "w1", Timeouts(), [device], self.stopping.is_set
        )

    def start(self, job_id: str) -> threading.Thread:
        thread = threading.Thread(target=self.supervisor().run)
        thread.start()
        return thread

    def job(self, job_id: str) -> Job:
        with self.sessions() as session:
            return session.get_one(Job, job_id)

    def parts(self, job_id: str) -> list[str]:
        return self.storage.keys(batch_predictions.results_prefix(job_id))

    def result(self, job_id: str) -> bytes:
        return b"".join(b"".join(self.storage.read(key)) for key in self.parts(job_id))


# The SQL of batches is tested on both databases in tests/app/services/jobs/test_batch_predictions.py.
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def rig(sessions: Sessions, storage: Storage, tmp_path: Path, files: Path) -> Rig:
    storage.put("datasets/ds_1/arrays/arrays.npz", files / "data" / "arrays.npz")
    for path in (files / "model").iterdir():
        storage.put(f"artifacts/m/{path.name}", path)
    with sessions.begin() as session:
        session.add(Model(name="m", id="model_1", task="forecasting", versions=1))
        session.flush()
        row: dict[str, Any] = {"network": {}, "options": {}, "metrics": {}, "baseline": {}}
        session.add(
            ModelVersion(
                model="m", version=1, job_id="job_0", dataset_id="ds_0", task="forecasting", parameters=1,
                artifact="artifacts/m", bytes=1, sha256=digest_stored(storage, "artifacts/m"), **row,
            )
        )  # fmt: skip
    return Rig(sessions, storage, tmp_path / "work")


@pytest.fixture(scope="module")
def undisturbed(files: Path) -> Callable[[Rig], bytes]:
    """The result of a run that nobody disturbed, computed once."""
    results: list[bytes] = []

    def result(rig: Rig) -> bytes:
        if not results:
            job_id = rig.submit()
            rig.supervisor().run()
            assert rig.job(job_id).status == Status.SUCCEEDED, rig.job(job_id).error_message
            results.append(rig.result(job_id))
        return results[0]

    return result


def child() -> int:
    """The process that predicts below this one."""
    for pid in processes_below(os.getpid(), "workers.batch.child"):
        return pid
    raise AssertionError("no child")


@on_sqlite
def test_a_batch_that_ends_well_has_a_line_for_each_series(rig: Rig) -> None:
    job_id = rig.submit()
    rig.supervisor().run()
    done = rig.job(job_id)
    assert (done.status, done.attempt, done.model_version) == (Status.SUCCEEDED, 1, 1), done.error_message
    assert done.metrics == {"instances": COUNT, "failed": 7}
    assert done.progress is not None
    assert {"fraction": 1.0, "instances": COUNT, "total": COUNT}.items() <= done.progress.items()
    assert done.progress["samples_per_second"] > 0
    predictions = lines(rig.result(job_id))
    assert [line["index"] for line in predictions] == list(range(COUNT))
    assert {line["index"] for line in predictions if "error" in line} == set(range(0, COUNT, 1000))
    with rig.sessions() as session:
        events = queries.list_events(session, job_id, 0, 50)
    types = [event.type for event in events]
    assert types == ["status", "checkpoint", "checkpoint", "checkpoint", "checkpoint", "status"]
    assert events[1].data == {"part": 0, "missed": 3, "metrics": {"instances": PART_INSTANCES, "failed": 3}}
    assert list(rig.work.iterdir()) == []


@on_sqlite
def test_a_child_killed_in_the_middle_leaves_the_same_file_in_the_end(
    rig: Rig, undisturbed: Callable[[Rig], bytes]
) -> None:
    expected = undisturbed(rig)
    job_id = rig.submit()
    thread = rig.start(job_id)
    until(lambda: rig.parts(job_id), 60, "the first part", every=0.005)
    os.kill(child(), signal.SIGKILL)
    thread.join(timeout=20)
    crashed = rig.job(job_id)
    assert (crashed.status, crashed.crashes, crashed.owner) == (Status.QUEUED, 1, None)
    first = rig.parts(job_id)
    assert 0 < len(first) < 4
    written = {key: (rig.work.parent / "storage" / key).stat().st_mtime_ns for key in first}
    rig.supervisor().run()
    done = rig.job(job_id)
    assert (done.status, done.attempt, done.crashes) == (Status.SUCCEEDED, 2, 1)
    assert done.metrics == {"instances": COUNT, "failed": 7}
    assert rig.result(job_id) == expected
    for key, at in written.items():  # what was done was not done again
        assert (rig.work.parent / "storage" / key).stat().st_mtime_ns == at


@on_sqlite
def test_a_worker_that_stops_releases_the_batch_with_its_parts(
    rig: Rig, undisturbed: Callable[[Rig], bytes]
) -> None:
    expected = undisturbed(rig)
    job_id = rig.submit()
    thread = rig.start(job_id)
    until(lambda: rig.parts(job_id), 60, "the first part", every=0.005)
    rig.stopping.set()
    thread.join(timeout=20)
    released = rig.job(job_id)
    assert (released.status, released.crashes) == (Status.QUEUED, 0)
    assert rig.parts(job_id)
    rig.stopping.clear()
    rig.supervisor().run()
    assert rig.job(job_id).status == Status.SUCCEEDED
    assert rig.result(job_id) == expected


@on_sqlite
def test_a_cancelled_batch_leaves_no_parts(rig: Rig) -> None:
    job_id = rig.submit()
    thread = rig.start(job_id)
    until(lambda: rig.parts(job_id), 60, "the first part", every=0.005)
    with rig.sessions.begin() as session:
        control.cancel(session, job_id)
    thread.join(timeout=20)
    assert rig.job(job_id).status == Status.CANCELLED
    assert rig.parts(job_id) == []


@on_sqlite
def test_a_batch_that_fails_leaves_no_parts(rig: Rig, tmp_path: Path) -> None:
    job_id = rig.submit()
    (tmp_path / "part").write_bytes(b"{}\n")
    rig.storage.put(batch_predictions.part_key(job_id, 0, 0), tmp_path / "part")
    (tmp_path / "part").write_bytes(b"no graph")
    rig.storage.put("artifacts/m/model.onnx", tmp_path / "part")
    rig.supervisor().run()
    failed = rig.job(job_id)
    assert (failed.status, failed.error_code) == (Status.FAILED, "model_damaged")
    assert "model.onnx" in (failed.error_message or "")
    assert rig.parts(job_id) == []


@on_sqlite
def test_a_batch_taken_away_keeps_its_parts_and_one_deleted_does_not(rig: Rig) -> None:
    for gone in (False, True):
        job_id = rig.submit()
        thread = rig.start(job_id)
        until(lambda job=job_id: rig.parts(job), 60, "the first part", every=0.005)
        with rig.sessions.begin() as session:
            if gone:
                queries.list_events(session, job_id, 0, 1)
                session.execute(update(Job).where(Job.id == job_id).values(status=Status.FAILED))
                queries.delete_job(session, job_id)
            else:
                session.execute(update(Job).where(Job.id == job_id).values(attempt=7, owner="w2"))
        thread.join(timeout=20)
        assert not thread.is_alive()
        assert bool(rig.parts(job_id)) is not gone


@on_sqlite
def test_a_version_that_is_gone_fails_the_batch(rig: Rig) -> None:
    job_id = rig.submit()
    with rig.sessions.begin() as session:
        session.execute(delete(ModelVersion))
    rig.supervisor().run()
    failed = rig.job(job_id)
    assert (failed.status, failed.error_code) == (Status.FAILED, "model_missing")


@on_sqlite
def test_a_data_set_that_is_gone_fails_the_batch(rig: Rig) -> None:
    job_id = rig.submit()
    rig.storage.delete("datasets/ds_1")
    rig.supervisor().run()
    failed = rig.job(job_id)
    assert (failed.status, failed.error_code) == (Status.FAILED, "dataset_missing")


@on_sqlite
@pytest.mark.parametrize(
    ("devices", "module"),
    [
        (["cpu"], "workers.batch.child"),
        (["cuda:1", "cuda:2"], "workers.batch.child_cuda"),
    ],
)
def test_the_child_is_the_one_for_the_worker_s_device(
    rig: Rig, tmp_path: Path, devices: list[str], module: str
) -> None:
    work = BatchPredictionJob(rig.sessions, rig.storage, devices, rig.job(rig.submit()))
    assert work.module == module
    (tmp_path / "prepared").mkdir()
    request = work.prepare(tmp_path / "prepared", report=lambda _: None)
    assert request["device"] == devices[0]
    spec = {"task": "forecasting", "parameters": {"horizon": 2}, "parts": 0, "failed": 0}
    assert request["spec"] == spec
    json.dumps(request)


@on_sqlite
@pytest.mark.parametrize(
    ("requested", "devices", "chosen"),
    [
        ("auto", ["cpu"], "cpu"),
        ("cpu", ["cpu"], "cpu"),
        ("auto", ["cuda:1", "cuda:2"], "cuda:1"),
        ("cuda", ["cuda:1", "cuda:2"], "cuda:1"),
        ("cuda:2", ["cuda:1", "cuda:2"], "cuda:2"),
        ("cpu", ["cuda:1"], "cpu"),
    ],
)
def test_a_training_runs_on_the_worker_s_device_and_is_forked_on_a_processor(
    rig: Rig, tmp_path: Path, requested: str, devices: list[str], chosen: str
) -> None:
    job = rig.job(rig.submit())
    job.training = {"device": requested}
    work = TrainingJob(rig.sessions, rig.storage, devices, job)
    (tmp_path / "prepared").mkdir()
    assert work.prepare(tmp_path / "prepared", report=lambda _: None)["spec"]["training"] == {
        "device": chosen
    }
    assert work.is_forked == (chosen == "cpu")


@on_sqlite
def test_a_training_is_given_the_last_epoch_that_was_reported(rig: Rig, tmp_path: Path) -> None:
    job = rig.job(rig.submit())
    job.training = {"device": "cpu"}
    with rig.sessions.begin() as session:
        epochs: list[Json] = [{"epoch": 1, "stage": 1}, {"epoch": 2, "stage": 1}, {"epoch": 1, "stage": 2}]
        append_events(session, job.id, [("epoch", epoch) for epoch in epochs])
    work = TrainingJob(rig.sessions, rig.storage, ["cpu"], job)
    (tmp_path / "prepared").mkdir()
    assert work.prepare(tmp_path / "prepared", report=lambda _: None)["last_epoch"] == (2, 1)
