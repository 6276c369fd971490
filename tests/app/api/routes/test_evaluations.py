"""Evaluations and guards over HTTP, with the worker played by the test."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from app.services.jobs import batch_predictions, leases
from app.typedefs import Json
from tests.app.api.routes.test_batches import published
from tests.support.fixtures.service import Service, problem

PATH = "/v1/models/demand/evaluations"
ALIAS = "/v1/models/demand/aliases/production"
LINES = b'{"example":0,"window":0,"version":1}\n{"example":0,"window":0,"version":2}\n'


def metrics(value: float, low: float, high: float) -> Json:
    figures = {"value": value, "low": low, "high": high}
    versions = {
        name: {"smape": {"value": one, "low": None, "high": None}}
        for name, one in zip("12", (9.0, 9.0 + value), strict=True)
    }
    return {
        "examples": 3, "failed": 0, "higher_is_better": {"smape": False}, "versions": versions,
        "baselines": {},
        "differences": [{"of": "2", "minus": "1", "metrics": {"smape": figures}}],
    }  # fmt: skip


@pytest.fixture
def two(on_sqlite: Service, tmp_path: Path) -> Service:
    assert [published(on_sqlite, tmp_path / name) for name in ("one", "two")] == [1, 2]
    return on_sqlite


def submit(service: Service, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
    request = {"dataset": service.dataset()} | body
    return service.http.post(PATH, json=request, headers=headers)


def finish(service: Service, job_id: str, directory: Path, outcome: Json) -> None:
    lease = service.claim(job_id)
    (directory / "part").write_bytes(LINES)
    service.state.storage.put(batch_predictions.part_key(job_id, 0, 0), directory / "part")
    with service.state.sessions.begin() as session:
        assert leases.complete(session, lease, outcome)


def test_an_evaluation_is_a_job_like_others(two: Service, tmp_path: Path) -> None:
    answer = submit(two, versions=[1, 2], windows=2)
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["kind"], job["status"], job["model"], job["model_version"]) == (
        "evaluate", "queued", "demand", None,
    )  # fmt: skip
    assert job["options"]["baselines"] == ["seasonal_naive"]
    assert two.http.get(f"/v1/jobs/{job['id']}/result").status_code == 409
    for verb, status in (("pause", "paused"), ("resume", "queued")):
        assert two.http.post(f"/v1/jobs/{job['id']}/{verb}").json()["status"] == status
    finish(two, job["id"], tmp_path, metrics(0.0, -1.0, 1.0))
    assert two.http.get(f"/v1/jobs/{job['id']}/result").content == LINES
    assert two.http.get("/v1/jobs?kind=evaluate").json()["data"][0]["metrics"]["examples"] == 3


def test_the_default_is_the_version_in_production(two: Service) -> None:
    assert submit(two).json()["options"]["versions"] == [1]
    two.http.put(ALIAS, json={"version": 2}).raise_for_status()
    assert submit(two).json()["options"]["versions"] == [2]


def test_the_same_key_makes_one_evaluation(two: Service) -> None:
    body, headers = {"dataset": two.dataset(), "versions": [1]}, {"Idempotency-Key": "k1"}
    first, again = (two.http.post(PATH, json=body, headers=headers) for _ in range(2))
    assert first.json()["id"] == again.json()["id"]
    assert two.http.post(PATH, json=body | {"windows": 2}, headers=headers).status_code == 422


def test_evaluations_are_paged_by_version(two: Service) -> None:
    ids = [submit(two, versions=versions).json()["id"] for versions in ([1], [1, 2], [1])]
    path = "/v1/models/demand/versions/1/evaluations"
    page = two.http.get(path, params={"limit": 2}).json()
    assert ([job["id"] for job in page["data"]], page["has_more"]) == (ids[:0:-1], True)
    rest = two.http.get(path, params={"limit": 2, "cursor": page["next_cursor"]}).json()
    assert ([job["id"] for job in rest["data"]], rest["next_cursor"]) == (ids[:1], None)
    listed = two.http.get("/v1/models/demand/versions/2/evaluations").json()["data"]
    assert [job["id"] for job in listed] == [ids[1]]
    assert two.http.get("/v1/models/demand/versions/9/evaluations").status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "at"),
    [
        ({"versions": [1, 7]}, 404, "/versions/1"),
        ({"dataset": "ds_none"}, 404, None),
        ({"windows": 0}, 422, "/windows"),
        ({"window": 3}, 422, "/window"),
        ({"windows": 90}, 422, "/windows"),
        ({"baselines": ["arima"]}, 422, "/baselines/0"),
        ({"parameters": {"horizon": 99}}, 422, "/parameters/horizon"),
        ({"windows": 30, "step": 1, "refit": True}, 422, "/windows"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(two: Service, body: Json, status: int, at: str | None) -> None:
    found = problem(submit(two, **body), status)
    assert [one["pointer"] for one in found["errors"]] == ([] if at is None else [at])
    assert two.http.get("/v1/jobs?kind=evaluate").json()["data"] == []


def test_a_guard_keeps_an_alias_or_lets_it_move(two: Service, tmp_path: Path) -> None:
    worse, equal = (submit(two, versions=[1, 2]).json()["id"] for _ in range(2))
    pending = submit(two, versions=[1, 2]).json()["id"]
    finish(two, worse, tmp_path, metrics(2.0, 1.0, 3.0))
    finish(two, equal, tmp_path, metrics(0.5, -1.0, 2.0))

    def move(job_id: str, metric: str = "smape") -> httpx.Response:
        guard = {"evaluation": job_id, "metric": metric}
        return two.http.put(ALIAS, json={"version": 2, "guard": guard})

    refused = problem(move(worse), 409)
    assert refused["errors"][0]["pointer"] == "/guard/metric"
    assert "version 2 has smape 11.0, version 1 has 9.0" in refused["detail"]
    assert problem(move(pending), 409)["errors"][0]["pointer"] == "/guard/evaluation"
    assert problem(move("job_none"), 404)["errors"][0]["pointer"] == "/guard/evaluation"
    assert problem(move(equal, "wer"), 422)["errors"][0]["pointer"] == "/guard/metric"
    assert problem(two.http.put(ALIAS, json={"version": 2, "guard": {"metric": "smape"}}), 422)
    assert two.http.get(ALIAS).json()["version"] == 1
    assert move(equal).json()["version"] == 2
