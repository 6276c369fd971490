"""Submitting jobs: defaults in the right order, and every fault of a request reported at once."""

from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database.engine import Sessions
from app.database.tables import Dataset, Job, Model
from app.errors import Invalid, NotFound, Problem
from app.hyperparameters.options import NETWORK, TRAINING, NetworkIn, TrainingIn
from app.schemas import JobIn
from app.services.jobs import control, queries, submission
from app.services.jobs.submission import check_options, explicit_fields
from app.states import Status
from app.tasks.forecasting.task import TASK

SUMMARY: dict[str, Any] = {
    "longest_train": 60,
    "split": None,
    "covariates": {"static": [], "numeric": ["price"], "category": []},
}


@pytest.fixture
def session(sessions: Sessions) -> Any:
    with sessions.begin() as opened:
        row = {"name": "n", "format": "csv", "bytes": 1, "sha256": "0", "filename": "f", "warnings": []}
        opened.add(Dataset(id="ds_1", task="forecasting", summary=SUMMARY, **row))
        opened.add(Dataset(id="ds_2", task="tagging", summary=SUMMARY, **row))
        untold = {
            "trainable": False,
            "reason": "No recording has a text.",
            "train_seconds": 9,
            "max_stride": 8,
        }
        opened.add(Dataset(id="ds_3", task="speech", summary=untold, **row))
        opened.flush()
        yield opened


def submit(session: Session, **fields: Any) -> Job:
    body = {"task": "forecasting", "dataset": "ds_1", "model": "m", "options": {"horizon": 6}} | fields
    return submission.submit(session, JobIn.model_validate(body))


def test_a_task_overrides_the_service_and_a_request_both(session: Session) -> None:
    job = submit(session, network={"layers": 2}, training={"epochs": 3, "seed": 0})
    assert job.network == NETWORK | TASK.network_defaults | {"layers": 2}
    assert job.training == TRAINING | TASK.training_defaults | {"epochs": 3, "seed": 0}
    assert TASK.training_defaults["learning_rate"] != TRAINING["learning_rate"]  # else this shows nothing
    assert job.training["learning_rate"] == TASK.training_defaults["learning_rate"]


def test_data_without_answers_is_not_trained_on(session: Session) -> None:
    with pytest.raises(Invalid) as refused:
        submit(session, task="speech", dataset="ds_3", options={})
    detail = "this data set cannot be trained on: No recording has a text."
    assert refused.value.problems == [Problem("/dataset", detail)]


def test_the_service_has_defaults_for_fields_only() -> None:
    assert NETWORK.keys() < NetworkIn.model_fields.keys()
    assert TRAINING.keys() < TrainingIn.model_fields.keys()
    NetworkIn.model_validate(NETWORK)
    TrainingIn.model_validate(TRAINING)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({}, {}),
        ({"layers": None}, {}),
        ({"dropout": 0.0, "bidirectional": False}, {"dropout": 0.0, "bidirectional": False}),
        ({"cell": "gru", "hidden_size": None}, {"cell": "gru"}),
    ],
)
def test_null_means_the_default_and_zero_means_zero(sent: dict[str, Any], expected: dict[str, Any]) -> None:
    assert explicit_fields(NetworkIn.model_validate(sent)) == expected


def test_defaults_are_not_changed_by_a_request(session: Session) -> None:
    before = (dict(NETWORK), dict(TRAINING), dict(TASK.network_defaults), dict(TASK.training_defaults))
    submit(session, network={"hidden_size": 7}, training={"batch_size": 9})
    assert before == (NETWORK, TRAINING, TASK.network_defaults, TASK.training_defaults)


def test_a_submitted_job_has_its_first_event(session: Session) -> None:
    job = submit(session, metadata={"team": "ops", "size": 3, "last": None})
    assert (job.status, job.attempt, job.crashes, job.events) == (Status.QUEUED, 0, 0, 1)
    assert job.job_metadata == {"team": "ops", "size": 3, "last": None}
    (event,) = queries.list_events(session, job.id, 0, 10)
    assert (event.seq, event.type, event.data) == (1, "status", {"status": "queued"})


@pytest.mark.parametrize(
    ("options", "pointer"),
    [
        ({}, "/options/horizon"),
        ({"horizon": "6"}, "/options/horizon"),
        ({"horizon": 6.0}, "/options/horizon"),
        ({"horizon": True}, "/options/horizon"),
        ({"horizon": 6, "quantiles": [0.5, "0.9"]}, "/options/quantiles/1"),
        ({"horizon": 6, "quantiles": [float("nan")]}, "/options/quantiles/0"),
        ({"horizon": 6, "a/b~c": 1}, "/options/a~1b~0c"),
        ({"horizon": 6, "\ud800": 1}, "/options"),
    ],
)
def test_an_option_that_does_not_fit_is_pointed_at(options: dict[str, Any], pointer: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_options(TASK, options)
    assert pointer in [problem.pointer for problem in caught.value.problems]


def test_all_faults_are_reported_together(session: Session) -> None:
    session.add(Model(name="taken", id="model_1", task="tagging"))
    session.flush()
    with pytest.raises(Invalid) as caught:
        submit(
            session,
            model="taken",
            network={"bidirectional": True, "pooling": "max"},
            training={"label_smoothing": 0.1},
            options={"horizon": 60, "past_covariates": ["rain"]},
        )
    pointers = {problem.pointer for problem in caught.value.problems}
    assert pointers == {
        "/model",
        "/network/pooling",
        "/training/label_smoothing",
        "/network/bidirectional",
        "/options/horizon",
        "/options/past_covariates/0",
    }
    assert session.scalars(select(Job)).all() == []


def test_the_summary_of_another_tasks_data_set_is_not_read(session: Session) -> None:
    session.add(Model(name="taken", id="model_1", task="tagging"))
    session.flush()
    with pytest.raises(Invalid) as caught:
        submit(session, dataset="ds_2", model="taken")
    assert [problem.pointer for problem in caught.value.problems] == ["/dataset", "/model"]


@pytest.mark.parametrize(
    ("field", "error"), [({"task": "knitting"}, Invalid), ({"dataset": "ds_0"}, NotFound)]
)
def test_what_does_not_exist_is_reported(
    session: Session, field: dict[str, str], error: type[Invalid] | type[NotFound]
) -> None:
    with pytest.raises(error, match=next(iter(field.values())) if error is NotFound else "."):
        submit(session, **field)


def test_cancelling_a_job_that_does_not_exist_is_not_found(sessions: Sessions) -> None:
    with sessions.begin() as session, pytest.raises(NotFound):
        control.cancel(session, "job_none")
