"""Sweeps as they are submitted: what is stored, and that every trial is checked before anything is."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.database.engine import Sessions
from app.database.tables import Dataset, Job, Model, Worker
from app.errors import Invalid, NotFound, Problem
from app.services import datasets
from app.services.jobs import workers
from app.services.models import versions
from app.services.paging import Paging
from app.services.sweeps import state, submission
from app.states import SWEEP, Status
from app.tasks.forecasting.task import Forecasting
from app.typedefs import Json
from tests.app.services.invariants import check, look
from tests.app.services.jobs.test_batch_predictions import version
from tests.support.factories.sweeps import CELLS, stage, sweep_request


@pytest.fixture
def session(sessions: Sessions) -> Iterator[Session]:
    stage(sessions)
    with sessions.begin() as opened:
        yield opened


def problems(session: Session, **fields: Any) -> dict[str, str]:
    """What is refused, and that nothing was stored."""
    with pytest.raises(Invalid) as raised:
        submission.submit(session, sweep_request(**fields))
    assert session.scalars(select(Job)).all() == []
    return {problem.pointer: problem.detail for problem in raised.value.problems}


def test_a_sweep_is_a_queued_job_that_knows_its_search(session: Session) -> None:
    made = submission.submit(
        session,
        sweep_request(network={"layers": 2}, training={"epochs": 4}, metadata={"team": "ops"}, seeds=2),
    )
    session.expire_all()
    assert (made.kind, made.status, made.task, made.dataset_id) == (
        SWEEP,
        Status.QUEUED,
        "forecasting",
        "ds_1",
    )
    assert (made.network, made.training, made.options) == ({"layers": 2}, {"epochs": 4}, {"horizon": 4})
    assert (made.job_metadata, made.sweep_id, made.trial) == ({"team": "ops"}, None, None)
    assert made.search == {
        "space": {"network.cell": list(CELLS)}, "metric": "valid_loss", "direction": "minimize",
        "sampler": "grid", "max_trials": 3, "seeds": 2, "seed": 7, "prune": True, "max_parallel": None,
        "max_seconds": None,
    }  # fmt: skip
    check(look(session))
    assert state.load(session, made.id).trials == []
    assert state.leaderboard(state.load(session, made.id)) == []


def test_a_trial_that_no_worker_has_the_memory_for_is_refused_with_what_would_fit(session: Session) -> None:
    facts = {"role": "train", "host": "h", "pid": 1, "loaded": [], "device": "cpu"}
    workers.report_alive(session, Worker(id="w", memory_bytes=64 << 20, **facts))
    dataset = session.get_one(Dataset, "ds_1")
    dataset.summary = dataset.summary | {"series": 3, "longest_train": 400}
    sizes = {"network.hidden_size": [8, 64, 2048], "network.layers": {"min": 1, "max": 2}}
    found = problems(session, search=sizes)
    assert set(found) == {"/training/batch_size", "/options/context_length", "/search/network.hidden_size"}
    detail = found["/search/network.hidden_size"]
    assert detail.startswith("2048: the training needs at least ")
    assert "a worker has 0.0625 GiB; with at most " in detail
    assert "(with network.hidden_size = 2048, network.layers = 2)" in found["/training/batch_size"]
    fits = int(detail.split("with at most ")[1].split(" ")[0].replace(",", ""))
    assert 64 < fits < 2048
    sizes["network.hidden_size"] = [8, fits]
    assert submission.submit(session, sweep_request(search=sizes)).status == Status.QUEUED


@pytest.mark.parametrize(
    ("fields", "sampler", "trials"),
    [
        ({}, "grid", 3),
        ({"max_trials": 2}, "tpe", 2),
        ({"max_trials": 2, "sampler": "grid"}, "grid", 2),
        ({"search": {"network.layers": {"min": 1, "max": 4}}}, "grid", 4),
        ({"search": {"training.learning_rate": {"min": 0.001, "max": 0.1}}}, "tpe", 20),
        ({"search": {"network.layers": [1, 2]}, "sampler": "random"}, "random", 2),
    ],
)
def test_the_sampler_suits_the_space(session: Session, fields: Json, sampler: str, trials: int) -> None:
    search = submission.submit(session, sweep_request(**fields)).search or {}
    assert (search["sampler"], search["max_trials"]) == (sampler, trials)


def test_the_first_seed_is_the_jobs(session: Session) -> None:
    assert (submission.submit(session, sweep_request(training={"seed": 40})).search or {})["seed"] == 40


@pytest.mark.parametrize(
    ("fields", "pointer", "detail"),
    [
        ({"search": {"network.cell": ["gru", "transformer"]}}, "/search/network.cell", '"transformer": '),
        ({"search": {"network.cell": ["gru", 7]}}, "/search/network.cell", "7: "),
        ({"search": {"network.layers": {"min": 1, "max": 9}}}, "/search/network.layers", "9: "),
        ({"search": {"network.colour": ["red"]}}, "/search/network.colour", "setting colour; there are"),
        ({"search": {"colour": ["red"]}}, "/search/colour", "name a setting by its part"),
        ({"search": {"layers": [1]}}, "/search/layers", "layers belongs in `network.…`"),
        ({"search": {"network.epochs": [1]}}, "/search/network.epochs", "epochs belongs in `training.…`"),
        ({"search": {"network.layer": [1]}}, "/search/network.layer", "did you mean layers?"),
        ({"search": {"network.crf": [True]}}, "/search/network.crf", "true: forecasting has no crf"),
        ({"search": {"network.bidirectional": [True]}}, "/search/network.bidirectional", "sees the future"),
        ({"search": {"network.cell": {"min": 1, "max": 2}}}, "/search/network.cell", "no number"),
        ({"search": {"training.seed": [1, 2]}}, "/search/training.seed", "see `seeds`"),
        ({"search": {"options.colour": ["red"]}}, "/search/options.colour", "setting colour; there are"),
        ({"search": {"options.horizon": [4, 8]}}, "/search/options.horizon", "is fixed too"),
        ({"network": {"cell": "gru"}}, "/search/network.cell", "is fixed too"),
        (
            {"search": {"options.horizon": [4, 700]}, "options": {}}, "/search/options.horizon",
            "700: The longest series has 60 observations",
        ),
        ({"options": {}}, "/options/horizon", "Field required"),
        ({"options": {"horizon": 4, "zebra": 1}}, "/options/zebra", "unknown field zebra; there are"),
        ({"options": {"horizon": 4, "epochs": 1}}, "/options/epochs", "epochs belongs in `training`"),
        ({"training": {"pretrain_epochs": 1}}, "/training/pretrain_epochs", "forecasting has no"),
        ({"task": "juggling"}, "/task", "unknown task juggling; there are"),
        ({"metric": "accuracy"}, "/metric", "choose from valid_loss, smape, mase, pinball"),
        (
            {"search": {"options.horizon": [4, 8]}, "options": {}}, "/search/options.horizon",
            "losses cannot be compared across values of this: choose another metric (smape, mase, pinball)",
        ),
        (
            {"search": {"options.transform": ["log", "none"]}, "metric": "mase", "prune": True}, "/prune",
            "change their meaning with options.transform",
        ),
        (
            {"search": {"training.learning_rate": {"min": 0.1, "max": 1}}, "sampler": "grid"}, "/sampler",
            "a grid without an end",
        ),
        (
            {"search": {"network.hidden_size": {"min": 1, "max": 2000},
                        "network.layers": {"min": 1, "max": 8}}, "sampler": "grid"},
            "/sampler", "of 16,000 trials",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_and_nothing_is_stored(
    session: Session, fields: Json, pointer: str, detail: str
) -> None:
    details = problems(session, **fields)
    assert list(details) == [pointer]
    assert detail in details[pointer]


def test_every_trial_of_a_grid_is_tried(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(_: object, summary: Json, options: Any) -> list[Problem]:
        together = (options.context_length, options.horizon) == (50, 20)
        return [Problem("/options/refit", "there is not enough")] if together else []

    monkeypatch.setattr(Forecasting, "check", check)
    search = {"options.context_length": [10, 50], "options.horizon": [4, 20]}
    details = problems(session, search=search, options={})
    why = "there is not enough (with options.context_length = 50, options.horizon = 20)"
    assert details == {"/options/refit": why}
    apart: Json = {
        "options.context_length": [10, 50, *range(100, 130)],
        "options.horizon": [4, *range(20, 50)],
    }
    assert submission.submit(
        session, sweep_request(search=apart, options={}, metric="smape")
    ).search  # too many: values by themselves


def test_of_a_space_too_large_each_value_is_tried(session: Session) -> None:
    search: Json = {f"network.{name}": list(range(1, 9)) for name in ("layers", "hidden_size")}
    search |= {"training.epochs": list(range(1, 33)), "network.cell": ["gru", "x"]}
    assert list(problems(session, search=search)) == ["/search/network.cell"]
    del search["network.cell"]
    assert (submission.submit(session, sweep_request(search=search)).search or {})["sampler"] == "tpe"


def test_what_is_not_there_is_not_found(session: Session) -> None:
    with pytest.raises(NotFound):
        submission.submit(session, sweep_request(dataset="ds_none"))
    for job_id in ("job_none", submission.submit(session, sweep_request()).id + "x"):
        with pytest.raises(NotFound):
            state.load(session, job_id)


def test_a_data_set_or_model_of_another_task_is_refused(session: Session) -> None:
    session.add(Model(name="tagger", id="model_9", task="tagging", versions=0))
    session.flush()
    assert list(problems(session, model="tagger")) == ["/model"]
    session.execute(update(Dataset).values(task="tagging"))
    assert list(problems(session)) == ["/dataset"]


@pytest.mark.parametrize(
    ("fields", "direction", "prune"),
    [
        ({}, "minimize", True),
        ({"prune": False}, "minimize", False),
        ({"metric": "f1"}, "maximize", False),
        ({"metric": "accuracy", "prune": True}, "maximize", True),
    ],
)
def test_a_metric_has_a_direction(session: Session, fields: Json, direction: str, prune: bool) -> None:
    summary = {"scheme": "bio", "train_tokens": 1_000}
    session.execute(update(Dataset).values(task="tagging", summary=summary))
    search = submission.submit(session, sweep_request(task="tagging", options={}, **fields)).search or {}
    assert (search["metric"], search["direction"]) == (fields.get("metric", "valid_loss"), direction)
    assert search["prune"] is prune


def test_losses_of_a_sentence_and_of_a_word_are_not_compared(session: Session) -> None:
    summary = {"scheme": "bio", "train_tokens": 1_000}
    session.execute(update(Dataset).values(task="tagging", summary=summary))
    fields: Json = {"task": "tagging", "options": {}}
    details = problems(session, **fields, search={"network.crf": [True, False]})
    assert list(details) == ["/search/network.crf"]
    assert "choose another metric (f1, accuracy)" in details["/search/network.crf"]
    chains = {"network.crf": [True, False]}
    assert submission.submit(session, sweep_request(**fields, search=chains, metric="f1")).kind == SWEEP
    assert submission.submit(session, sweep_request(**fields, network={"crf": False})).kind == SWEEP


def test_a_live_sweep_keeps_its_data_set(session: Session) -> None:
    made = submission.submit(session, sweep_request())
    with pytest.raises(Exception, match=made.id):
        datasets.remove(session, "ds_1")


def test_a_job_that_is_no_sweep_has_no_standing(session: Session) -> None:
    session.add(Model(name="m", id="model_1", task="forecasting", versions=1))
    session.flush()
    session.add(version())
    session.flush()
    assert versions.list_versions(session, "m", Paging(5, None))
    with pytest.raises(NotFound, match="no sweep job_m_1"):
        state.load(session, "job_m_1")


def test_a_search_survives_the_database(session: Session) -> None:
    space = {"options.quantiles": [[0.1, 0.5, 0.9], [0.5]], "training.max_seconds": [None, 2.5]}
    made = submission.submit(session, sweep_request(search=space, metric="smape"))
    session.expire_all()
    assert json.dumps((made.search or {})["space"]) == json.dumps(space)
