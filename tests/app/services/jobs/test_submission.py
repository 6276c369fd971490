"""What becomes of a request: defaults in the right order, and every misfit told at once."""

from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database.engine import Sessions
from app.database.tables import Dataset, Job, JobEvent, Model
from app.errors import Conflict, Invalid, NotFound
from app.hyperparameters.options import NETWORK, TRAINING, NetworkIn, TrainingIn
from app.infrastructure.job_events import append
from app.schemas import JobIn
from app.services.jobs import control, leases, submission
from app.services.jobs.leases import Lease
from app.services.jobs.submission import check_options, given
from app.services.paging import Paging
from app.states import LIVE, TERMINAL, Status
from app.tasks.forecasting.task import TASK
from tests.app.services.jobs.test_leases import OUTCOME, claimed
from tests.app.services.jobs.test_leases import submit as stored

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


def test_the_service_knows_no_default_for_what_is_no_field() -> None:
    assert NETWORK.keys() < NetworkIn.model_fields.keys()
    assert TRAINING.keys() < TrainingIn.model_fields.keys()
    NetworkIn.model_validate(NETWORK)
    TrainingIn.model_validate(TRAINING)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ({}, {}),
        ({"layers": None}, {}),
        ({"dropout": 0.0, "bidirectional": False}, {"dropout": 0.0, "bidirectional": False}),
        ({"cell": "gru", "hidden_size": None}, {"cell": "gru"}),
    ],
)
def test_null_means_the_default_and_zero_means_zero(sent: dict[str, Any], kept: dict[str, Any]) -> None:
    assert given(NetworkIn.model_validate(sent)) == kept


def test_defaults_are_not_changed_by_a_request(session: Session) -> None:
    before = (dict(NETWORK), dict(TRAINING), dict(TASK.network_defaults), dict(TASK.training_defaults))
    submit(session, network={"hidden_size": 7}, training={"batch_size": 9})
    assert before == (NETWORK, TRAINING, TASK.network_defaults, TASK.training_defaults)


def test_a_submitted_job_has_its_first_event(session: Session) -> None:
    job = submit(session, metadata={"team": "ops", "size": 3, "last": None})
    assert (job.status, job.attempt, job.crashes, job.events) == (Status.QUEUED, 0, 0, 1)
    assert job.job_metadata == {"team": "ops", "size": 3, "last": None}
    (event,) = submission.events(session, job.id, 0, 10)
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


def test_all_misfits_are_told_together(session: Session) -> None:
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


def test_a_data_set_of_another_task_is_not_looked_into(session: Session) -> None:
    session.add(Model(name="taken", id="model_1", task="tagging"))
    session.flush()
    with pytest.raises(Invalid) as caught:
        submit(session, dataset="ds_2", model="taken")
    assert [problem.pointer for problem in caught.value.problems] == ["/dataset", "/model"]


@pytest.mark.parametrize(
    ("field", "error"), [({"task": "knitting"}, Invalid), ({"dataset": "ds_0"}, NotFound)]
)
def test_what_is_not_there_is_told(
    session: Session, field: dict[str, str], error: type[Invalid] | type[NotFound]
) -> None:
    with pytest.raises(error, match=next(iter(field.values())) if error is NotFound else "."):
        submit(session, **field)


def test_jobs_are_found_by_every_filter(session: Session) -> None:
    ids = [submit(session, model=f"m{k % 2}").id for k in range(4)]
    control.cancel(session, ids[0])
    everything = Paging(50, None)
    assert [job.id for job in submission.find(session, everything, {})] == sorted(ids, reverse=True)
    assert {job.id for job in submission.find(session, everything, {"model": "m1"})} == {ids[1], ids[3]}
    assert [job.id for job in submission.find(session, everything, {"status": "cancelled"})] == [ids[0]]
    assert submission.find(session, everything, {"task": "tagging"}) == []
    assert [job.id for job in submission.find(session, everything, {"model": "m0", "status": "queued"})] == [
        ids[2]
    ]


def end(sessions: Sessions, job_id: str, status: Status) -> None:
    """Bring a queued job to a state."""
    if status == Status.QUEUED:
        return
    lease = claimed(sessions, job_id)
    with sessions.begin() as session:
        if status == Status.SUCCEEDED:
            leases.succeed(session, lease, OUTCOME)
        elif status in TERMINAL:
            leases.end(session, lease, status, code="why")
        elif status == Status.PAUSED:
            control.pause(session, job_id)
            leases.give_back(session, lease, crashed=False)


@pytest.mark.parametrize("status", Status)
def test_every_state_answers_cancel_and_delete_as_it_should(sessions: Sessions, status: Status) -> None:
    with sessions.begin() as session:
        job_id = stored(session)
    end(sessions, job_id, status)
    with sessions.begin() as session:
        if status in LIVE:
            with pytest.raises(Conflict, match=status):
                submission.remove(session, job_id)
        if status in {Status.SUCCEEDED, Status.FAILED}:
            with pytest.raises(Conflict, match=f"already {status}"):
                control.cancel(session, job_id)
        else:
            wanted = Status.RUNNING if status == Status.RUNNING else Status.CANCELLED
            for _ in range(2):  # repeating is harmless
                job = control.cancel(session, job_id)
                assert (job.status, job.cancel_requested_at is not None) == (
                    wanted,
                    status != Status.CANCELLED,
                )
    with sessions() as session:
        seen = [event.data["status"] for event in submission.events(session, job_id, 0, 50)]
    assert seen.count("cancelled") == (1 if status in {"queued", "paused", "cancelled"} else 0)


def test_a_deleted_job_takes_its_history_along(sessions: Sessions) -> None:
    with sessions.begin() as session:
        job_id, other = stored(session), stored(session)
        control.cancel(session, job_id)
    with sessions.begin() as session:
        submission.remove(session, job_id)
    with sessions() as session:
        assert session.scalars(select(JobEvent.job_id)).all() == [other]
        with pytest.raises(NotFound):
            submission.get(session, job_id)
        with pytest.raises(NotFound):
            submission.curves(session, job_id)


def test_cancelling_what_is_not_there_is_not_found(sessions: Sessions) -> None:
    with sessions.begin() as session, pytest.raises(NotFound):
        control.cancel(session, "job_none")


def test_curves_are_those_of_the_newest_attempt_however_many_there_were(sessions: Sessions) -> None:
    with sessions.begin() as session:
        job_id = stored(session)
    for attempt in (1, 2, 3):
        lease = claimed(sessions, job_id)
        assert lease == Lease(job_id, attempt)
        with sessions.begin() as session:
            leases.beat(session, lease, 60, None, None, [("epoch", {"epoch": 1, "of": attempt}), ("log", {})])
        with sessions() as session:
            assert submission.curves(session, job_id) == [{"epoch": 1, "of": attempt}]
        with sessions.begin() as session:
            leases.give_back(session, lease, crashed=False)


def test_curves_of_a_resumed_attempt_go_on_where_its_checkpoint_was(sessions: Sessions) -> None:
    def told(*epochs: tuple[str, int, float]) -> list[tuple[str, dict[str, Any]]]:
        stages = {"fit": 1, "refit": 2}
        return [
            ("epoch", {"phase": phase, "stage": stages[phase], "epoch": k, "loss": loss})
            for phase, k, loss in epochs
        ]

    with sessions.begin() as session:
        job_id = stored(session)
    attempts = [
        told(("fit", 1, 0.9), ("fit", 2, 0.8), ("fit", 3, 0.7)),
        told(("fit", 3, 0.6), ("fit", 4, 0.5), ("refit", 1, 0.45), ("refit", 2, 0.4)),
        told(("refit", 2, 0.3), ("refit", 3, 0.2)),
    ]
    wanted = [
        [0.9, 0.8, 0.7],
        [0.9, 0.8, 0.6, 0.5, 0.45, 0.4],
        [0.9, 0.8, 0.6, 0.5, 0.45, 0.3, 0.2],
    ]
    for events, losses in zip(attempts, wanted, strict=True):
        lease = claimed(sessions, job_id)
        for event in events:
            with sessions.begin() as session:
                leases.beat(session, lease, 60, None, None, [event, ("checkpoint", {})])
        with sessions.begin() as session:
            assert [epoch["loss"] for epoch in submission.curves(session, job_id)] == losses
            leases.give_back(session, lease, crashed=False)
    with sessions() as session:
        phases = [epoch["phase"] for epoch in submission.curves(session, job_id)]
    assert phases == ["fit"] * 4 + ["refit"] * 3


def test_curves_of_a_fit_that_is_taken_up_again_forget_the_refit_after_it(sessions: Sessions) -> None:
    with sessions.begin() as session:
        job_id = stored(session)
        epochs: list[dict[str, Any]] = [
            {"epoch": 1},
            {"epoch": 2},
            {"stage": 2, "epoch": 1},
            {"epoch": 2, "again": True},
        ]
        append(session, job_id, [("epoch", epoch) for epoch in epochs])
    with sessions() as session:
        assert submission.curves(session, job_id) == [{"epoch": 1}, {"epoch": 2, "again": True}]
