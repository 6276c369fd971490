"""Evaluations by a real supervisor and its children: stored part by part, gone on with, cancelled."""

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.database.engine import Sessions
from app.database.tables import Job, Model, ModelVersion
from app.identifiers import new_id
from app.infrastructure.artifacts import digest_stored
from app.infrastructure.storage import Storage
from app.services.jobs import batch_predictions, control
from app.states import Status
from app.typedefs import Json
from tests.support.factories.batches import dataset, version
from tests.support.factories.series import series_set
from tests.support.fixtures.servers import until
from workers.evaluation.run import PART_EXAMPLES
from workers.jobs.kinds import EvaluationJob
from workers.jobs.supervisor import Supervisor, Timeouts

SERIES = 2 * PART_EXAMPLES + 10  # three parts a window
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@dataclass
class Rig:
    """A database and a store that hold what an evaluation needs."""

    sessions: Sessions
    storage: Storage
    work: Path
    stopping: threading.Event = field(default_factory=threading.Event)

    def submit(self, **options: Any) -> str:
        job_id = new_id("job")
        known: Json = {
            "versions": [1, 2], "parameters": {"horizon": 2}, "windows": 2, "step": None, "refit": False,
            "baselines": ["seasonal_naive", "theta"], "training_dataset": None,
        }  # fmt: skip
        with self.sessions.begin() as session:
            session.add(
                Job(
                    id=job_id, kind="evaluate", task="forecasting", dataset_id="ds_1", model="m", network={},
                    training={}, job_metadata={}, options=known | options,
                )
            )  # fmt: skip
        return job_id

    def run(self) -> None:
        stopping = self.stopping.is_set
        Supervisor(self.sessions, self.storage, self.work, "w1", Timeouts(), ["cpu"], stopping).run()

    def job(self, job_id: str) -> Job:
        with self.sessions() as session:
            return session.get_one(Job, job_id)

    def parts(self, job_id: str) -> list[str]:
        return self.storage.keys(batch_predictions.results_prefix(job_id))

    def content(self, job_id: str) -> bytes:
        return b"".join(b"".join(self.storage.read(key)) for key in self.parts(job_id))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    values = [50 + rng.normal(size=int(size)).cumsum() for size in rng.integers(12, 30, SERIES)]
    version(directory / "model")
    dataset(directory / "data", series_set(values))
    return directory


@pytest.fixture
def rig(sessions: Sessions, storage: Storage, tmp_path: Path, files: Path) -> Rig:
    storage.put("datasets/ds_1/arrays/arrays.npz", files / "data" / "arrays.npz")
    row: dict[str, Any] = {"network": {}, "options": {}, "metrics": {}, "baseline": {}}
    with sessions.begin() as session:
        session.add(Model(name="m", id="model_1", task="forecasting", versions=2))
        session.flush()
        for number in (1, 2):
            for path in (files / "model").iterdir():
                storage.put(f"artifacts/{number}/{path.name}", path)
            session.add(
                ModelVersion(
                    model="m", version=number, job_id=f"job_{number}", dataset_id="ds_1", parameters=1,
                    task="forecasting", artifact=f"artifacts/{number}", bytes=1,
                    sha256=digest_stored(storage, f"artifacts/{number}"), **row,
                )
            )  # fmt: skip
    return Rig(sessions, storage, tmp_path / "work")


@on_sqlite
def test_parts_are_stored_and_an_interrupted_evaluation_goes_on(rig: Rig, tmp_path: Path) -> None:
    job_id = rig.submit()
    rig.run()
    done = rig.job(job_id)
    assert done.status == Status.SUCCEEDED, done.error_message
    assert len(rig.parts(job_id)) == 6
    assert done.metrics is not None
    assert done.metrics["examples"] == 2 * SERIES
    assert done.metrics["versions"]["1"] == done.metrics["versions"]["2"]
    again = rig.submit()
    for number, key in enumerate(rig.parts(job_id)[:4]):
        (tmp_path / "part").write_bytes(b"".join(rig.storage.read(key)))
        rig.storage.put(batch_predictions.part_key(again, number, 0), tmp_path / "part")
    rig.run()
    ended = rig.job(again)
    assert (ended.status, ended.metrics) == (Status.SUCCEEDED, done.metrics)
    assert rig.content(again) == rig.content(job_id)


@on_sqlite
def test_a_cancelled_evaluation_leaves_no_parts(rig: Rig) -> None:
    job_id = rig.submit(windows=5)
    thread = threading.Thread(target=rig.run)
    thread.start()
    until(lambda: rig.parts(job_id), 60, "the first part", every=0.005)
    with rig.sessions.begin() as session:
        control.cancel(session, job_id)
    thread.join(timeout=20)
    assert rig.job(job_id).status == Status.CANCELLED
    assert rig.parts(job_id) == []


@on_sqlite
@pytest.mark.parametrize(
    ("options", "code"),
    [({"versions": [1, 7]}, "model_missing"), ({"training_dataset": "ds_7"}, "dataset_missing")],
)
def test_what_was_deleted_before_is_named(rig: Rig, options: Json, code: str) -> None:
    job_id = rig.submit(**options)
    rig.run()
    assert (rig.job(job_id).status, rig.job(job_id).error_code) == (Status.FAILED, code)


@on_sqlite
def test_the_program_depends_on_device_and_refits(rig: Rig) -> None:
    def module(device: str, **options: Any) -> str:
        job = rig.job(rig.submit(**options))
        return EvaluationJob(rig.sessions, rig.storage, [device, "cpu"], job).module

    assert module("cpu") == "workers.evaluation.child"
    assert module("cuda:1") == "workers.evaluation.child_cuda"
    assert module("cuda:0", refit=True) == module("cpu", refit=True) == "workers.evaluation.child_refit"
