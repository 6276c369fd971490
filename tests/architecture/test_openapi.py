"""The interface as it documents itself, and that no request body makes the service stumble."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.typedefs import Json
from tests.support.fixtures.servers import Valkey
from tests.support.fixtures.service import Service, openapi_document, service

METHODS = {"get", "put", "post", "delete", "patch"}
SNAKE = re.compile(r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$")
DOCUMENT: Json = openapi_document()


def operations() -> Iterator[tuple[str, str, Json]]:
    for path, methods in DOCUMENT["paths"].items():
        for method in sorted(METHODS & methods.keys()):
            yield path, method, methods[method]


def test_routes_say_what_they_do_and_answer() -> None:
    for path, method, operation in operations():
        where = f"{method} {path}"
        assert operation["description"].endswith("."), where
        assert operation["tags"], where
        good = [status for status in operation["responses"] if status in {"200", "201", "202", "204"}]
        assert sorted(good) == ["200", "201"] if where == "post /v1/datasets" else len(good) == 1, where
        assert all(answer["description"] for answer in operation["responses"].values()), where
        if method == "delete":  # OpenAI's clients expect an object
            assert good == (["200"] if path.startswith("/openai/") else ["204"]), where
        if operation.get("parameters") or "requestBody" in operation:
            assert "422" in operation["responses"] or path == "/v1/datasets", where


def test_names_on_the_wire_are_spelled_alike() -> None:
    for path, method, operation in operations():
        where = f"{method} {path}"
        for step in path.strip("/").split("/"):
            name = step.removeprefix("{").removesuffix("}")
            assert SNAKE.match(name if name != step else step.replace("-", "_")), where
        names = re.findall(r"{(\w+)}", path)
        parameters = operation.get("parameters", [])
        assert sorted(names) == sorted(one["name"] for one in parameters if one["in"] == "path"), where
        for one in parameters:
            pattern = re.compile(r"^[A-Za-z]+(-[A-Za-z]+)*$") if one["in"] == "header" else SNAKE
            assert pattern.match(one["name"]), f"{where}: {one['name']}"


def test_every_operation_has_an_id_of_its_own() -> None:
    ids = [operation["operationId"] for _, _, operation in operations()]
    assert len(ids) == len(set(ids))
    assert len(ids) >= 20


def schemas() -> Json:
    found: Json = DOCUMENT["components"]["schemas"]
    return {
        name: schema
        for name, schema in found.items()
        if name not in {"HTTPValidationError", "ValidationError"}
    }


def test_every_field_is_in_snake_case_and_every_schema_valid() -> None:
    for name, schema in schemas().items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert "description" in schema or name.startswith("Page_"), name
        for field in schema.get("properties", {}):
            assert SNAKE.match(field) or (name == "NixtlaSeries" and field in {"X", "X_future"}), (
                f"{name}.{field}"
            )


def test_requests_refuse_what_they_do_not_know() -> None:
    for name in ("TaggingJobIn", "TaggingSweepIn", "NetworkIn", "TrainingIn", "AliasIn", "BatchIn"):
        assert schemas()[name]["additionalProperties"] is False
    assert schemas()["TaggingJobIn"]["required"] == ["task", "dataset", "model"]
    assert schemas()["ForecastingJobIn"]["required"] == ["task", "dataset", "model", "options"]
    assert schemas()["TaggingSweepIn"]["required"] == ["task", "dataset", "model", "search"]


def test_times_are_told_as_times() -> None:
    for name, schema in schemas().items():
        if name.startswith(("Openai", "FineTuning")):
            continue  # their times are seconds since 1970
        for field, described in schema.get("properties", {}).items():
            if field.endswith("_at") or field == "last_seen":
                kinds = described.get("anyOf", [described])
                assert {"type": "string", "format": "date-time"}.items() <= kinds[0].items(), (
                    f"{name}.{field}"
                )


@pytest.mark.parametrize(
    "prefix",
    ["/v1/datasets", "/v1/jobs", "/v1/sweeps", "/v1/models", "/v1/models/{name}/versions", "/v1/workers"],
)
def test_lists_are_paged_alike(prefix: str) -> None:
    parameters = {one["name"]: one["schema"] for one in DOCUMENT["paths"][prefix]["get"]["parameters"]}
    assert {"limit", "cursor"} <= parameters.keys()
    assert (
        parameters["limit"]["minimum"],
        parameters["limit"]["maximum"],
        parameters["limit"]["default"],
    ) == (
        1,
        200,
        50,
    )


ODD = st.sampled_from(["", "\x00", "\ud800", "a/b~c", "../..", "é" * 300, "null", "1e999", "%00", "'; --"])
TEXT = ODD | st.text(max_size=8)
LEAF = (
    st.none()
    | st.booleans()
    | st.sampled_from([0, -1, 2**31, 2**63, 10**30, -(10**30)])
    | st.integers(-5, 200)
    | st.floats()
    | TEXT
)
ANYTHING = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)
)
FIELDS = {
    "network": ["cell", "layers", "hidden_size", "bidirectional", "dropout"],
    "training": ["epochs", "batch_size", "learning_rate", "seed", "device", "max_seconds", "bptt_steps"],
    "options": ["horizon", "context_length", "quantiles", "season_length", "transform", "past_covariates"],
}
SEARCHED = [f"{part}.{name}" for part, names in FIELDS.items() for name in names]
RANGE = st.fixed_dictionaries({"min": LEAF, "max": LEAF}, optional={"log": LEAF, "step": LEAF, "other": LEAF})


def nearly(names: list[str]) -> st.SearchStrategy[Any]:
    return st.dictionaries(st.sampled_from(names) | TEXT, ANYTHING, max_size=3) | ANYTHING


@st.composite
def bodies(draw: st.DrawFn, dataset: str) -> Any:
    """A good job with one to three parts spoiled, or anything at all."""
    if draw(st.integers(0, 9)) == 0:
        return draw(ANYTHING)
    body: Json = {"task": "forecasting", "dataset": dataset, "model": "m", "options": {"horizon": 6}}
    for name in draw(
        st.lists(st.sampled_from(["task", "dataset", "model", "metadata", *FIELDS]), max_size=3)
    ):
        body[name] = draw(nearly(FIELDS[name]) if name in FIELDS else nearly(["team"]))
    return body


@pytest.mark.hypothesis
def test_no_body_of_a_job_makes_the_service_stumble(running: Service) -> None:
    dataset = running.dataset()

    @settings(suppress_health_check=[HealthCheck.too_slow])
    @given(body=bodies(dataset))
    def submit(body: Any) -> None:
        headers = {"content-type": "application/json"}
        answer = running.http.post("/v1/jobs", content=json.dumps(body), headers=headers)
        assert answer.status_code in {202, 404, 422}, answer.text
        if answer.status_code == 202:
            assert running.http.get(answer.headers["location"]).json() == answer.json()
        else:
            assert answer.headers["content-type"] == "application/problem+json"
            json.loads(answer.content)

    submit()


@pytest.mark.hypothesis
def test_no_search_of_a_sweep_makes_the_service_stumble(running: Service) -> None:
    base = {"task": "forecasting", "dataset": running.dataset(), "model": "m"}
    names = st.sampled_from(SEARCHED) | TEXT
    search = st.dictionaries(names, st.lists(ANYTHING, max_size=3) | RANGE | ANYTHING, max_size=3)
    more = st.dictionaries(
        st.sampled_from(["sampler", "max_trials", "seeds", "metric"]), ANYTHING, max_size=1
    )

    @settings(suppress_health_check=[HealthCheck.too_slow])
    @given(search=search, more=more, options=st.sampled_from([{}, {"horizon": 6}]))
    def submit(search: Any, more: Json, options: Json) -> None:
        content = json.dumps({**base, "options": options, **more, "search": search})
        headers = {"content-type": "application/json"}
        answer = running.http.post("/v1/sweeps", content=content, headers=headers)
        assert answer.status_code in {202, 422}, answer.text
        if answer.status_code == 202:
            assert running.http.get(answer.headers["location"]).json() == answer.json()
            sweep = running.http.get(f"/v1/sweeps/{answer.json()['id']}")
            assert (sweep.status_code, sweep.json()["leaderboard"]) == (200, [])

    submit()


PATHS = [path for path, methods in DOCUMENT["paths"].items() if "get" in methods and "{" in path]
NASTY = [
    "%00",
    "a%00b",
    "%F0%9F%92%A9",
    "..%2f..",
    "9" * 30,
    "x" * 3000,
    "-1",
    "0",
    "%ED%A0%80",
    "'%22",
    "job_",
]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def unmoved(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, redis_server: Valkey
) -> Iterator[Service]:
    """The application on each kind of database, for requests that change nothing."""
    directory = tmp_path_factory.mktemp("unmoved")
    if request.param == "sqlite":
        template: Path = request.getfixturevalue("sqlite_template")
        (directory / "test.db").write_bytes(template.read_bytes())
        url = f"sqlite:///{directory / 'test.db'}"
    else:
        url = request.getfixturevalue("postgresql")
    with service(directory, url, redis_server.url) as made:
        yield made


def errors_of(path: str) -> str:
    theirs = f"{path}/".startswith(("/v2/", "/openai/"))
    return "application/json" if theirs else "application/problem+json"


@pytest.mark.parametrize("path", PATHS)
def test_no_id_in_a_path_makes_the_service_stumble(unmoved: Service, path: str) -> None:
    for nasty in NASTY:
        answer = unmoved.http.get(re.sub(r"{\w+}", nasty, path))
        form = errors_of(path)
        assert answer.status_code in ({404, 422} if "problem" in form else {400, 404}), answer.text
        assert answer.headers["content-type"] == form


@pytest.mark.parametrize("path", ["/v1/datasets", "/v1/jobs", "/v1/sweeps", "/v1/models"])
def test_no_query_of_a_list_makes_the_service_stumble(unmoved: Service, path: str) -> None:
    for name in ("limit", "cursor", "status", "task", "model", "kind", "sweep"):
        for nasty in [*NASTY, "AA==", "", "MQ==", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk="]:
            answer = unmoved.http.get(f"{path}?{name}={nasty}")
            assert answer.status_code in {200, 422}, f"{name}={nasty}: {answer.text}"


def test_errors_are_documented_as_the_problems_they_are(untouched: Service) -> None:
    document = untouched.http.get("/openapi.json").json()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            for status in ("404", "422"):
                assert list(operation["responses"][status]["content"]) == [errors_of(path)], (path, status)
    assert "HTTPValidationError" not in document.get("components", {}).get("schemas", {})
