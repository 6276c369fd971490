"""Devices in the queue: a worker claims only what it can run, and what nobody can run is refused."""

from typing import Any

import pytest
from sqlalchemy import update

from app.database.engine import Sessions, db_now
from app.database.tables import Dataset, Job, Worker
from app.errors import Invalid
from app.schemas import JobIn
from app.services.jobs import devices, leases, queries, submission, workers
from app.services.sweeps import submission as sweeps
from app.services.sweeps.search import SweepIn
from tests.app.services.jobs.test_leases import submit as enqueue
from tests.support.fixtures.service import Service

SUMMARY: dict[str, Any] = {
    "longest_train": 60,
    "split": None,
    "covariates": {"static": [], "numeric": [], "category": []},
}
ASKED = ("auto", "cpu", "cuda", "cuda:0", "cuda:1", None)
MANY = ",".join(f"cuda:{number}" for number in range(28))


def live(sessions: Sessions, *rows: str, role: str = "train") -> None:
    with sessions.begin() as session:
        for number, device in enumerate(rows):
            worker = Worker(id=f"{role}{number}", role=role, device=device, host="h", pid=1, loaded=[])
            workers.report_alive(session, worker)


@pytest.fixture
def dataset(sessions: Sessions) -> str:
    row = {"name": "n", "format": "csv", "bytes": 1, "sha256": "0", "filename": "f", "warnings": []}
    with sessions.begin() as session:
        session.add(Dataset(id="ds_1", task="forecasting", summary=SUMMARY, **row))
    return "ds_1"


def body(dataset: str, device: str | None) -> dict[str, Any]:
    training = {} if device is None else {"device": device}
    return {"task": "forecasting", "dataset": dataset, "model": "m", "training": training}


def submit(sessions: Sessions, dataset: str, device: str | None) -> list[tuple[str, Any]]:
    """Submit a job; its events."""
    request = JobIn.model_validate(body(dataset, device) | {"options": {"horizon": 6}})
    with sessions.begin() as session:
        job = submission.submit(session, request)
        return [(event.type, event.data) for event in queries.list_events(session, job.id, 0, 10)]


def sweep(sessions: Sessions, dataset: str, device: str | None, search: dict[str, Any]) -> None:
    more = {"options": {"horizon": 6}, "search": search}
    with sessions.begin() as session:
        sweeps.submit(session, SweepIn.model_validate(body(dataset, device) | more))


@pytest.mark.parametrize(
    ("worker", "claims"),
    [
        (["cpu"], ["auto", "cpu", None]),
        (["cuda:0"], ["auto", "cpu", "cuda", "cuda:0", None]),
        (["cuda:1", "cuda:2"], ["auto", "cpu", "cuda", "cuda:1", None]),
    ],
)
def test_a_worker_claims_what_it_can_run_in_order(
    sessions: Sessions, worker: list[str], claims: list[str | None]
) -> None:
    with sessions.begin() as session:
        ids = {enqueue(session, device=device): device for device in ASKED}
    claimed = []
    with sessions.begin() as session:
        while (job_id := leases.next_queued(session, worker)) is not None:
            assert leases.claim(session, job_id, "w", 60) is not None
            claimed.append(ids[job_id])
    assert sorted(claimed, key=str) == sorted(claims, key=str)
    assert claimed == [ids[job_id] for job_id in sorted(ids) if ids[job_id] in claims]


def test_every_device_that_is_accepted_is_one_to_run_on() -> None:
    for worker in (["cpu"], ["cuda:0"], ["cuda:1", "cuda:3"]):
        for asked in devices.accepted(worker):
            assert devices.choose(asked, worker) in {*worker, "cpu"}
    assert devices.choose("cuda", ["cuda:1", "cuda:3"]) == "cuda:1"


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:3"])
def test_a_device_that_no_live_worker_has_is_refused(sessions: Sessions, dataset: str, device: str) -> None:
    live(sessions, "cpu", "cuda:1,cuda:2" if device != "cuda" else "cpu")
    live(sessions, "cuda:0,cuda:3", role="serve")  # which trains nothing
    with pytest.raises(Invalid, match=f"no training worker has {device}, they have cpu") as refused:
        submit(sessions, dataset, device)
    assert [problem.pointer for problem in refused.value.problems] == ["/training/device"]


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:27", None])
def test_a_device_that_some_live_worker_has_is_taken(
    sessions: Sessions, dataset: str, device: str | None
) -> None:
    live(sessions, "cpu", MANY)
    assert submit(sessions, dataset, device) == [("status", {"status": "queued"})]


def test_without_a_live_worker_a_job_waits_for_the_first_with_a_warning(
    sessions: Sessions, dataset: str
) -> None:
    live(sessions, "cpu")
    with sessions.begin() as session:
        session.execute(update(Worker).values(last_seen=db_now() - 60))
    *_, warning = submit(sessions, dataset, "cuda")
    assert warning == (
        "warning",
        {"message": "No training worker is running; the job waits for one that has cuda."},
    )
    assert len(submit(sessions, dataset, "auto")) == 1
    with sessions() as session:
        assert {job.events for job in session.query(Job)} == {1, 2}


def test_the_trials_of_a_sweep_ask_for_devices_too(sessions: Sessions, dataset: str) -> None:
    live(sessions, "cpu")
    with pytest.raises(Invalid) as fixed:
        sweep(sessions, dataset, "cuda", {"network.cell": ["lstm", "gru"]})
    assert [problem.pointer for problem in fixed.value.problems] == ["/training/device"]
    with pytest.raises(Invalid) as searched:
        sweep(sessions, dataset, None, {"training.device": ["cpu", "cuda", "cuda:1"]})
    assert {problem.pointer for problem in searched.value.problems} == {"/search/training.device"}
    sweep(sessions, dataset, None, {"training.device": ["cpu", "auto"]})


def test_over_http_the_device_is_pointed_at(on_sqlite: Service) -> None:
    with on_sqlite.state.sessions.begin() as session:
        worker = Worker(id="w", role="train", device="cpu", host="h", pid=1, loaded=[])
        workers.report_alive(session, worker)
    refused = on_sqlite.submit(training={"device": "cuda"})
    assert refused.status_code == 422
    assert [error["pointer"] for error in refused.json()["errors"]] == ["/training/device"]
    assert on_sqlite.submit(training={"device": "cpu"}).status_code == 202
