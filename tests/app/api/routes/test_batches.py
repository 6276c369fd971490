"""Batch predictions over HTTP, with the worker played by the test."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from app.infrastructure.artifacts import digest_stored
from app.services.jobs import batch_predictions, leases
from app.services.jobs.leases import Lease
from app.services.models.versions import TrainingOutcome
from app.typedefs import Json
from tests.support.factories.batches import version as artifact
from tests.support.factories.series import series_set, waves
from tests.support.fixtures.servers import until
from tests.support.fixtures.service import Service, problem

PARTS = [(0, 0, b'{"index":0}\n{"index":1}\n'), (1, 1, b'{"index":2,"error":{}}\n')]
WHOLE = b"".join(content for _, _, content in PARTS)


def published(service: Service, directory: Path, model: str = "demand") -> int:
    """A version that forecasts monthly series four steps ahead."""
    lease = service.claim(service.job(model=model))
    prefix = f"artifacts/{lease.job_id}/{lease.attempt}"
    artifact(directory, series_set(waves(4, 60, season=12), "MS"))
    for path in directory.iterdir():
        service.state.storage.put(f"{prefix}/{path.name}", path)
    sha256 = digest_stored(service.state.storage, prefix)
    with service.state.sessions.begin() as session:
        number = leases.succeed(session, lease, TrainingOutcome(prefix, 1, 2, sha256, {}, {}))
    assert number is not None
    return number


def submit(service: Service, query: str = "", **body: Any) -> httpx.Response:
    path = f"/v1/models/demand/batch-predictions{query}"
    return service.http.post(path, json={"dataset": service.dataset()} | body)


def store(service: Service, job_id: str, directory: Path) -> None:
    for part, missed, content in PARTS:
        (directory / "part").write_bytes(content)
        service.state.storage.put(batch_predictions.part_key(job_id, part, missed), directory / "part")


def finish(service: Service, lease: Lease, directory: Path) -> None:
    store(service, lease.job_id, directory)
    with service.state.sessions.begin() as session:
        assert leases.complete(session, lease, {"instances": 3, "failed": 1})


def finished(service: Service, directory: Path) -> str:
    """The job of a batch that has its result."""
    published(service, directory / "v1")
    job_id = str(submit(service).json()["id"])
    finish(service, service.claim(job_id), directory)
    return job_id


@pytest.fixture(scope="module")
def archive(untouched: Service) -> Service:
    """A service with a version and the result of a batch, for requests that change nothing."""
    finished(untouched, untouched.settings.data_dir)
    return untouched


@pytest.fixture
def archived(archive: Service) -> str:
    """The job of that batch."""
    (job,) = (job for job in archive.http.get("/v1/jobs").json()["data"] if job["kind"] == "batch_predict")
    return str(job["id"])


def test_a_submitted_batch_is_a_job_like_others(running: Service, tmp_path: Path) -> None:
    published(running, tmp_path / "v1")
    answer = submit(running, parameters={"horizon": 2})
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["etag"]
    assert (job["object"], job["kind"], job["status"]) == ("job", "batch_predict", "queued")
    assert (job["task"], job["model"], job["model_version"]) == ("forecasting", "demand", 1)
    assert job["options"] == {"parameters": {"horizon": 2}}
    assert (job["training"], job["metadata"], job["progress"]) == ({}, {}, None)
    assert running.http.get(answer.headers["location"]).json() == job
    newest = running.http.get("/v1/jobs?model=demand").json()["data"][0]
    assert newest == job
    events = running.http.get(f"/v1/jobs/{job['id']}/events").json()["data"]
    assert [event["data"] for event in events] == [{"status": "queued"}]
    assert running.http.get(f"/v1/jobs/{job['id']}/metrics").json() == {"epochs": []}


def test_the_version_is_the_one_that_is_named_when_it_is_submitted(
    on_sqlite: Service, tmp_path: Path
) -> None:
    for number in (1, 2):
        assert published(on_sqlite, tmp_path / f"v{number}") == number
    on_sqlite.http.put("/v1/models/demand/aliases/next", json={"version": 2}).raise_for_status()
    assert submit(on_sqlite).json()["model_version"] == 1
    assert submit(on_sqlite, "?version=2").json()["model_version"] == 2
    by_alias = submit(on_sqlite, "?alias=next").json()
    on_sqlite.http.put("/v1/models/demand/aliases/next", json={"version": 1}).raise_for_status()
    again = on_sqlite.http.get(f"/v1/jobs/{by_alias['id']}").json()
    assert (by_alias["model_version"], again["model_version"]) == (2, 2)


@pytest.mark.parametrize(
    ("query", "change", "status", "pointer"),
    [
        ("", {"parameters": {"horizon": 5}}, 422, "/parameters/horizon"),
        ("", {"parameters": {"horizon": "2"}}, 422, "/parameters/horizon"),
        ("", {"parameters": {"quantiles": [2]}}, 422, "/parameters/quantiles/0"),
        ("", {"parameters": {"magic": 1}}, 422, "/parameters"),
        ("", {"parameters": [1]}, 422, "/parameters"),
        ("", {"colour": "red"}, 422, "/colour"),
        ("", {"dataset": 7}, 422, "/dataset"),
        ("", {"dataset": "ds_none"}, 404, None),
        ("?version=7", {}, 404, None),
        ("?version=0", {}, 422, "/query/version"),
        ("?alias=none", {}, 404, None),
        ("?version=1&alias=production", {}, 422, "/query/alias"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_nothing(
    archive: Service, query: str, change: Json, status: int, pointer: str | None
) -> None:
    before = archive.http.get("/v1/jobs").json()
    errors = problem(submit(archive, query, **change), status)["errors"]
    assert [error["pointer"] for error in errors] == ([] if pointer is None else [pointer])
    assert archive.http.get("/v1/jobs").json() == before


def test_a_model_nobody_has_and_a_body_too_large_are_refused(on_sqlite: Service) -> None:
    problem(submit(on_sqlite), 404)
    huge = {"dataset": "x", "parameters": {"a": "x" * (2 << 20)}}
    answer = on_sqlite.http.post("/v1/models/demand/batch-predictions", json=huge)
    assert answer.status_code == 413


def test_another_frequency_than_the_models_is_refused(on_sqlite: Service, tmp_path: Path) -> None:
    published(on_sqlite, tmp_path / "v1")
    rows = "\n".join(f"2024-01-{day:02d},{day}" for day in range(1, 29))
    daily = on_sqlite.upload(b"ds,y\n" + rows.encode()).json()["id"]
    (error,) = problem(submit(on_sqlite, dataset=daily), 422)["errors"]
    assert error["pointer"] == "/dataset"
    assert "frequency D" in error["detail"]


def test_a_key_makes_a_repeated_submit_harmless(running: Service, tmp_path: Path) -> None:
    published(running, tmp_path / "v1")
    body = {"dataset": running.dataset()}
    path, headers = "/v1/models/demand/batch-predictions", {"Idempotency-Key": "k1"}
    first, again = (running.http.post(path, json=body, headers=headers) for _ in range(2))
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    for changed, query in ((body | {"parameters": {"horizon": 1}}, ""), (body, "?version=1")):
        answer = running.http.post(path + query, json=changed, headers=headers)
        (error,) = problem(answer, 422)["errors"]
        assert error["pointer"] == "/header/Idempotency-Key"
    failed = {"Idempotency-Key": "k2"}
    problem(running.http.post(path, json={"dataset": "ds_none"}, headers=failed), 404)
    assert running.http.post(path, json=body, headers=failed).status_code == 202


def test_the_result_is_the_parts_in_order_as_one_file(archive: Service, archived: str) -> None:
    answer = archive.http.get(f"/v1/jobs/{archived}/result")
    assert (answer.status_code, answer.content) == (200, WHOLE)
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.headers["content-length"] == str(len(WHOLE))
    assert answer.headers["content-disposition"] == f'attachment; filename="{archived}.jsonl"'
    job = archive.http.get(f"/v1/jobs/{archived}").json()
    assert (job["status"], job["metrics"]) == ("succeeded", {"instances": 3, "failed": 1})


def test_a_result_one_has_is_not_sent_again(archive: Service, archived: str) -> None:
    path = f"/v1/jobs/{archived}/result"
    tag = archive.http.get(path).headers["etag"]
    assert tag.startswith('"')
    for known in (tag, f'"other", {tag}', "*"):
        answer = archive.http.get(path, headers={"If-None-Match": known})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
    assert archive.http.get(path, headers={"If-None-Match": '"other"'}).content == WHOLE


@pytest.mark.parametrize(
    ("requested", "first", "last"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=5-30", 5, 31),
        ("bytes=24-", 24, len(WHOLE)),
        ("bytes=-7", len(WHOLE) - 7, len(WHOLE)),
        ("bytes=-9999", 0, len(WHOLE)),
        ("bytes=3-9999", 3, len(WHOLE)),
    ],
)
def test_a_broken_download_goes_on_where_it_ended(
    archive: Service, archived: str, requested: str, first: int, last: int
) -> None:
    path = f"/v1/jobs/{archived}/result"
    tag = archive.http.get(path).headers["etag"]
    answer = archive.http.get(path, headers={"Range": requested, "If-Range": tag})
    assert (answer.status_code, answer.content) == (206, WHOLE[first:last])
    assert answer.headers["content-range"] == f"bytes {first}-{last - 1}/{len(WHOLE)}"
    assert answer.headers["content-length"] == str(last - first)
    changed = archive.http.get(path, headers={"Range": requested, "If-Range": '"other"'})
    assert (changed.status_code, changed.content) == (200, WHOLE)


@pytest.mark.parametrize(
    "requested", ["lines=0-1", "bytes=0-1,3-4", "bytes=", "bytes=-", "bytes=x-", "bytes=9-2"]
)
def test_a_range_we_do_not_know_is_the_whole(archive: Service, archived: str, requested: str) -> None:
    answer = archive.http.get(f"/v1/jobs/{archived}/result", headers={"Range": requested})
    assert (answer.status_code, answer.content) == (200, WHOLE)


@pytest.mark.parametrize("requested", ["bytes=9999-", "bytes=-0"])
def test_a_range_beyond_the_end_is_refused(archive: Service, archived: str, requested: str) -> None:
    answer = archive.http.get(f"/v1/jobs/{archived}/result", headers={"Range": requested})
    problem(answer, 416)
    assert answer.headers["content-range"] == f"bytes */{len(WHOLE)}"


def test_before_its_end_a_job_has_no_result(on_sqlite: Service, tmp_path: Path) -> None:
    published(on_sqlite, tmp_path / "v1")
    job_id = submit(on_sqlite).json()["id"]
    path = f"/v1/jobs/{job_id}/result"
    problem(on_sqlite.http.get(path), 409)
    lease = on_sqlite.claim(job_id)
    store(on_sqlite, job_id, tmp_path)
    problem(on_sqlite.http.get(path), 409)
    finish(on_sqlite, lease, tmp_path)
    assert on_sqlite.http.get(path).content == WHOLE


def test_only_a_batch_has_a_result(on_sqlite: Service) -> None:
    problem(on_sqlite.http.get("/v1/jobs/job_none/result"), 404)
    problem(on_sqlite.http.get(f"/v1/jobs/{on_sqlite.job()}/result"), 404)


def stored(service: Service, job_id: str) -> list[str]:
    return service.state.storage.keys(batch_predictions.results_prefix(job_id))


def test_deleting_the_job_deletes_its_result(on_sqlite: Service, tmp_path: Path) -> None:
    job_id = finished(on_sqlite, tmp_path)
    assert len(stored(on_sqlite, job_id)) == 2
    assert on_sqlite.http.delete(f"/v1/jobs/{job_id}").status_code == 204
    until(lambda: stored(on_sqlite, job_id) == [], what="the end of the files")
    problem(on_sqlite.http.get(f"/v1/jobs/{job_id}/result"), 404)


def test_cancelling_what_waits_deletes_what_was_done_of_it(on_sqlite: Service, tmp_path: Path) -> None:
    published(on_sqlite, tmp_path / "v1")
    job_id = submit(on_sqlite).json()["id"]
    lease = on_sqlite.claim(job_id)
    store(on_sqlite, job_id, tmp_path)
    with on_sqlite.state.sessions.begin() as session:
        leases.release(session, lease, crashed=False)
    assert on_sqlite.http.post(f"/v1/jobs/{job_id}/cancel").json()["status"] == "cancelled"
    until(lambda: stored(on_sqlite, job_id) == [], what="the end of the files")


def test_a_live_batch_keeps_version_and_data_set(on_sqlite: Service, tmp_path: Path) -> None:
    for number in (1, 2):
        published(on_sqlite, tmp_path / f"v{number}")
    job = submit(on_sqlite, "?version=2").json()
    problem(on_sqlite.http.delete("/v1/models/demand/versions/2"), 409)
    problem(on_sqlite.http.delete(f"/v1/datasets/{job['dataset']}"), 409)
    on_sqlite.http.post(f"/v1/jobs/{job['id']}/cancel").raise_for_status()
    assert on_sqlite.http.delete("/v1/models/demand/versions/2").status_code == 204
    assert on_sqlite.http.delete(f"/v1/datasets/{job['dataset']}").status_code == 204


NASTY = [
    b'{"dataset": "ds\\u0000", "parameters": {}}',
    b'{"dataset": "\\ud800"}',
    b'{"dataset": "ds_1", "parameters": {"\\ud800": 1}}',
    b'{"dataset": "%s", "parameters": {"horizon": 1%s}}' % (b"x" * 60_000, b"0" * 400),
    b'{"dataset": "ds_1", "parameters": {"quantiles": [NaN]}}',
    b'{"dataset": "ds_1", "parameters": {"quantiles": [1e999]}}',
    b'{"dataset": "ds_1", "parameters": ' + b'{"a":' * 200 + b"1" + b"}" * 201,
    b"[]",
    b"null",
    b"",
    b"{",
]


def test_no_body_makes_the_service_stumble(running: Service, tmp_path: Path) -> None:
    published(running, tmp_path / "v1")
    dataset = running.dataset().encode()
    headers = {"content-type": "application/json", "Idempotency-Key": "nasty"}
    for body in NASTY:
        content = body.replace(b"ds_1", dataset)
        answer = running.http.post("/v1/models/demand/batch-predictions", content=content, headers=headers)
        assert answer.status_code in {404, 422}, (body, answer.text)
        problem(answer, answer.status_code)
    assert all(job["kind"] == "train" for job in running.http.get("/v1/jobs").json()["data"])


def test_no_name_of_a_model_makes_the_service_stumble(running: Service) -> None:
    body = {"dataset": running.dataset()}
    for name in ("a%00b", "%F0%9F%92%A9", "..%2f..", "x" * 3000, "%ED%A0%80", "%27"):
        answer = running.http.post(f"/v1/models/{name}/batch-predictions", json=body)
        assert answer.status_code in {404, 422}, (name, answer.text)
