"""Random requests after the OpenAPI document: no answer that it does not describe, whatever is sent."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.main import create_app
from app.settings import Settings
from app.tasks.forecasting.options import ForecastingOptions
from app.tasks.forecasting.task import TASK
from app.typedefs import Json
from tests.app.api.routes.test_predictions import publish
from tests.support.factories.schema_values import ANY, TEXT, values
from tests.support.factories.series import series_set, waves
from tests.support.fixtures.servers import Valkey
from tests.support.fixtures.service import Service, service

DOCUMENT: Json = json.loads(json.dumps(create_app(Settings()).openapi()))
COMPONENTS: Json = DOCUMENT["components"]["schemas"]
OPERATIONS = [
    pytest.param(method, path, operation, id=operation["operationId"])
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
]
VALIDATOR = jsonschema.Draft202012Validator
NOTHING = st.just(None)


@pytest.fixture(scope="module")
def stocked(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, redis_server: Valkey
) -> Iterator[tuple[Service, Json]]:
    """A service with one thing of each kind, and their names by the parameters of paths."""
    directory = tmp_path_factory.mktemp("stocked")
    (directory / "test.db").write_bytes(sqlite_template.read_bytes())
    with service(directory, f"sqlite:///{directory / 'test.db'}", redis_server.url) as made:
        plan = TASK.plan(series_set(waves(4, 60)).arrays(), ForecastingOptions(horizon=6), 0)
        publish(made, directory / "version", plan)
        job = made.http.get("/v1/jobs").json()["data"][0]
        model = {"name": "demand", "model": "demand", "number": 1, "version": "1", "alias": "production"}
        search = {"network.cell": ["gru", "lstm"]}
        request = {"task": "forecasting", "model": "demand", "options": {"horizon": 6}, "search": search}
        sweep = made.http.post("/v1/sweeps", json=request | {"dataset": job["dataset"]}).json()
        yield made, model | {"dataset_id": job["dataset"], "job_id": job["id"], "sweep_id": sweep["id"]}


def parameters(operation: Json, place: str) -> st.SearchStrategy[dict[str, Any]]:
    """Values of the parameters in a place; those of a query and of headers may be missing."""
    ours = [one for one in operation.get("parameters", ()) if one["in"] == place]
    fields = {one["name"]: values(one["schema"], COMPONENTS) for one in ours}
    required = {one["name"] for one in ours if one.get("required")}
    return st.fixed_dictionaries(
        {name: inner for name, inner in fields.items() if name in required},
        optional={name: inner for name, inner in fields.items() if name not in required},
    )


def bodies(operation: Json) -> st.SearchStrategy[Any]:
    """JSON bodies as documented, now and then spoiled, or anything else."""
    content = operation.get("requestBody", {}).get("content", {})
    if "application/json" not in content:
        return NOTHING
    good = values(content["application/json"]["schema"], COMPONENTS)
    examples = content["application/json"].get("examples", {}).values()
    if examples:
        good |= st.sampled_from([example["value"] for example in examples])
    spoiled = st.builds(lambda body, name, value: {**body, name: value}, good, TEXT, ANY)
    return good | (spoiled if "oneOf" in content["application/json"]["schema"] else good) | ANY


def send(running: Service, method: str, path: str, parts: Json, body: Any) -> httpx.Response:
    for name, value in parts["path"].items():
        # A slash at the end of a path is redirected, and clients leave out steps of dots.
        path = path.replace(f"{{{name}}}", quote(str(value).strip("/."), safe="") or "x")
    query = {name: value for name, value in parts["query"].items() if value is not None}
    headers = {name: str(value) for name, value in parts["header"].items() if str(value).isprintable()}
    headers = {name: value for name, value in headers.items() if value.isascii() and value.strip() == value}
    content = None if body is None else json.dumps(body, ensure_ascii=True).encode()
    if content is not None:
        headers["content-type"] = "application/json"
    return running.http.request(method, f"{path}?{urlencode(query)}", content=content, headers=headers)


def check(answer: httpx.Response, operation: Json) -> None:
    """Fail unless the document has this status with this media type and a schema that fits."""
    responses = operation["responses"]
    assert str(answer.status_code) in responses, (
        f"{answer.status_code} is not documented: {answer.text[:300]}"
    )
    content = responses[str(answer.status_code)].get("content", {})
    if not answer.content:
        return
    kind = answer.headers["content-type"].partition(";")[0]
    assert kind in content, f"{kind} is not documented for {answer.status_code}"
    if "json" in kind and "ndjson" not in kind:
        schema = {**content[kind]["schema"], "components": DOCUMENT["components"]}
        VALIDATOR(schema).validate(answer.json())


@pytest.mark.hypothesis
@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS)
def test_answers_are_as_documented(
    stocked: tuple[Service, Json], method: str, path: str, operation: Json
) -> None:
    running, known = stocked

    @settings(suppress_health_check=list(HealthCheck), max_examples=15)
    @given(
        parts=st.fixed_dictionaries(
            {place: parameters(operation, place) for place in ("path", "query", "header")}
        ),
        body=bodies(operation),
        exists=st.booleans(),
    )
    def request(parts: Json, body: Any, exists: bool) -> None:
        if exists and method != "delete":
            parts = parts | {"path": {name: known[name] for name in parts["path"]}}
            if isinstance(body, dict) and "dataset" in body:
                body = body | {"dataset": known["dataset_id"]}
        answer = send(running, method, path, parts, body)
        check(answer, operation)
        assert answer.status_code < 500 or answer.status_code == 503, answer.text

    request()


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS)
def test_other_methods_are_not_allowed(untouched: Service, method: str, path: str, operation: Json) -> None:
    documented = {name.upper() for name in DOCUMENT["paths"][path]}
    allowed = documented | ({"HEAD"} if "GET" in documented else set())
    address = path.replace("{", "x").replace("}", "x")
    for other in sorted({"GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE"} - documented):
        answer = untouched.http.request(other, address)
        assert answer.status_code == 405, (other, address)
        assert allowed <= set(answer.headers["allow"].split(", ")), (other, address)
