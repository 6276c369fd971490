"""Every key at every route with every foreign object, from the OpenAPI document."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from app.api import RAW, ROUTERS
from app.api.access.declared import PUBLIC_PATHS, access_of, requires
from app.services.access.callers import Scope
from app.typedefs import Json
from tests.support.fixtures.servers import Valkey
from tests.support.fixtures.service import Service, openapi_document, service

DOCUMENT: Json = openapi_document(auth="keys")
OPERATIONS = {
    operation["operationId"]: (method, path, operation)
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
}
GUARDED = sorted(name for name, (_, path, _) in OPERATIONS.items() if path not in PUBLIC_PATHS)
WITH_OBJECT = sorted(name for name in GUARDED if "{" in OPERATIONS[name][1])
FORECAST = {"instances": [{"values": [1.0, 2.0, 3.0]}]}
NIXTLA = {"series": {"y": [1.0, 2.0, 3.0], "sizes": [3]}, "h": 1, "freq": "MS"}
WEBHOOK = {"url": "https://hooks.example.com/secret-path", "events": ["job.failed"]}
TENSORS = {"inputs": [{"name": "values", "shape": [1, 3], "datatype": "FP32", "data": [1.0, 2.0, 3.0]}]}


class Owner:
    """A project with an object of every kind."""

    def __init__(self, client: Service, directory: Path) -> None:
        self.client = client
        dataset = client.upload(monthly_bytes(), name="secret-data").json()["id"]
        client.submit(dataset, model="secret-model")
        client.version(directory / "one", model="secret-model")
        self.job = client.job(dataset=dataset, model="secret-queue")
        sweep = client.http.post(
            "/v1/sweeps",
            json={
                "task": "forecasting",
                "dataset": dataset,
                "model": "secret-sweep",
                "options": {"horizon": 6},
                "search": {"network.cell": ["gru", "lstm"]},
            },
        )
        assert sweep.status_code == 202, sweep.text
        self.names = {
            "dataset_id": dataset,
            "job_id": self.job,
            "sweep_id": sweep.json()["id"],
            "name": "secret-model",
            "model": "secret-model",
            "number": "1",
            "index": "0",
            "version": "1",
            "alias": "production",
            "key_id": client.http.get("/v1/me").json()["id"],
            "webhook_id": client.http.post("/v1/webhooks", json=WEBHOOK).json()["id"],
        }

    def secrets(self) -> set[str]:
        """What nobody else may see."""
        return {value for value in self.names.values() if "_" in value} | {"secret-"}

    def snapshot(self) -> Json:
        """All that the project has."""
        paths = ["/v1/datasets", "/v1/jobs", "/v1/sweeps", "/v1/models", "/v1/keys", "/v1/webhooks"]
        paths += ["/v1/models/secret-model/versions", "/v1/models/secret-model/aliases"]
        return {path: self.client.http.get(path).json()["data"] for path in paths}


def monthly_bytes() -> bytes:
    rows = [f"s,{2015 + month // 12}-{month % 12 + 1:02d}-01,{month}" for month in range(60)]
    return "\n".join(["unique_id,ds,y", *rows]).encode()


@pytest.fixture(scope="module")
def guarded(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, redis_server: Valkey
) -> Iterator[Service]:
    """A service that needs keys."""
    directory = tmp_path_factory.mktemp("guarded")
    (directory / "test.db").write_bytes(sqlite_template.read_bytes())
    settings = {"auth": "keys", "webhook_hosts": "hooks.example.com"}
    with service(directory, f"sqlite:///{directory / 'test.db'}", redis_server.url, **settings) as made:
        yield made


@pytest.fixture(scope="module")
def owner(guarded: Service, tmp_path_factory: pytest.TempPathFactory) -> Owner:
    return Owner(guarded.keyed("alpha"), tmp_path_factory.mktemp("owner"))


@pytest.fixture(scope="module")
def stranger(guarded: Service) -> Service:
    return guarded.keyed("beta")


@pytest.fixture(scope="module")
def limited(guarded: Service) -> dict[Scope, Service]:
    """For each scope a key that has no other."""
    return {scope: guarded.keyed("alpha", scope) for scope in Scope}


def call(client: httpx.Client, name: str, names: Json, **more: Any) -> httpx.Response:
    """Call an operation with a request that would do, as far as its object is there."""
    method, path, operation = OPERATIONS[name]
    content: Json = {}
    if name in {"predict", "explain"}:
        content["json"] = FORECAST
    elif name.startswith("predict_nixtla"):
        content["json"] = NIXTLA | {"model": names.get("model", "none")}
    elif name.startswith("infer"):
        content["json"] = TENSORS
    elif name == "listen":
        content = {"content": b"{}\n", "headers": {"content-type": "application/jsonl"}}
    elif name == "move_model_alias":
        content["json"] = {"version": 1}
    elif "requestBody" in operation:
        content["json"] = {"dataset": names.get("dataset_id", "ds_none")}
    for parameter, value in names.items():
        path = path.replace(f"{{{parameter}}}", value)
    return client.request(method, path, **{**content, **more})


def test_every_operation_has_a_cell() -> None:
    assert len(GUARDED) > 40
    parameters = {
        part for name in WITH_OBJECT for part in OPERATIONS[name][1].split("/") if part.startswith("{")
    }
    known = {"dataset_id", "job_id", "sweep_id", "key_id", "webhook_id"}
    known |= {"name", "model", "number", "version", "alias", "index"}
    assert {part.strip("{}") for part in parameters} == known


def test_a_route_without_a_scope_cannot_be_added() -> None:
    for router in ROUTERS:
        for route in router.routes:
            assert access_of(route.endpoint)  # type: ignore[attr-defined]
    assert all(route.access.scope is Scope.PREDICT for route in RAW)

    def endpoint() -> None: ...

    with pytest.raises(TypeError, match="does not declare its scope"):
        access_of(endpoint)
    assert access_of(requires(Scope.READ)(endpoint)).scope is Scope.READ


def test_only_changes_of_known_kinds_are_left_out_of_the_audit() -> None:
    """What posts and changes nothing that lasts."""
    unaudited = {
        getattr(route, "operation_id", "")
        for router in ROUTERS
        for route in router.routes
        if getattr(route, "methods", set()) & {"POST", "PUT", "PATCH", "DELETE"}
        and not access_of(route.endpoint).changes  # type: ignore[attr-defined]
    }
    assert unaudited == {"listen", "index_repository", "load_model", "unload_model"}


@pytest.mark.parametrize("key", ["", "Bearer", "Bearer rk_", "Bearer rk_abcdefghijkl_" + "x" * 43, "Token x"])
def test_nothing_answers_without_a_key(guarded: Service, key: str) -> None:
    headers = {"Authorization": key} if key else {}
    for name in GUARDED:
        answer = call(guarded.http, name, {}, headers=headers)
        assert answer.status_code == 401, name
        assert answer.headers["www-authenticate"].startswith("Bearer"), name
        path = OPERATIONS[name][1]
        if path.startswith(("/v2", "/openai")):
            assert answer.headers["content-type"] == "application/json"
            assert "error" in answer.json()
        else:
            assert answer.json()["type"] == "/problems/unauthenticated"
    for path in ("/docs/none.js", "/openapi.json", "/nowhere", "/v1/models/x/listen"):
        assert guarded.http.get(path, headers=headers).status_code == 401
    for path in PUBLIC_PATHS:
        expected = {404} if path == "/" else {200, 503}  # there is no page to be sent to
        assert guarded.http.get(path, headers=headers).status_code in expected


@pytest.mark.parametrize("name", GUARDED)
def test_a_key_needs_the_scope_of_the_route(limited: dict[Scope, Service], name: str) -> None:
    required = OPERATIONS[name][2]["security"][0]["key"]
    ids = ("dataset_id", "job_id", "sweep_id", "name", "model", "key_id", "webhook_id")
    names = dict.fromkeys(ids, "none")
    names |= {"number": "9", "version": "9", "alias": "none"}
    for scope, client in limited.items():
        answer = call(client.http, name, names)
        if not required or required == [scope]:
            assert answer.status_code not in {401, 403, 500}, (scope, answer.text)
        else:
            assert answer.status_code == 403, (scope, answer.text)


@pytest.mark.parametrize("name", WITH_OBJECT)
def test_objects_of_another_project_do_not_exist(owner: Owner, stranger: Service, name: str) -> None:
    before = owner.snapshot()
    answer = call(stranger.http, name, owner.names)
    assert answer.status_code == 404, answer.text
    wrong = call(stranger.http, name, {**owner.names, **dict.fromkeys(("name", "model"), "secret-none")})
    if "{name}" in OPERATIONS[name][1] or "{model}" in OPERATIONS[name][1]:
        assert wrong.status_code == 404
        assert without_ids(wrong).replace("secret-none", "secret-model") == without_ids(answer)
    assert owner.snapshot() == before


def without_ids(answer: httpx.Response) -> str:
    body = answer.json()
    body.pop("request_id", None)
    return json.dumps(body)


def test_requests_that_name_foreign_objects_in_their_body(owner: Owner, stranger: Service) -> None:
    job: Json = {"task": "forecasting", "dataset": owner.names["dataset_id"], "model": "mine"}
    job["options"] = {"horizon": 6}
    assert stranger.http.post("/v1/jobs", json=job).status_code == 404
    search = {"search": {"network.cell": ["gru"]}}
    assert stranger.http.post("/v1/sweeps", json={**job, **search}).status_code == 404
    for path in ("forecast", "cross_validation"):
        foreign = NIXTLA | {"model": "secret-model"}
        assert stranger.http.post(f"/nixtla/v2/{path}", json=foreign).status_code == 404
    tuning = {"model": "lstm", "training_file": owner.names["dataset_id"]}
    assert stranger.http.post("/openai/v1/fine_tuning/jobs", json=tuning).status_code == 404
    body = {"model": "secret-model", "prompt": "x"}
    assert stranger.http.post("/openai/v1/completions", json=body).status_code == 404


def test_lists_metrics_and_statistics_hold_nothing_foreign(owner: Owner, stranger: Service) -> None:
    owner.client.http.post("/v1/models/secret-model/predict", json=FORECAST)  # is counted
    seen = False
    for name in GUARDED:
        method, path, _ = OPERATIONS[name]
        if "{" in path or (method != "get" and name != "index_repository") or name == "list_audit":
            continue
        own = owner.client.http.request(method, path).text
        seen |= "secret-" in own
        foreign = stranger.http.request(method, path)
        assert foreign.status_code == 200 or path in {"/v2/health/ready", "/nixtla/model_params"}, path
        assert not [secret for secret in owner.secrets() if secret in foreign.text], path
    assert seen
    own_key = stranger.http.get("/v1/me").json()["id"]
    entries = stranger.http.get("/v1/audit").json()["data"]  # what it was refused, as it named it
    assert {entry["key"] for entry in entries} <= {own_key}
    filters = {"model": "secret-model", "sweep": owner.names["sweep_id"], "kind": "sweep"}
    for field, value in filters.items():
        assert stranger.http.get("/v1/jobs", params={field: value}).json()["data"] == []


def test_a_stream_of_events_is_not_there_for_others(owner: Owner, stranger: Service) -> None:
    headers = {"Accept": "text/event-stream"}
    assert stranger.http.get(f"/v1/jobs/{owner.job}/events", headers=headers).status_code == 404
    assert owner.client.http.get(f"/v1/jobs/{owner.job}/events").status_code == 200


def test_the_websocket_asks_for_a_key_its_scope_and_its_project(
    guarded: Service, owner: Owner, stranger: Service, limited: dict[Scope, Service]
) -> None:
    url = f"{str(guarded.http.base_url).replace('http', 'ws')}/v1/models/secret-model/listen"
    for key, status in (("", 401), (limited[Scope.READ].key, 403)):
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        with pytest.raises(InvalidStatus) as refused, connect(url, additional_headers=headers):
            pass
        assert refused.value.response.status_code == status
    messages = []
    for client in (stranger, owner.client):
        with connect(url, additional_headers={"Authorization": f"Bearer {client.key}"}) as socket:
            messages.append(json.loads(socket.recv(timeout=20))["error"])
    assert messages[0]["status"] == 404
    assert messages[1]["status"] != 404  # its model does not listen


def test_names_are_unique_within_a_project_only(guarded: Service, owner: Owner, tmp_path: Path) -> None:
    other = guarded.keyed("gamma")
    assert other.version(tmp_path / "two", model="secret-model") == 1
    models = [
        client.http.get("/v1/models/secret-model/versions/1").json() for client in (owner.client, other)
    ]
    assert models[0]["job"] != models[1]["job"]
    key = {"Idempotency-Key": "same"}
    body = {"task": "forecasting", "model": "m", "options": {"horizon": 6}}
    jobs = [
        client.http.post("/v1/jobs", headers=key, json={**body, "dataset": dataset}).json()["id"]
        for client, dataset in ((owner.client, owner.names["dataset_id"]), (other, other.dataset()))
    ]
    assert len(set(jobs)) == 2
    again = other.upload(monthly_bytes(), name="secret-data")
    assert again.status_code == 201  # the same content is there in another project only
    assert other.http.delete("/v1/models/secret-model/aliases/production").status_code == 204
    assert owner.client.http.get("/v1/models/secret-model").json()["aliases"] == {"production": 1}
