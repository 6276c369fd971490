"""Evaluations as rows: what is refused, what is stored, and what stays as long as they live."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.database.engine import Sessions
from app.database.tables import Alias, Dataset, Job, JobVersion, Model
from app.errors import Conflict, Invalid, NotFound
from app.schemas import EvaluationIn
from app.services import datasets
from app.services.evaluations import queries, submission
from app.services.evaluations.submission import PublishedVersion
from app.services.jobs import queries as jobs
from app.services.models import versions
from app.services.paging import Paging
from app.states import Status
from app.typedefs import Json
from tests.app.services.jobs.test_batch_predictions import version

STATE: Json = {
    "freq": "MS", "horizon": 6, "quantiles": [0.1, 0.5, 0.9], "answered": [0.1, 0.5, 0.9], "season": 12,
}  # fmt: skip
SERIES: Json = {
    "frequency": "MS", "longest": 60, "longest_train": 60, "split": None, "series": 3,
    "covariates": {"static": [], "numeric": [], "category": []},
}  # fmt: skip
TEXTS: Json = {"kind": "text", "examples": 10, "classes": 2, "channels": None}
TRAINING = {"batch_size": 8, "seed": 0}
MANIFEST: Json = {
    "state": STATE, "options": {"horizon": 6}, "network": {"cell": "gru", "hidden_size": 3, "layers": 1},
    "training": TRAINING,
}  # fmt: skip
TEXT_STATE: Json = {"kind": "text", "labels": ["a", "b"]}


@pytest.fixture
def session(sessions: Sessions) -> Any:
    with sessions.begin() as opened:
        row = {"name": "n", "format": "csv", "bytes": 1, "sha256": "0", "filename": "f", "warnings": []}
        for name, task, summary in (
            ("ds_1", "forecasting", SERIES),
            ("ds_2", "forecasting", SERIES | {"frequency": "D"}),
            ("ds_3", "tagging", {}),
            ("ds_4", "classification", TEXTS),
            ("ds_5", "classification", TEXTS | {"classes": 0}),
            ("ds_6", "classification", TEXTS | {"kind": "values", "channels": 2}),
        ):
            opened.add(Dataset(id=name, task=task, summary=summary, **row))
        opened.add(Model(name="m", id="model_1", task="forecasting", versions=3))
        opened.add(Model(name="texts", id="model_2", task="classification", versions=1))
        opened.flush()
        opened.add_all([version(1), version(2), version(3), Alias(model="m", alias="production", version=2)])
        opened.add(version(1, "texts", "classification"))
        opened.flush()
        yield opened


def published(session: Session, *numbers: int, model: str = "m") -> list[PublishedVersion]:
    manifest = MANIFEST if model == "m" else MANIFEST | {"state": TEXT_STATE}
    return [
        PublishedVersion(versions.get_version(session, model, one), manifest) for one in numbers or (1, 2)
    ]


def submit(session: Session, *numbers: int, model: str = "m", **request: Any) -> Job:
    body = EvaluationIn(**{"dataset": "ds_1", **request})
    return submission.submit(session, published(session, *numbers, model=model), body)


def pointers(error: pytest.ExceptionInfo[Invalid]) -> list[str]:
    return [problem.pointer for problem in error.value.problems]


def test_an_evaluation_is_a_queued_job_with_its_versions(session: Session) -> None:
    job = submit(session, 3, 1, windows=4, step=2, baselines=["theta"], parameters={"horizon": 3})
    assert (job.kind, job.status, job.task, job.model) == ("evaluate", Status.QUEUED, "forecasting", "m")
    assert (job.model_version, job.training) == (None, {})
    assert job.options == {
        "versions": [3, 1], "parameters": {"horizon": 3}, "windows": 4, "step": 2, "refit": False,
        "baselines": ["seasonal_naive", "theta"], "training_dataset": None,
    }  # fmt: skip
    rows = session.scalars(select(JobVersion).where(JobVersion.job_id == job.id))
    assert {row.version for row in rows} == {1, 3}
    (event,) = jobs.list_events(session, job.id, 0, 10)
    assert event.data == {"status": "queued"}


@pytest.mark.parametrize(
    ("request_", "at"),
    [
        ({"parameters": {"horizon": 7}}, "/parameters/horizon"),
        ({"parameters": {"colour": 1}}, "/parameters"),
        ({"dataset": "ds_2"}, "/dataset"),
        ({"dataset": "ds_3"}, "/dataset"),
        ({"windows": 20}, "/windows"),
        ({"windows": 2, "step": 54}, "/windows"),
        ({"windows": 13, "step": 1, "refit": True}, "/windows"),
        ({"baselines": ["theta", "prophet"]}, "/baselines/1"),
    ],
)
def test_what_does_not_fit_is_pointed_at(session: Session, request_: Json, at: str) -> None:
    with pytest.raises(Invalid) as error:
        submit(session, **request_)
    assert pointers(error) == [at]
    assert session.scalars(select(Job)).all() == []


@pytest.mark.parametrize(
    ("request_", "at"),
    [
        ({"dataset": "ds_5"}, "/dataset"),
        ({"dataset": "ds_6"}, "/dataset"),
        ({"dataset": "ds_4", "windows": 2}, "/windows"),
        ({"dataset": "ds_4", "step": 2}, "/step"),
        ({"dataset": "ds_4", "refit": True}, "/refit"),
        ({"dataset": "ds_4", "parameters": {"top_k": 1}}, "/parameters/top_k"),
        ({"dataset": "ds_4", "baselines": ["naive_bayes"]}, "/baselines/0"),  # its data were deleted
        ({"dataset": "ds_4", "baselines": ["theta"]}, "/baselines/0"),
    ],
)
def test_what_a_task_without_windows_refuses(session: Session, request_: Json, at: str) -> None:
    with pytest.raises(Invalid) as error:
        submit(session, 1, model="texts", **request_)
    assert pointers(error) == [at]


def test_a_baseline_learns_from_what_the_first_version_was_trained_on(session: Session) -> None:
    assert submit(session, 1, model="texts", dataset="ds_4").options["baselines"] == []
    session.execute(update(Dataset).where(Dataset.id == "ds_6").values(id="ds_0"))  # as `version` says
    session.expire_all()
    job = submit(session, 1, model="texts", dataset="ds_4", baselines=["naive_bayes"])
    assert (job.options["baselines"], job.options["training_dataset"]) == (["naive_bayes"], "ds_0")
    with pytest.raises(Conflict, match=job.id):
        datasets.remove(session, "ds_0")
    with pytest.raises(Invalid, match="naive_bayes") as error:
        submit(session, 1, model="texts", dataset="ds_4", baselines=["nearest_neighbor"])
    assert pointers(error) == ["/baselines/1"]


def test_what_does_not_exist_is_not_found(session: Session, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="ds_9"):
        submit(session, dataset="ds_9")
    storage: Any = None
    with pytest.raises(NotFound, match="no model other"):
        submission.find_versions(session, storage, "other", None)
    with pytest.raises(NotFound) as error:
        submission.find_versions(session, storage, "m", [1, 8, 9])
    assert [problem.pointer for problem in error.value.problems] == ["/versions/1", "/versions/2"]


@pytest.mark.parametrize(
    "body",
    [{"versions": []}, {"versions": [1, 1]}, {"versions": [0]}, {"windows": 0}, {"windows": 101}, {"step": 0},
     {"versions": list(range(1, 10))}, {"baselines": ["theta", "theta"]}, {"unknown": 1}],
)  # fmt: skip
def test_requests_are_strict(body: Json) -> None:
    with pytest.raises(ValidationError):
        EvaluationIn.model_validate({"dataset": "ds_1", **body})


@pytest.mark.parametrize("status", sorted(Status))
def test_a_live_evaluation_keeps_its_versions(session: Session, status: Status) -> None:
    job = submit(session, 1, 3)
    session.execute(update(Job).values(status=status))
    session.expire_all()
    if status in {Status.QUEUED, Status.RUNNING, Status.PAUSED}:
        for number in (1, 3):
            with pytest.raises(Conflict, match=job.id):
                versions.remove_version(session, "m", number)
    else:
        assert versions.remove_version(session, "m", 3) == "artifacts/m/3"


def test_a_deleted_evaluation_leaves_nothing(session: Session) -> None:
    job = submit(session)
    session.execute(update(Job).values(status=Status.SUCCEEDED))
    session.expire_all()
    jobs.delete_job(session, job.id)
    assert session.scalars(select(JobVersion)).all() == []


def test_evaluations_are_listed_by_version(session: Session) -> None:
    first, second = submit(session, 1, 2).id, submit(session, 2).id
    session.flush()

    def listed(number: int) -> list[str]:
        return [job.id for job in queries.list_page(session, "m", number, Paging(50, None))]

    assert listed(1) == [first]
    assert listed(2) == [second, first]
    assert listed(3) == []
    with pytest.raises(NotFound):
        listed(9)
