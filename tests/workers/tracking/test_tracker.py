"""Trainings in an experiment tracker: a thread that never holds up a job, and the real MLflow."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app.database.tables import Job
from tests.support.fakes.run_store import FakeStore
from tests.support.fixtures.servers import until
from workers.tracking.mlflow_runs import JOB_TAG, MlflowRuns
from workers.tracking.runs import TrackedJob, epoch_figures, final_figures
from workers.tracking.tracker import Tracker

JOB = TrackedJob("job_1", "default", "demand", {"network.cell": "gru"}, {"task": "forecasting"})
EPOCH = {"type": "epoch", "epoch": 1, "train_loss": 0.5, "valid_loss": 0.25, "phase": "fit", "stage": 1}
DONE = {"type": "done", "metrics": {"smape": 9, "by_lead": [1]}, "baseline": {"smape": 12}, "parameters": 7}


def tracker(store: FakeStore, **settings: Any) -> Tracker:
    return Tracker(lambda: store, first_retry_seconds=0.001, **settings)


def test_a_job_s_way_is_written_in_order() -> None:
    store = FakeStore()
    tracked = tracker(store)
    tracked.begin(JOB)
    for message in (EPOCH, {"type": "progress", "epoch": 2}, {**EPOCH, "epoch": 2}, DONE):
        tracked.record("job_1", message)
    tracked.end("job_1", "succeeded")
    assert tracked.flush(10)
    losses = {"train_loss": 0.5, "valid_loss": 0.25}
    run = "run of job_1"
    assert store.entries == [
        ("open", "job_1"), (run, losses, 1), (run, losses, 2),
        (run, {"test/smape": 9, "baseline/smape": 12}, 0), (run, "succeeded"),
    ]  # fmt: skip


def test_what_fails_for_a_while_is_written_later() -> None:
    store = FakeStore()
    store.failures = 3
    tracked = tracker(store)
    tracked.begin(JOB)
    tracked.record("job_1", EPOCH)
    assert tracked.flush(10)
    assert [entry[0] for entry in store.entries] == ["open", "run of job_1"]


def test_what_goes_on_failing_is_given_up_until_the_next_job(caplog: pytest.LogCaptureFixture) -> None:
    store = FakeStore()
    store.failures = 1
    tracked = tracker(store, give_up_seconds=0)
    for job_id in ("job_1", "job_2"):
        tracked.begin(TrackedJob(job_id, "default", "demand"))
        tracked.record(job_id, EPOCH)
        tracked.end(job_id, None)
    assert tracked.flush(10)
    assert [entry[0] for entry in store.entries] == ["open", "run of job_2", "run of job_2"]
    (record,) = caplog.records
    assert "tracking given up" in record.message
    assert "secret" not in record.message


def test_a_tracker_that_hangs_holds_up_nothing(caplog: pytest.LogCaptureFixture) -> None:
    store = FakeStore()
    store.go.clear()
    tracked = tracker(store, max_waiting=2)
    tracked.begin(JOB)
    for epoch in range(1, 10):
        tracked.record("job_1", {**EPOCH, "epoch": epoch})
    assert not tracked.flush(0.01)
    assert "too many wait" in caplog.text
    store.go.set()
    assert tracked.flush(10)


def test_without_a_store_there_is_no_thread() -> None:
    before = threading.active_count()
    tracked = Tracker(None)
    tracked.begin(JOB)
    tracked.record("job_1", EPOCH)
    tracked.end("job_1", "succeeded")
    assert tracked.flush(0)
    assert threading.active_count() == before


def test_a_client_that_is_not_installed_is_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    def connect() -> FakeStore:
        raise ModuleNotFoundError("No module named 'mlflow'")

    tracked = Tracker(connect, give_up_seconds=0)
    tracked.begin(JOB)
    assert tracked.flush(10)
    assert "No module named 'mlflow'" in caplog.text


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ({}, "valid_loss"),
        ({"phase": "fit", "stage": 1}, "valid_loss"),
        ({"phase": "refit", "stage": 3}, "refit/valid_loss"),
        ({"phase": "refit", "stage": 3, "member": 1}, "refit/network_2/valid_loss"),
    ],
)
def test_curves_of_a_refit_have_names_of_their_own(place: dict[str, Any], name: str) -> None:
    assert epoch_figures({"type": "epoch", "epoch": 1, "valid_loss": 0.5, **place}) == {name: 0.5}


def test_only_numbers_are_figures() -> None:
    message = {"metrics": {"smape": 1.5, "worst": ["a"], "ok": True, "none": None}, "baseline": None}
    assert final_figures(message) == {"test/smape": 1.5}


def test_a_row_is_told_with_all_its_settings() -> None:
    row: Any = SimpleNamespace(
        id="job_1", project="ops", model="demand", task="forecasting", dataset_id="ds_1", sweep_id=None,
        network={"cell": "gru"}, training={"epochs": 2, "max_seconds": None},
        options={"quantiles": [0.1, 0.9]},
    )  # fmt: skip
    assert set(vars(row)) <= set(Job.__mapper__.attrs.keys())
    told = TrackedJob.of(row)
    assert told.settings == {
        "network.cell": "gru", "training.epochs": "2", "training.max_seconds": "None",
        "options.quantiles": "[0.1, 0.9]",
    }  # fmt: skip
    assert told.tags == {"task": "forecasting", "dataset": "ds_1"}


@pytest.mark.filterwarnings("ignore")
def test_mlflow_has_a_run_for_each_job_and_an_experiment_for_each_model(tmp_path: Path) -> None:
    """The real client over its own database; a second attempt goes on with the run of the first."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    for attempt, status in ((1, None), (2, "succeeded")):
        tracked = Tracker(lambda: MlflowRuns(uri))
        tracked.begin(JOB)
        tracked.record("job_1", {**EPOCH, "epoch": attempt, "valid_loss": 1 / attempt})
        if status is not None:
            tracked.record("job_1", DONE)
        tracked.end("job_1", status)
        until(lambda tracked=tracked: tracked.flush(0.1), 60, "the runs")
    client = MlflowRuns(uri)._client
    (experiment,) = [one for one in client.search_experiments() if one.name.startswith("recurra/")]
    assert experiment.name == "recurra/default/demand"
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status, run.data.tags[JOB_TAG]) == ("job_1", "FINISHED", "job_1")
    assert run.data.params == {"network.cell": "gru"}
    assert run.data.tags["recurra.task"] == "forecasting"
    curve = client.get_metric_history(run.info.run_id, "valid_loss")
    assert [(point.step, point.value) for point in curve] == [(1, 1.0), (2, 0.5)]
    assert (run.data.metrics["test/smape"], run.data.metrics["baseline/smape"]) == (9.0, 12.0)
