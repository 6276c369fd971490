"""Jobs over HTTP: the contract a poller relies on."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from app.infrastructure.logs import LogLine
from app.services.jobs import checkpoints, leases, queries
from app.services.jobs.leases import Lease
from app.states import Status
from app.typedefs import Json
from tests.support.fixtures.servers import until
from tests.support.fixtures.service import Service, monthly, problem


def test_a_submitted_job_is_queued_with_everything_filled_in(running: Service) -> None:
    dataset = running.dataset()
    answer = running.submit(dataset, metadata={"team": "ops"}, network={"cell": "gru"})
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert int(answer.headers["retry-after"]) >= 1
    assert job["object"] == "job"
    assert (job["kind"], job["status"], job["attempt"]) == ("train", "queued", 0)
    assert (job["dataset"], job["model"], job["metadata"]) == (dataset, "demand", {"team": "ops"})
    assert job["network"]["cell"] == "gru"
    assert {"layers", "hidden_size", "bidirectional", "dropout"} <= job["network"].keys()
    assert {"epochs", "batch_size", "learning_rate", "clip_norm", "patience", "seed"} <= job[
        "training"
    ].keys()
    assert job["options"]["horizon"] == 6
    assert job["options"]["quantiles"] == [0.1, 0.5, 0.9]
    assert (job["cancel_requested"], job["pause_requested"]) == (False, False)
    assert job["progress"] is job["error"] is job["model_version"] is job["finished_at"] is None
    assert datetime.fromisoformat(job["created_at"]).utcoffset() is not None
    assert running.http.get(answer.headers["location"]).json() == job


@pytest.mark.parametrize(
    ("change", "status", "pointer"),
    [
        ({"colour": "red"}, 422, "/colour"),
        ({"task": "knitting"}, 422, "/task"),
        ({"model": "no spaces"}, 422, "/model"),
        ({"model": "../../etc"}, 422, "/model"),
        ({"network": {"cell": "transformer"}}, 422, "/network/cell"),
        ({"network": {"layers": 0}}, 422, "/network/layers"),
        ({"network": {"hidden_size": "64"}}, 422, "/network/hidden_size"),
        ({"network": {"dropout": 1.0}}, 422, "/network/dropout"),
        ({"network": {"bidirectional": True}}, 422, "/network/bidirectional"),
        ({"network": {"width": 3}}, 422, "/network/width"),
        ({"training": {"epochs": 2.5}}, 422, "/training/epochs"),
        ({"training": {"learning_rate": -1}}, 422, "/training/learning_rate"),
        ({"training": {"device": "tpu"}}, 422, "/training/device"),
        ({"options": {}}, 422, "/options/horizon"),
        ({"options": {"horizon": 0}}, 422, "/options/horizon"),
        ({"options": {"horizon": 6, "quantiles": [0.1, 1.5]}}, 422, "/options/quantiles"),
        ({"options": {"horizon": 6, "magic": 1}}, 422, "/options/magic"),
        ({"options": {"horizon": 500}}, 422, "/options/horizon"),
        ({"options": {"horizon": 6, "past_covariates": ["rain"]}}, 422, "/options/past_covariates"),
        ({"dataset": "ds_none"}, 404, None),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_nothing(
    untouched: Service, change: dict[str, Any], status: int, pointer: str | None
) -> None:
    body = {"task": "forecasting", "dataset": untouched.dataset(), "model": "m", "options": {"horizon": 6}}
    answer = untouched.http.post("/v1/jobs", json=body | change)
    errors = problem(answer, status)["errors"]
    if pointer is not None:
        assert any(error["pointer"].startswith(pointer) for error in errors), errors
    assert untouched.http.get("/v1/jobs").json()["data"] == []


def test_a_body_that_is_not_json_or_too_large_is_refused(untouched: Service) -> None:
    headers = {"content-type": "application/json"}
    problem(untouched.http.post("/v1/jobs", content=b"{not json", headers=headers), 422)
    huge = b'{"task":"' + b"x" * (2 << 20) + b'"}'
    assert untouched.http.post("/v1/jobs", content=huge, headers=headers).status_code == 413


def test_a_poller_gets_304_until_something_changes(on_sqlite: Service) -> None:
    job = on_sqlite.job()
    first = on_sqlite.http.get(f"/v1/jobs/{job}")
    tag = first.headers["etag"]
    assert tag.startswith('"')
    assert first.headers["retry-after"]
    again = on_sqlite.http.get(f"/v1/jobs/{job}", headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    lease = on_sqlite.claim(job)
    on_sqlite.tell(lease, progress={"fraction": 0.2})
    moved = on_sqlite.http.get(f"/v1/jobs/{job}", headers={"If-None-Match": tag})
    assert moved.status_code == 200
    assert moved.headers["etag"] != tag
    assert moved.json()["progress"] == {"fraction": 0.2}


def test_a_long_poll_ends_when_the_job_changes(on_sqlite: Service) -> None:
    job = on_sqlite.job()
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(on_sqlite.http.get, f"/v1/jobs/{job}", headers={"Prefer": "wait=20"})
        until(lambda: bool(on_sqlite.state.follower.watched), what="the poller's wait")
        on_sqlite.claim(job)
        answer = waiting.result(timeout=120)
    assert answer.json()["status"] == "running"
    assert answer.headers["preference-applied"] == "wait=20"


def test_a_long_poll_gives_up_after_its_time(on_sqlite: Service) -> None:
    job = on_sqlite.job()
    tag = on_sqlite.http.get(f"/v1/jobs/{job}").headers["etag"]
    headers = {"Prefer": "wait=1", "If-None-Match": tag}
    assert on_sqlite.http.get(f"/v1/jobs/{job}", headers=headers).status_code == 304


def test_a_finished_job_has_no_retry_after(on_sqlite: Service, tmp_path: Path) -> None:
    job = on_sqlite.job()
    on_sqlite.finish(on_sqlite.claim(job), tmp_path / "artifact")
    answer = on_sqlite.http.get(f"/v1/jobs/{job}", headers={"Prefer": "wait=20"})
    assert "retry-after" not in answer.headers
    done = answer.json()
    assert (done["status"], done["model_version"]) == ("succeeded", 1)
    assert done["progress"]["fraction"] == 1.0
    assert done["finished_at"] >= done["started_at"] >= done["created_at"]


def test_cancelling_a_queued_job_ends_it_and_may_be_repeated(on_sqlite: Service) -> None:
    job = on_sqlite.job()
    for _ in range(3):
        answer = on_sqlite.http.post(f"/v1/jobs/{job}/cancel")
        assert answer.status_code == 202
        assert answer.json()["status"] == "cancelled"
    kinds = [
        event["data"].get("status") for event in on_sqlite.http.get(f"/v1/jobs/{job}/events").json()["data"]
    ]
    assert kinds == ["queued", "cancelled"]


def test_cancelling_a_running_job_asks_its_worker(on_sqlite: Service) -> None:
    job = on_sqlite.job()
    on_sqlite.claim(job)
    for _ in range(2):
        answer = on_sqlite.http.post(f"/v1/jobs/{job}/cancel")
        assert answer.status_code == 202
        assert (answer.json()["status"], answer.json()["cancel_requested"]) == ("running", True)


def test_cancelling_what_has_succeeded_is_a_conflict(on_sqlite: Service, tmp_path: Path) -> None:
    job = on_sqlite.job()
    on_sqlite.finish(on_sqlite.claim(job), tmp_path / "artifact")
    answer = on_sqlite.http.post(f"/v1/jobs/{job}/cancel")
    assert "already succeeded" in problem(answer, 409)["detail"]
    assert answer.headers["x-should-retry"] == "false"


def ordered(running: Service, job: str, order: str) -> dict[str, Any]:
    """The job as the answer to an accepted order shows it, which is also how it reads."""
    answer = running.http.post(f"/v1/jobs/{job}/{order}")
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/v1/jobs/{job}"
    body: dict[str, Any] = answer.json()
    assert running.http.get(answer.headers["location"]).headers["etag"] == answer.headers["etag"]
    assert ("retry-after" in answer.headers) == (body["finished_at"] is None)
    return body


def notified(running: Service, job: str) -> bool:
    with running.state.sessions() as session:
        return queries.get_job(session, job).dispatched_at is not None


def test_a_queued_job_is_paused_at_once_and_resumed_with_a_ring(
    running: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = running.job()
    requested: list[str] = []  # of the dispatcher, which would also find the job on its next round
    notify = running.state.dispatcher.notify

    def noted(one: str) -> None:
        requested.append(one)
        notify(one)

    monkeypatch.setattr(running.state.dispatcher, "notify", noted)
    until(lambda: notified(running, job), what="the first wake-up")
    paused = ordered(running, job, "pause")
    assert (paused["status"], paused["pause_requested"], paused["attempt"]) == ("paused", False, 0)
    assert ordered(running, job, "pause") == paused
    assert requested == []
    resumed = ordered(running, job, "resume")
    assert resumed["status"] == "queued"
    assert requested == [job]
    until(lambda: notified(running, job), what="the wake-up of the resumed job")
    assert ordered(running, job, "resume") == resumed
    message = [event["data"]["status"] for event in running.http.get(f"/v1/jobs/{job}/events").json()["data"]]
    assert message == ["queued", "paused", "queued"]


def test_a_running_job_is_paused_by_its_worker(on_sqlite: Service, tmp_path: Path) -> None:
    job = on_sqlite.job()
    lease = on_sqlite.claim(job)
    requested = ordered(on_sqlite, job, "pause")
    assert (requested["status"], requested["pause_requested"]) == ("running", True)
    assert ordered(on_sqlite, job, "pause") == requested
    taken_back = ordered(on_sqlite, job, "resume")
    assert (taken_back["status"], taken_back["pause_requested"]) == ("running", False)
    ordered(on_sqlite, job, "pause")
    with on_sqlite.state.sessions.begin() as session:
        assert leases.release(session, lease, crashed=False) == "paused"
    paused = on_sqlite.http.get(f"/v1/jobs/{job}").json()
    assert (paused["status"], paused["pause_requested"], paused["finished_at"]) == ("paused", False, None)
    assert ordered(on_sqlite, job, "resume")["status"] == "queued"
    assert on_sqlite.finish(on_sqlite.claim(job), tmp_path / "artifact") == 1


def test_a_long_poll_sees_a_pause(on_sqlite: Service) -> None:
    job = on_sqlite.job()
    tag = on_sqlite.http.get(f"/v1/jobs/{job}").headers["etag"]
    with ThreadPoolExecutor(1) as pool:
        headers = {"If-None-Match": tag, "Prefer": "wait=20"}
        polled = pool.submit(on_sqlite.http.get, f"/v1/jobs/{job}", headers=headers)
        until(lambda: job in on_sqlite.state.follower.watched, what="the poller")
        ordered(on_sqlite, job, "pause")
        assert polled.result().json()["status"] == "paused"


@pytest.mark.parametrize("order", ["pause", "resume"])
@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled"])
def test_what_has_ended_is_neither_paused_nor_resumed(
    on_sqlite: Service, tmp_path: Path, status: str, order: str
) -> None:
    job = on_sqlite.job()
    if status == "cancelled":
        ordered(on_sqlite, job, "cancel")
    elif status == "succeeded":
        on_sqlite.finish(on_sqlite.claim(job), tmp_path / "artifact")
    else:
        with on_sqlite.state.sessions.begin() as session:
            lease = leases.claim(session, job, "w", 60)
            assert lease is not None
            leases.end(session, Lease(job, 1), Status.FAILED, code="diverged", message="NaN")
    tag = on_sqlite.http.get(f"/v1/jobs/{job}").headers["etag"]
    detail = problem(on_sqlite.http.post(f"/v1/jobs/{job}/{order}"), 409)["detail"]
    assert status in detail
    assert on_sqlite.http.get(f"/v1/jobs/{job}").headers["etag"] == tag


def test_a_job_being_cancelled_is_not_paused(on_sqlite: Service) -> None:
    job = on_sqlite.job()
    on_sqlite.claim(job)
    ordered(on_sqlite, job, "cancel")
    assert "cancelled" in problem(on_sqlite.http.post(f"/v1/jobs/{job}/pause"), 409)["detail"]


@pytest.mark.parametrize("order", ["cancel", "pause", "resume"])
def test_unknown_jobs_take_no_orders(untouched: Service, order: str) -> None:
    assert "job_none" in problem(untouched.http.post(f"/v1/jobs/job_none/{order}"), 404)["detail"]


def test_a_paused_job_that_is_cancelled_leaves_no_checkpoints(on_sqlite: Service, tmp_path: Path) -> None:
    job, other = on_sqlite.job(), on_sqlite.job()
    (tmp_path / "weights").write_bytes(b"weights")
    for one in (job, other):
        checkpoints.store(on_sqlite.state.storage, on_sqlite.claim(one), tmp_path / "weights")
        ordered(on_sqlite, one, "pause")
        with on_sqlite.state.sessions.begin() as session:
            leases.release(session, Lease(one, 1), crashed=False)
    assert on_sqlite.state.storage.keys(checkpoints.prefix(job))
    assert ordered(on_sqlite, job, "cancel")["status"] == "cancelled"
    until(
        lambda: not on_sqlite.state.storage.keys(checkpoints.prefix(job)), what="the end of its checkpoints"
    )
    assert on_sqlite.state.storage.keys(checkpoints.prefix(other)), "another's are still wanted"
    assert ordered(on_sqlite, job, "cancel")["status"] == "cancelled"


def test_only_finished_jobs_can_be_deleted(on_sqlite: Service) -> None:
    job = on_sqlite.job()
    problem(on_sqlite.http.delete(f"/v1/jobs/{job}"), 409)
    on_sqlite.http.post(f"/v1/jobs/{job}/cancel")
    assert on_sqlite.http.delete(f"/v1/jobs/{job}").status_code == 204
    problem(on_sqlite.http.get(f"/v1/jobs/{job}"), 404)
    problem(on_sqlite.http.delete(f"/v1/jobs/{job}"), 404)
    problem(on_sqlite.http.get(f"/v1/jobs/{job}/events"), 404)


def test_lists_are_paged_newest_first_and_filtered(running: Service) -> None:
    dataset = running.dataset()
    jobs = [running.job(dataset=dataset, model=f"m{k % 2}") for k in range(5)]
    running.http.post(f"/v1/jobs/{jobs[0]}/cancel")
    observed, cursor = [], None
    for _ in range(3):
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = running.http.get("/v1/jobs", params=query).json()
        observed += [job["id"] for job in page["data"]]
        cursor = page["next_cursor"]
        assert page["has_more"] == (cursor is not None)
    assert observed == sorted(jobs, reverse=True)
    result = running.http.get("/v1/jobs", params={"status": "cancelled"}).json()["data"]
    assert [job["id"] for job in result] == [jobs[0]]
    result = running.http.get("/v1/jobs", params={"model": "m1", "task": "forecasting"}).json()["data"]
    assert {job["id"] for job in result} == {jobs[1], jobs[3]}


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 201}, {"cursor": "%%%"}, {"status": "bored"}])
def test_bad_list_queries_are_refused(untouched: Service, query: dict[str, Any]) -> None:
    problem(untouched.http.get("/v1/jobs", params=query), 422)


def test_events_are_a_page_of_json(on_sqlite: Service) -> None:
    job = on_sqlite.job()
    lease = on_sqlite.claim(job)
    on_sqlite.tell(lease, events=[("epoch", {"epoch": k}) for k in range(1, 6)])
    page = on_sqlite.http.get(f"/v1/jobs/{job}/events", params={"after": 2, "limit": 3}).json()
    assert [event["seq"] for event in page["data"]] == [3, 4, 5]
    assert [event["type"] for event in page["data"]] == ["epoch"] * 3
    assert (page["has_more"], page["next_cursor"]) == (True, "5")
    rest = on_sqlite.http.get(f"/v1/jobs/{job}/events", params={"after": page["next_cursor"]}).json()
    assert on_sqlite.http.get(f"/v1/jobs/{job}/events", params={"cursor": page["next_cursor"]}).json() == rest
    assert [event["seq"] for event in rest["data"]] == [6, 7]
    assert not rest["has_more"]


def read_stream(text: str) -> list[int]:
    return [int(line.removeprefix("id: ")) for line in text.splitlines() if line.startswith("id: ")]


def test_an_event_stream_follows_the_job_and_ends_with_it(running: Service, tmp_path: Path) -> None:
    job = running.job()
    accept = {"Accept": "text/event-stream"}
    with ThreadPoolExecutor() as pool:
        stream = pool.submit(running.http.get, f"/v1/jobs/{job}/events", headers=accept)
        until(lambda: bool(running.state.follower.watched), what="the stream's wait")
        lease = running.claim(job)
        running.tell(lease, events=[("epoch", {"epoch": 1, "train_loss": 0.5})])
        running.finish(lease, tmp_path / "artifact")
        answer = stream.result(timeout=120)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-cache"
    assert read_stream(answer.text) == [1, 2, 3, 4]
    assert 'event: epoch\ndata: {"seq":3' in answer.text
    resumed = running.http.get(f"/v1/jobs/{job}/events", headers=accept | {"Last-Event-ID": "2"})
    assert read_stream(resumed.text) == [3, 4]


def test_metrics_are_the_curves_of_all_attempts_without_what_was_trained_twice(running: Service) -> None:
    job = running.job()
    assert running.http.get(f"/v1/jobs/{job}/metrics").json() == {"epochs": []}
    first = running.claim(job)
    running.tell(first, events=[("epoch", {"epoch": k, "train_loss": 9.0 - k}) for k in (1, 2)])
    with running.state.sessions.begin() as session:
        leases.release(session, first, crashed=True)
    running.tell(
        running.claim(job),
        events=[("epoch", {"epoch": 2, "train_loss": 3.0}), ("epoch", {"epoch": 3, "train_loss": 2.0})],
    )
    curves = running.http.get(f"/v1/jobs/{job}/metrics").json()["epochs"]
    assert [epoch["train_loss"] for epoch in curves] == [8.0, 3.0, 2.0]
    problem(running.http.get("/v1/jobs/job_none/metrics"), 404)


def test_a_keyed_request_makes_one_job(on_sqlite: Service) -> None:
    dataset = on_sqlite.dataset()
    body = {"task": "forecasting", "dataset": dataset, "model": "m", "options": {"horizon": 6}}
    headers = {"Idempotency-Key": "k-1"}
    first = on_sqlite.http.post("/v1/jobs", json=body, headers=headers)
    again = on_sqlite.http.post("/v1/jobs", json=body, headers=headers)
    assert first.status_code == again.status_code == 202
    assert first.json() == again.json()
    assert again.headers["location"] == first.headers["location"]
    other = on_sqlite.http.post("/v1/jobs", json=body | {"model": "other"}, headers=headers)
    assert problem(other, 422)["errors"][0]["pointer"] == "/header/Idempotency-Key"
    assert len(on_sqlite.http.get("/v1/jobs").json()["data"]) == 1


def test_a_keyed_request_that_failed_may_be_mended(on_sqlite: Service) -> None:
    dataset = on_sqlite.dataset()
    body = {"task": "forecasting", "dataset": dataset, "model": "m", "options": {"horizon": 999}}
    headers = {"Idempotency-Key": "k-2"}
    problem(on_sqlite.http.post("/v1/jobs", json=body, headers=headers), 422)
    body["options"] = {"horizon": 6}
    assert on_sqlite.http.post("/v1/jobs", json=body, headers=headers).status_code == 202


def test_the_same_key_from_many_threads_makes_one_job(running: Service) -> None:
    dataset = running.dataset()
    body = {"task": "forecasting", "dataset": dataset, "model": "m", "options": {"horizon": 6}}
    barrier = threading.Barrier(8)

    def post() -> int:
        barrier.wait()
        return running.http.post("/v1/jobs", json=body, headers={"Idempotency-Key": "k-3"}).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = [future.result() for future in [pool.submit(post) for _ in range(8)]]
    assert set(statuses) <= {202, 409}
    assert 202 in statuses
    assert len(running.http.get("/v1/jobs").json()["data"]) == 1


def test_a_model_belongs_to_one_task_and_a_data_set_too(on_sqlite: Service, tmp_path: Path) -> None:
    on_sqlite.version(tmp_path / "artifact", model="taken")
    with on_sqlite.state.sessions.begin() as session:
        session.connection().exec_driver_sql("update models set task = 'tagging'")
    pointers = [error["pointer"] for error in problem(on_sqlite.submit(model="taken"), 422)["errors"]]
    assert pointers == ["/model"]
    dataset = on_sqlite.dataset()
    with on_sqlite.state.sessions.begin() as session:
        session.connection().exec_driver_sql("update datasets set task = 'tagging'")
    assert problem(on_sqlite.submit(dataset), 422)["errors"][0]["pointer"] == "/dataset"


def test_a_short_series_cannot_have_a_long_horizon(untouched: Service) -> None:
    dataset = untouched.upload(monthly(series=1, months=20)).json()["id"]
    error = problem(untouched.submit(dataset, options={"horizon": 12}), 422)["errors"][0]
    assert error["pointer"] == "/options/horizon"
    assert "20" in error["detail"]


def test_a_key_may_be_quoted_or_bare(on_sqlite: Service) -> None:
    body = {"task": "forecasting", "dataset": on_sqlite.dataset(), "model": "m", "options": {"horizon": 6}}
    answers = [
        on_sqlite.http.post("/v1/jobs", json=body, headers={"Idempotency-Key": key})
        for key in ("k-9", '"k-9"')
    ]
    assert answers[0].json() == answers[1].json()
    problem(on_sqlite.http.post("/v1/jobs", json=body, headers={"Idempotency-Key": ""}), 422)
    problem(on_sqlite.http.post("/v1/jobs", json=body, headers={"Idempotency-Key": "x" * 256}), 422)


@pytest.mark.parametrize(
    ("fields", "pointer", "detail"),
    [
        ({"horizon": 6}, "/horizon", "unknown field here: horizon belongs in `options`"),
        ({"epochs": 6}, "/epochs", "unknown field here: epochs belongs in `training`"),
        ({"network": {"epochs": 6}}, "/network/epochs", "unknown field here: epochs belongs in `training`"),
        ({"training": {"epoch": 6}}, "/training/epoch", "unknown field epoch; did you mean epochs?"),
        (
            {"network": {"hiddenSize": 6}},
            "/network/hiddenSize",
            "unknown field hiddenSize; did you mean hidden_size?",
        ),
        (
            {"options": {"horizn": 6, "horizon": 6}},
            "/options/horizn",
            "unknown field horizn; did you mean horizon?",
        ),
        (
            {"options": {"class_weights": "none", "horizon": 6}},
            "/options/class_weights",
            "unknown field here: class_weights belongs in `options` of classification",
        ),
        ({"name": "x"}, "/name", "unknown field name; there are task, dataset, model"),
        ({"task": "forecast"}, "/task", "unknown task forecast; did you mean forecasting?"),
        (
            {"metadata": {"a": {"b": [1]}}},
            "/metadata/a",
            "Input should be one of: string, integer, number, boolean",
        ),
    ],
)
def test_a_mistake_is_told_with_what_to_write_instead(
    untouched: Service, fields: Json, pointer: str, detail: str
) -> None:
    refused = problem(untouched.submit(**fields), 422)
    (error,) = refused["errors"]
    assert error["pointer"] == pointer
    assert error["detail"].startswith(detail)
    assert f"{pointer}: {detail}" in refused["detail"]


def test_the_detail_has_the_place_of_what_does_not_fit(untouched: Service) -> None:
    detail = problem(untouched.submit(options={}), 422)["detail"]
    assert detail == "The options do not fit the task: /options/horizon: Field required"
    detail = problem(untouched.submit(options={"horizon": 500}), 422)["detail"]
    assert detail.startswith("This job cannot be trained: /options/horizon: ")


def write_log(running: Service, lease: Lease, *messages: str) -> None:
    with running.state.sessions.begin() as session:
        lines = [LogLine(1_769_851_800.0 + index, "info", message) for index, message in enumerate(messages)]
        leases.renew(session, lease, 60, None, None, [], lines)


def test_a_log_is_a_page_of_json_or_text(running: Service) -> None:
    job = running.job()
    assert running.http.get(f"/v1/jobs/{job}/logs").json()["data"] == []
    lease = running.claim(job)
    write_log(running, lease, "first", "second")
    write_log(running, lease, "third")
    page = running.http.get(f"/v1/jobs/{job}/logs", params={"limit": 2}).json()
    assert page["data"][0] == {
        "seq": 1, "attempt": 1, "at": "2026-01-31T09:30:00.000Z", "level": "info", "message": "first",
    }  # fmt: skip
    assert (page["has_more"], page["next_cursor"]) == (True, "2")
    rest = running.http.get(f"/v1/jobs/{job}/logs", params={"after": page["next_cursor"]}).json()
    assert [line["message"] for line in rest["data"]] == ["third"]
    text = running.http.get(f"/v1/jobs/{job}/logs", headers={"Accept": "text/plain"})
    assert text.headers["content-type"] == "text/plain; charset=utf-8"
    assert text.text.splitlines()[1] == "2026-01-31T09:30:01.000Z INFO     second"
    problem(running.http.get("/v1/jobs/job_none/logs"), 404)


def test_a_log_keeps_its_newest_lines_and_goes_with_its_job(
    running: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(leases, "MAX_LOG_LINES", 3)
    job = running.job()
    lease = running.claim(job)
    for number in range(5):
        write_log(running, lease, f"line {number}")
    kept = running.http.get(f"/v1/jobs/{job}/logs").json()["data"]
    assert [(line["seq"], line["message"]) for line in kept] == [(3, "line 2"), (4, "line 3"), (5, "line 4")]
    running.finish(lease, tmp_path / "artifact")
    assert running.http.delete(f"/v1/jobs/{job}").status_code == 204
    with running.state.readers() as session:
        assert queries.list_log_lines(session, job, 0, 10) == []


def test_a_worker_without_the_lease_writes_no_log(on_sqlite: Service) -> None:
    job = on_sqlite.job()
    first = on_sqlite.claim(job)
    with on_sqlite.state.sessions.begin() as session:
        leases.release(session, first, crashed=True)
    on_sqlite.claim(job)
    write_log(on_sqlite, first, "too late")
    assert on_sqlite.http.get(f"/v1/jobs/{job}/logs").json()["data"] == []


def test_a_stream_of_the_log_follows_the_job_and_ends_with_it(running: Service, tmp_path: Path) -> None:
    job = running.job()
    accept = {"Accept": "text/event-stream"}
    with ThreadPoolExecutor() as pool:
        stream = pool.submit(running.http.get, f"/v1/jobs/{job}/logs", headers=accept)
        until(lambda: bool(running.state.follower.watched), what="the stream's wait")
        lease = running.claim(job)
        write_log(running, lease, "first", "second")
        running.finish(lease, tmp_path / "artifact")
        answer = stream.result(timeout=120)
    assert read_stream(answer.text) == [1, 2]
    assert 'event: line\ndata: {"seq":2' in answer.text
    resumed = running.http.get(f"/v1/jobs/{job}/logs", headers=accept | {"Last-Event-ID": "1"})
    assert read_stream(resumed.text) == [2]
