"""Webhooks over HTTP: made with a secret that is shown once, and told of what happens to jobs and models."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fakes.receiver import Receiver, receiver
from tests.support.fixtures.servers import Valkey, until
from tests.support.fixtures.service import Service, problem, service


@pytest.fixture
def target() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


@pytest.fixture
def hooked(database_url: str, redis_server: Valkey, tmp_path: Path, target: Receiver) -> Iterator[Service]:
    with service(tmp_path, database_url, redis_server.url, webhook_hosts=target.host) as made:
        yield made


def test_a_webhook_is_made_listed_and_deleted(hooked: Service, target: Receiver) -> None:
    request = {"url": target.url, "events": ["job.succeeded"], "description": "the team's channel"}
    answer = hooked.http.post("/v1/webhooks", json=request, headers={"Idempotency-Key": "one"})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert made["secret"].startswith("whsec_")
    assert answer.headers["location"] == f"/v1/webhooks/{made['id']}"
    again = hooked.http.post("/v1/webhooks", json=request, headers={"Idempotency-Key": "one"})
    assert again.json() == made | {"secret": None}
    shown = {name: value for name, value in made.items() if name != "secret"}
    assert hooked.http.get("/v1/webhooks").json()["data"] == [shown]
    assert hooked.http.get(answer.headers["location"]).json() == shown
    assert hooked.http.delete(answer.headers["location"]).status_code == 204
    problem(hooked.http.get(answer.headers["location"]), 404)
    problem(hooked.http.delete(answer.headers["location"]), 404)


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"url": "https://example.com/"}, "/url"),
        ({"url": "http://169.254.169.254/"}, "/url"),
        ({"url": 3}, "/url"),
        ({"events": []}, "/events"),
        ({"events": ["job.exploded"]}, "/events/0"),
        ({"secret": "mine"}, "/secret"),
        ({"description": "x" * 256}, "/description"),
    ],
)
def test_what_is_no_webhook_is_refused(
    hooked: Service, target: Receiver, change: dict[str, object], pointer: str
) -> None:
    answer = hooked.http.post("/v1/webhooks", json={"url": target.url, "events": ["job.failed"], **change})
    assert problem(answer, 422)["errors"][0]["pointer"] == pointer
    assert hooked.http.get("/v1/webhooks").json()["data"] == []


def test_webhooks_are_off_unless_the_operator_names_hosts(on_sqlite: Service) -> None:
    request = {"url": "https://hooks.example.com/", "events": ["job.failed"]}
    answer = problem(on_sqlite.http.post("/v1/webhooks", json=request), 422)
    assert "RECURRA_WEBHOOK_HOSTS" in answer["errors"][0]["detail"]


def test_a_job_s_way_is_delivered_with_its_version_and_the_alias(
    hooked: Service, target: Receiver, tmp_path: Path
) -> None:
    events = ["job.running", "job.succeeded", "job.cancelled", "model.version.created", "model.alias.moved"]
    hooked.http.post("/v1/webhooks", json={"url": target.url, "events": events}).raise_for_status()
    job = hooked.job(metadata={"team": "ops"})
    hooked.finish(hooked.claim(job), tmp_path / "artifact")
    hooked.http.put("/v1/models/demand/aliases/canary", json={"version": 1}).raise_for_status()
    hooked.http.post(f"/v1/jobs/{hooked.job()}/cancel").raise_for_status()
    until(lambda: len(target.requests) == 5, what="five deliveries")
    bodies = [json.loads(body) for _, _, body in target.requests]
    kinds = {body["type"]: body["data"] for body in bodies}
    assert kinds.keys() == set(events)
    ended = kinds["job.succeeded"]
    assert (ended["id"], ended["model_version"], ended["metadata"]) == (job, 1, {"team": "ops"})
    assert kinds["model.version.created"]["metrics"] == {"smape": 9.0}
    assert kinds["model.alias.moved"]["versions"] == {"1": 1.0}


def test_a_test_delivery_and_the_list_of_deliveries(hooked: Service, target: Receiver) -> None:
    request = {"url": target.url, "events": ["job.failed"]}
    made = hooked.http.post("/v1/webhooks", json=request).json()
    answer = hooked.http.post(f"/v1/webhooks/{made['id']}/test")
    assert answer.status_code == 202, answer.text
    sent = answer.json()
    assert (sent["type"], sent["status"], sent["webhook"]) == ("webhook.test", "pending", made["id"])
    path = f"/v1/webhooks/{made['id']}/deliveries"
    until(lambda: hooked.http.get(path).json()["data"][0]["status"] == "delivered", what="the delivery")
    (delivery,) = hooked.http.get(path).json()["data"]
    assert (delivery["id"], delivery["attempts"], delivery["response_status"]) == (sent["id"], 1, 204)
    assert delivery["next_attempt_at"] is None
    assert made["secret"] not in hooked.http.get(path).text
    problem(hooked.http.post("/v1/webhooks/wh_none/test"), 404)
    problem(hooked.http.get("/v1/webhooks/wh_none/deliveries"), 404)


def test_a_project_has_a_limited_number_of_webhooks(
    hooked: Service, target: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.services.webhooks.registration.MAX_WEBHOOKS", 1)
    request = {"url": target.url, "events": ["job.failed"]}
    assert hooked.http.post("/v1/webhooks", json=request).status_code == 201
    problem(hooked.http.post("/v1/webhooks", json=request), 409)
