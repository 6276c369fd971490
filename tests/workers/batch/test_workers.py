"""Batch predictions by real worker processes: one is killed with all it started, one told to stop."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from app.database.tables import Job, Model, ModelVersion
from app.infrastructure.artifacts import digest_stored
from app.services.jobs import batch_predictions
from app.states import Status
from tests.app.services.jobs.test_leases import submit
from tests.support.factories.batches import dataset, mixed, version
from tests.support.fixtures.processes import descendants, has_ended
from tests.support.fixtures.servers import Valkey, until
from tests.workers.test_main import Rig, trained
from workers.batch.predict import PART_INSTANCES

pytestmark = pytest.mark.faults  # each of them in one process: tests/workers/jobs/test_kinds.py
COUNT = 3 * PART_INSTANCES + 1


@pytest.fixture(scope="module")
def rig(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, redis_server: Valkey
) -> Iterator[Rig]:
    directory = tmp_path_factory.mktemp("batches")
    made = Rig(directory, sqlite_template, redis_server.url)
    dataset(directory / "many", mixed(COUNT))
    made.storage.put("datasets/ds_1/arrays/arrays.npz", directory / "many" / "arrays.npz")
    version(directory / "model")
    for path in (directory / "model").iterdir():
        made.storage.put(f"artifacts/m/{path.name}", path)
    with made.sessions.begin() as session:
        session.add(Model(name="m", id="model_1", task="forecasting", versions=1))
        session.flush()
        session.add(
            ModelVersion(
                model="m", version=1, job_id="job_0", dataset_id="ds_0", task="forecasting", network={},
                options={}, parameters=1, metrics={}, baseline={}, artifact="artifacts/m", bytes=1,
                sha256=digest_stored(made.storage, "artifacts/m"),
            )
        )  # fmt: skip
    yield made
    made.close()


def batch(rig: Rig) -> str:
    with rig.sessions.begin() as session:
        job_id = submit(session)
        values = {"kind": "batch_predict", "model_version": 1, "options": {"parameters": {}}}
        session.execute(update(Job).where(Job.id == job_id).values(**values))
    rig.broker.notify(job_id)
    return job_id


def parts(rig: Rig, job_id: str) -> list[str]:
    return rig.storage.keys(batch_predictions.results_prefix(job_id))


def result(rig: Rig, job_id: str) -> bytes:
    return b"".join(b"".join(rig.storage.read(key)) for key in parts(rig, job_id))


def test_a_worker_killed_in_the_middle_changes_no_byte_of_the_result(rig: Rig) -> None:
    worker = rig.start()
    whole = rig.wait(batch(rig), trained, "the undisturbed batch")
    disturbed = batch(rig)
    until(lambda: len(parts(rig, disturbed)) > 0, 60, "the first part", every=0.005)
    below = descendants(worker.pid)
    worker.kill()
    worker.wait()
    until(lambda: all(map(has_ended, below)), 10, "the end of its processes")
    assert rig.job(disturbed).status == Status.RUNNING  # nobody was left to tell
    assert 0 < len(parts(rig, disturbed)) < 4
    other = rig.start()
    job = rig.wait(disturbed, trained, "success by the other worker")
    assert (job.attempt, job.crashes) == (2, 1)
    assert job.metrics == whole.metrics == {"instances": COUNT, "failed": COUNT // 10}
    assert result(rig, disturbed) == result(rig, whole.id)
    other.send_signal(signal.SIGTERM)
    assert other.wait(20) == 0


def test_a_worker_told_to_stop_hands_the_rest_to_another(rig: Rig) -> None:
    worker = rig.start()
    job_id = batch(rig)
    until(lambda: len(parts(rig, job_id)) > 0, 60, "the first part", every=0.005)
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.wait(20) == 0
    job = rig.wait(job_id, lambda job: job.status != Status.RUNNING, "the job's return")
    assert (job.status, job.crashes) == (Status.QUEUED, 0)
    kept = parts(rig, job_id)
    rig.start()
    job = rig.wait(job_id, trained, "success by the other worker")
    assert (job.attempt, job.crashes) == (2, 0)
    assert parts(rig, job_id)[: len(kept)] == kept
    assert result(rig, job_id).count(b"\n") == COUNT
