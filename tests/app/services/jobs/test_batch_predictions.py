"""Batch predictions as rows and files: refused requests, stored parts, and the concatenated result."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.database.engine import Sessions
from app.database.tables import Alias, Dataset, Job, Model, ModelVersion
from app.errors import Conflict, Invalid, NotFound
from app.infrastructure.storage import Storage
from app.services import datasets
from app.services.jobs import batch_predictions, control, leases, queries
from app.services.models import versions
from app.states import LIVE, TERMINAL, Status
from app.typedefs import Json
from tests.app.services.jobs.test_leases import claimed
from tests.app.services.jobs.test_leases import submit as submit_training

STATE: Json = {"freq": "MS", "horizon": 6, "quantiles": [0.1, 0.5, 0.9]}
NETWORK = {"cell": "gru", "hidden_size": 3}


def version(number: int = 1, model: str = "m", task: str = "forecasting") -> ModelVersion:
    return ModelVersion(
        model=model, version=number, job_id=f"job_{model}_{number}", dataset_id="ds_0", task=task,
        network=NETWORK, options={}, parameters=7, metrics={}, baseline={},
        artifact=f"artifacts/{model}/{number}", bytes=1, sha256="0",
    )  # fmt: skip


@pytest.fixture
def session(sessions: Sessions) -> Any:
    with sessions.begin() as opened:
        row = {"name": "n", "format": "csv", "bytes": 1, "sha256": "0", "filename": "f", "warnings": []}
        for name, task, frequency in (
            ("ds_1", "forecasting", "MS"), ("ds_2", "forecasting", "D"), ("ds_3", "tagging", "MS"),
        ):  # fmt: skip
            opened.add(Dataset(id=name, task=task, summary={"frequency": frequency}, **row))
        opened.add(Model(name="m", id="model_1", task="forecasting", versions=2))
        opened.flush()
        opened.add_all([version(1), version(2), Alias(model="m", alias="production", version=1)])
        opened.flush()
        yield opened


def submit(session: Session, number: int = 1, dataset: str = "ds_1", **parameters: Any) -> Job:
    chosen = versions.get_version(session, "m", number)
    return batch_predictions.submit(session, chosen, STATE, dataset, parameters)


def test_a_batch_prediction_is_a_queued_job_with_its_version(session: Session) -> None:
    job = submit(session, 2, horizon=3)
    assert (job.kind, job.status, job.task) == ("batch_predict", Status.QUEUED, "forecasting")
    assert (job.model, job.model_version, job.dataset_id) == ("m", 2, "ds_1")
    assert (job.network, job.training, job.options) == (NETWORK, {}, {"parameters": {"horizon": 3}})
    (event,) = queries.list_events(session, job.id, 0, 10)
    assert (event.seq, event.data) == (1, {"status": "queued"})


@pytest.mark.parametrize(
    ("parameters", "pointer"),
    [
        ({"horizon": 7}, "/parameters/horizon"),
        ({"horizon": 0}, "/parameters/horizon"),
        ({"horizon": "3"}, "/parameters/horizon"),
        ({"horizon": 2.5}, "/parameters/horizon"),
        ({"quantiles": [0.5, 1.5]}, "/parameters/quantiles/1"),
        ({"quantiles": [0.5, float("nan")]}, "/parameters/quantiles/1"),
        ({"quantiles": [0.95]}, "/parameters/quantiles/0"),
        ({"quantiles": 0.5}, "/parameters/quantiles"),
        ({"colour": "red"}, "/parameters"),
    ],
)
def test_parameters_that_do_not_fit_are_pointed_at(session: Session, parameters: Json, pointer: str) -> None:
    with pytest.raises(Invalid) as caught:
        submit(session, **parameters)
    assert [problem.pointer for problem in caught.value.problems] == [pointer]
    assert session.scalars(select(Job)).all() == []


@pytest.mark.parametrize(("dataset", "word"), [("ds_2", "frequency D"), ("ds_3", "tagging")])
def test_a_data_set_that_the_model_cannot_read_is_refused(session: Session, dataset: str, word: str) -> None:
    with pytest.raises(Invalid, match=word) as caught:
        submit(session, dataset=dataset)
    assert [problem.pointer for problem in caught.value.problems] == ["/dataset"]


def test_what_does_not_exist_is_not_found(session: Session) -> None:
    with pytest.raises(NotFound, match="ds_0"):
        submit(session, dataset="ds_0")
    gone = version(9)
    with pytest.raises(NotFound, match="no version 9"):
        batch_predictions.submit(session, gone, STATE, "ds_1", {})


@pytest.mark.parametrize("status", sorted(Status))
def test_a_live_batch_keeps_its_version_and_its_data_set(session: Session, status: Status) -> None:
    job = submit(session, 2)
    session.execute(update(Job).values(status=status))
    session.expire_all()
    if status in LIVE:
        with pytest.raises(Conflict, match=job.id):
            versions.remove_version(session, "m", 2)
        with pytest.raises(Conflict, match=job.id):
            datasets.remove(session, "ds_1")
        assert session.get(ModelVersion, ("default", "m", 2)) is not None
    else:
        assert versions.remove_version(session, "m", 2) == "artifacts/m/2"
        datasets.remove(session, "ds_1")


def test_a_batch_of_another_version_or_model_keeps_nothing(session: Session) -> None:
    session.add(Model(name="other", id="model_2", task="forecasting", versions=2))
    session.flush()
    session.add(version(2, "other"))
    session.flush()
    submit(session, 1)
    assert versions.remove_version(session, "other", 2)
    assert versions.remove_version(session, "m", 2)


def put(storage: Storage, job_id: str, parts: list[tuple[int, int, bytes]], directory: Path) -> None:
    for part, failed, content in parts:
        (directory / "part").write_bytes(content)
        storage.put(batch_predictions.part_key(job_id, part, failed), directory / "part")


PARTS = [(0, 0, b"abc\n"), (1, 2, b"defgh\n"), (2, 1, b"i\n")]
WHOLE = b"abc\ndefgh\ni\n"


def test_stored_parts_count_up_to_the_first_gap(storage: Storage, tmp_path: Path) -> None:
    assert batch_predictions.stored_parts(storage, "job_1") == (0, 0)
    put(storage, "job_1", PARTS, tmp_path)
    put(storage, "job_10", [(0, 5, b"other")], tmp_path)
    assert batch_predictions.stored_parts(storage, "job_1") == (3, 3)
    put(storage, "job_1", [(4, 7, b"beyond a gap")], tmp_path)
    assert batch_predictions.stored_parts(storage, "job_1") == (3, 3)
    storage.delete(batch_predictions.part_key("job_1", 0, 0))
    assert batch_predictions.stored_parts(storage, "job_10") == (1, 5)


def test_parts_stay_in_order_beyond_any_number_of_digits(storage: Storage, tmp_path: Path) -> None:
    put(storage, "job_1", [(part, part % 11, b"x") for part in range(12)], tmp_path)
    assert batch_predictions.stored_parts(storage, "job_1") == (12, sum(part % 11 for part in range(12)))


@pytest.mark.parametrize("first", range(0, 13, 3))
@pytest.mark.parametrize("last", range(0, 13, 4))
def test_any_span_of_the_parts_reads_as_one_file(
    storage: Storage, tmp_path: Path, first: int, last: int
) -> None:
    put(storage, "job_1", PARTS, tmp_path)
    parts = storage.sizes(batch_predictions.results_prefix("job_1"))
    assert list(parts.values()) == [4, 6, 2]
    assert b"".join(batch_predictions.read_range(storage, parts, first, last)) == WHOLE[first:last]


def ended(sessions: Sessions, job_id: str, status: Status) -> None:
    if status in {Status.QUEUED, Status.PAUSED}:
        with sessions.begin() as session:
            session.execute(update(Job).where(Job.id == job_id).values(status=status))
        return
    lease = claimed(sessions, job_id)
    with sessions.begin() as session:
        if status == Status.SUCCEEDED:
            assert leases.complete(session, lease, {"instances": 3, "failed": 0})
        elif status in TERMINAL:
            leases.end(session, lease, status, code="why")


@pytest.mark.parametrize("status", sorted(Status))
def test_only_a_finished_batch_has_a_result(
    sessions: Sessions, storage: Storage, tmp_path: Path, status: Status
) -> None:
    with sessions.begin() as session:
        job_id = submit_training(session)
        session.execute(update(Job).values(kind="batch_predict", model_version=1))
    put(storage, job_id, PARTS, tmp_path)
    ended(sessions, job_id, status)
    with sessions() as session:
        if status == Status.SUCCEEDED:
            assert sum(batch_predictions.result_parts(session, storage, job_id).values()) == len(WHOLE)
        else:
            with pytest.raises(Conflict, match=status):
                batch_predictions.result_parts(session, storage, job_id)


def test_a_training_has_no_result_file(sessions: Sessions, storage: Storage) -> None:
    with sessions.begin() as session:
        job_id = submit_training(session)
        with pytest.raises(NotFound, match="train"):
            batch_predictions.result_parts(session, storage, job_id)
        with pytest.raises(NotFound):
            batch_predictions.result_parts(session, storage, "job_none")


def test_a_completed_batch_makes_no_version_and_names_the_one_it_used(sessions: Sessions) -> None:
    with sessions.begin() as session:
        job_id = submit_training(session)
        session.execute(update(Job).values(kind="batch_predict", model_version=3))
    lease = claimed(sessions, job_id)
    with sessions.begin() as session:
        leases.renew(session, lease, 60, {"fraction": 0.5, "instances": 2}, {"instances": 2, "failed": 0}, [])
        assert leases.complete(session, lease, {"instances": 4, "failed": 1})
        assert leases.complete(session, lease, {"instances": 5, "failed": 2})  # an answer may be lost
    with sessions() as session:
        job = queries.get_job(session, job_id)
        assert (job.status, job.model_version, job.owner) == (Status.SUCCEEDED, 3, None)
        assert job.metrics == {"instances": 4, "failed": 1}
        assert job.progress == {"fraction": 1.0, "instances": 2, "eta_seconds": 0.0}
        statuses = [event.data["status"] for event in queries.list_events(session, job_id, 0, 9)]
        assert statuses == ["queued", "running", "succeeded"]
        assert queries.list_events(session, job_id, 0, 9)[-1].data == {
            "status": "succeeded",
            "model_version": 3,
        }
        assert session.scalars(select(ModelVersion)).all() == []


def test_a_batch_with_a_request_to_cancel_does_not_succeed(sessions: Sessions) -> None:
    with sessions.begin() as session:
        job_id = submit_training(session)
    lease = claimed(sessions, job_id)
    with sessions.begin() as session:
        control.cancel(session, job_id)
        assert not leases.complete(session, lease, {})
        assert queries.get_job(session, job_id).status == Status.RUNNING


@pytest.mark.parametrize(("kind", "advice"), [("train", True), ("batch_predict", False)])
def test_a_lost_worker_gives_the_advice_that_helps(sessions: Sessions, kind: str, advice: bool) -> None:
    with sessions.begin() as session:
        job_id = submit_training(session)
        session.execute(update(Job).values(kind=kind, crashes=leases.MAX_CRASHES))
    lease = claimed(sessions, job_id)
    with sessions.begin() as session:
        leases.release(session, lease, crashed=True)
    with sessions() as session:
        job = queries.get_job(session, job_id)
        assert (job.status, job.error_code) == (Status.FAILED, "worker_lost")
        assert ("batch_size" in (job.error_message or "")) is advice
