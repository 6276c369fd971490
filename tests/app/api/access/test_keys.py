"""Keys over HTTP: made, listed, rotated, revoked; limits, the caller, and the audit."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from app.database.engine import make_engine, make_sessions
from app.database.projects import ALL_PROJECTS
from app.database.tables import AuditEntry, IdempotencyKey, Job, Key
from app.services.access.callers import Scope
from app.typedefs import Json
from tests.support.fixtures.servers import Valkey, until
from tests.support.fixtures.service import Service, monthly, problem, service


@pytest.fixture
def guarded(tmp_path: Path, database_url: str, redis_server: Valkey) -> Iterator[Service]:
    """A service that needs keys."""
    with service(tmp_path, database_url, redis_server.url, auth="keys") as made:
        yield made


@pytest.fixture
def admin(guarded: Service) -> Service:
    return guarded.keyed("alpha")


def make(client: Service, **fields: object) -> httpx.Response:
    return client.http.post("/v1/keys", json={"name": "robot", "scopes": ["read"], **fields})


def ask(client: Service, key: str, path: str = "/v1/me") -> httpx.Response:
    return httpx.get(f"{client.http.base_url}{path}", headers={"Authorization": f"Bearer {key}"})


def test_a_key_is_made_shown_once_and_works(guarded: Service, admin: Service) -> None:
    expires = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    limits = {"requests_per_second": 100.0, "queued_jobs": 2}
    answer = make(admin, limits=limits, expires_at=expires, scopes=["predict", "read"])
    assert answer.status_code == 201
    made = answer.json()
    assert answer.headers["location"] == f"/v1/keys/{made['id']}"
    key = made.pop("key")
    assert key.startswith(made["prefix"])
    assert (made["name"], made["project"], made["scopes"]) == ("robot", "alpha", ["read", "predict"])
    assert made["limits"] == {**limits, "running_jobs": None, "stored_bytes": None}
    assert admin.http.get(answer.headers["location"]).json() == made
    listed = admin.http.get("/v1/keys").json()["data"]
    assert listed[0] == made
    assert len(listed) == 2
    me = ask(guarded, key).json()
    assert (me["id"], me["project"], me["scopes"]) == (made["id"], "alpha", ["predict", "read"])
    assert me["use"] == {"queued_jobs": 0, "running_jobs": 0, "stored_bytes": 0}
    problem(ask(guarded, key, "/v1/keys"), 403)


@pytest.mark.parametrize(
    "fields",
    [
        {"scopes": []},
        {"scopes": ["everything"]},
        {"name": ""},
        {"project": "a/b"},
        {"limits": {"requests_per_second": 0}},
        {"limits": {"bytes": 1}},
        {"expires_at": "tomorrow"},
        {"expires_at": "2026-01-31T09:30:00"},
        {"admin": True},
    ],
)
def test_what_is_no_request_for_a_key(admin: Service, fields: Json) -> None:
    problem(make(admin, **fields), 422)
    assert len(admin.http.get("/v1/keys").json()["data"]) == 1


def test_only_the_default_project_makes_keys_of_others(guarded: Service, admin: Service) -> None:
    problem(make(admin, project="beta"), 403)
    assert make(admin, project="alpha").status_code == 201
    operator = guarded.keyed("default")
    made = make(operator, project="beta", scopes=["admin", "read"]).json()
    assert ask(guarded, made["key"]).json()["project"] == "beta"
    assert made["id"] not in operator.http.get("/v1/keys").text
    assert operator.http.delete(f"/v1/keys/{made['id']}").status_code == 404
    entries = ask(guarded, made["key"], "/v1/audit").json()["data"]
    own = operator.http.get("/v1/me").json()["id"]
    assert [(entry["action"], entry["key"]) for entry in entries] == [("create_key", own)]


def test_a_revoked_key_is_refused_at_once(guarded: Service, admin: Service) -> None:
    made = make(admin).json()
    assert ask(guarded, made["key"]).status_code == 200
    assert admin.http.delete(f"/v1/keys/{made['id']}").status_code == 204
    refused = ask(guarded, made["key"])
    assert problem(refused, 401)["type"] == "/problems/unauthenticated"
    assert refused.headers["www-authenticate"] == 'Bearer realm="recurra"'
    problem(admin.http.delete(f"/v1/keys/{made['id']}"), 404)
    assert made["id"] not in admin.http.get("/v1/keys").text


def test_a_rotated_key_is_another_at_once(guarded: Service, admin: Service) -> None:
    made = make(admin).json()
    assert ask(guarded, made["key"]).status_code == 200
    rotated = admin.http.post(f"/v1/keys/{made['id']}/rotate").json()
    assert rotated["id"] == made["id"]
    problem(ask(guarded, made["key"]), 401)
    assert ask(guarded, rotated["key"]).json()["id"] == made["id"]


def test_a_repeated_request_makes_one_key_and_stores_no_secret(guarded: Service, admin: Service) -> None:
    headers = {"Idempotency-Key": "one"}
    body = {"name": "robot", "scopes": ["read"]}
    first = admin.http.post("/v1/keys", json=body, headers=headers).json()
    again = admin.http.post("/v1/keys", json=body, headers=headers)
    assert again.status_code == 201
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == {**first, "key": None}
    with admin.state.sessions() as session:
        assert first["key"] not in json.dumps(session.scalars(select(IdempotencyKey.answer)).all())


def test_no_key_is_ever_logged(guarded: Service, admin: Service, caplog: pytest.LogCaptureFixture) -> None:
    made = make(admin).json()
    for key in (made["key"], made["key"] + "x", "rk_" + made["key"]):
        ask(guarded, key, "/v1/jobs/none")
    secret = made["key"].rpartition("_")[2]
    assert caplog.records
    assert secret not in caplog.text


def test_the_audit_says_who_changed_what(guarded: Service, admin: Service) -> None:
    reader = guarded.keyed("alpha", Scope.READ)
    dataset = admin.upload(monthly()).json()["id"]
    job = admin.submit(dataset).json()["id"]
    admin.http.get("/v1/jobs")
    admin.http.post("/v1/models/none/predict", json={"instances": []})
    problem(reader.http.post(f"/v1/jobs/{job}/cancel"), 403)
    cancelled = admin.http.post(f"/v1/jobs/{job}/cancel", headers={"X-Request-ID": "mine"})
    assert cancelled.status_code == 202
    problem(admin.http.delete("/v1/jobs/job_none"), 404)
    page = admin.http.get("/v1/audit").json()
    entries = page["data"]
    ids = {client: client.http.get("/v1/me").json()["id"] for client in (admin, reader)}
    assert [(entry["action"], entry["object"], entry["outcome"]) for entry in entries] == [
        ("create_dataset", f"/v1/datasets/{dataset}", 201),
        ("submit_job", f"/v1/jobs/{job}", 202),
        ("cancel_job", f"/v1/jobs/{job}/cancel", 403),
        ("cancel_job", f"/v1/jobs/{job}", 202),
        ("delete_job", "/v1/jobs/job_none", 404),
    ]
    assert [entry["key"] for entry in entries] == [
        ids[admin], ids[admin], ids[reader], ids[admin], ids[admin],
    ]  # fmt: skip
    assert entries[3]["request_id"] == "mine"
    assert {entry["address"] for entry in entries} == {"127.0.0.1"}
    assert {entry["name"] for entry in entries} == {"test"}
    after = admin.http.get("/v1/audit", params={"after": entries[2]["id"], "limit": 1}).json()
    assert (after["data"], after["has_more"]) == ([entries[3]], True)
    rest = admin.http.get("/v1/audit", params={"cursor": after["next_cursor"]}).json()
    assert (rest["data"], rest["has_more"]) == ([entries[4]], False)


def test_a_change_is_in_the_audit_when_its_answer_comes(admin: Service) -> None:
    for count in range(1, 6):
        assert make(admin).status_code == 201
        engine = make_engine(admin.settings.database)
        try:
            with make_sessions(engine, ALL_PROJECTS)() as session:
                assert len(session.scalars(select(AuditEntry.id)).all()) == count
        finally:
            engine.dispose()


def test_queued_jobs_are_limited_by_key(guarded: Service, admin: Service) -> None:
    limited = guarded.keyed("alpha", queued_jobs=2)
    dataset = admin.dataset()
    jobs = [limited.submit(dataset) for _ in range(3)]
    assert [job.status_code for job in jobs] == [202, 202, 429]
    assert problem(jobs[2], 429)["type"] == "/problems/limit-reached"
    assert int(jobs[2].headers["retry-after"]) > 0
    assert limited.http.get("/v1/me").json()["use"]["queued_jobs"] == 2
    assert admin.submit(dataset).status_code == 202
    limited.http.post(f"/v1/jobs/{jobs[0].json()['id']}/cancel")
    assert limited.submit(dataset).status_code == 202
    with admin.state.sessions() as session:
        keys = session.scalars(select(Job.key_id).order_by(Job.id)).all()
    own = limited.http.get("/v1/me").json()["id"]
    assert keys.count(own) == 3


def test_stored_bytes_are_limited_by_key(guarded: Service) -> None:
    content = monthly()
    limited = guarded.keyed("alpha", stored_bytes=2 * len(content))
    first = limited.upload(content)
    assert first.status_code == 201
    assert limited.http.get("/v1/me").json()["use"]["stored_bytes"] == len(content)
    refused = limited.upload(content + b"\n")  # which alone would fit
    assert problem(refused, 429)["type"] == "/problems/limit-reached"
    assert len(limited.http.get("/v1/datasets").json()["data"]) == 1
    assert limited.http.delete(f"/v1/datasets/{first.json()['id']}").status_code == 204
    assert limited.upload(content).status_code == 201


def test_requests_are_limited_by_key(guarded: Service) -> None:
    limited = guarded.keyed("alpha", requests_per_second=1.0)
    answers = [limited.http.get("/v1/me") for _ in range(3)]
    assert 429 in [answer.status_code for answer in answers]
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert int(refused.headers["retry-after"]) >= 1
    until(lambda: limited.http.get("/v1/me").status_code == 200, what="another token")


def test_an_expired_key_is_refused(guarded: Service) -> None:
    key_id, key = guarded.made_key("alpha", expires_at=time.time() + 3600)
    assert ask(guarded, key).status_code == 200
    with guarded.state.projects.state("alpha").sessions.begin() as session:
        session.get_one(Key, key_id).expires_at = time.time() - 1
    until(lambda: ask(guarded, key).status_code == 401, what="the key's end")


def test_without_authentication_everybody_is_the_default_project(untouched: Service) -> None:
    me = untouched.http.get("/v1/me").json()
    assert (me["id"], me["project"], me["scopes"]) == (
        None, "default", ["admin", "predict", "read", "train"],
    )  # fmt: skip
    assert untouched.http.get("/v1/keys").json()["data"] == []
    assert untouched.http.get("/v1/audit").json()["data"] == []
    problem(make(untouched), 409)
    assert untouched.http.get("/v1/me", headers={"Authorization": "Bearer nonsense"}).status_code == 200
