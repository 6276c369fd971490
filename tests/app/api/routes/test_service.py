"""The service's own routes, and what every answer has."""

from pathlib import Path

import jsonschema
import pytest
from pydantic import ValidationError
from sqlalchemy.exc import OperationalError
from starlette.datastructures import URL

from app.api.routes.service import locate_page
from app.database.tables import Worker
from app.hyperparameters.options import NETWORK, TRAINING
from app.services.jobs import workers
from app.settings import Settings
from app.tasks import TASKS
from app.tasks.shared.tokenizers import TokenUnit
from tests.support.fixtures.servers import Valkey
from tests.support.fixtures.service import Service, problem, service


def test_health_touches_nothing(on_sqlite: Service) -> None:
    on_sqlite.state.sessions.kw["bind"].dispose()
    assert on_sqlite.http.get("/healthz").json() == {"status": "ok"}


def test_readiness_names_what_is_missing(running: Service) -> None:
    answer = running.http.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {
        "status": "unavailable",
        "checks": {
            "database": "ok",
            "redis": "ok",
            "train_workers": "unavailable",
            "serve_workers": "unavailable",
        },
    }


def test_readiness_without_redis(tmp_path: Path, sqlite_template: Path) -> None:
    (tmp_path / "test.db").write_bytes(sqlite_template.read_bytes())
    with service(tmp_path, f"sqlite:///{tmp_path / 'test.db'}", f"unix://{tmp_path}/none") as lonely:
        assert lonely.http.get("/readyz").json()["checks"]["redis"] == "unavailable"
        assert lonely.http.get("/healthz").status_code == 200
        assert lonely.submit().status_code == 202  # the row is the truth; the wake-up can wait


def test_live_workers_are_listed(running: Service) -> None:
    row = Worker(id="worker_test", role="train", device="cpu", host="h", pid=1, loaded=[])
    with running.state.sessions.begin() as session:
        workers.report_alive(session, row)
    job = running.job()
    running.claim(job)
    (result,) = running.http.get("/v1/workers").json()["data"]
    assert (result["id"], result["role"], result["device"], result["busy_with"]) == (
        "worker_test",
        "train",
        "cpu",
        job,
    )
    with running.state.sessions.begin() as session:
        workers.remove(session, "worker_test")
    assert running.http.get("/v1/workers").json()["data"] == []


def test_workers_are_paged_as_every_list(on_sqlite: Service) -> None:
    ids = [f"worker_{number}" for number in range(3)]
    with on_sqlite.state.sessions.begin() as session:
        for worker_id in ids:
            row = Worker(id=worker_id, role="serve", device="cpu", host="h", pid=1, loaded=[])
            workers.report_alive(session, row)
    first = on_sqlite.http.get("/v1/workers", params={"limit": 2}).json()
    assert ([one["id"] for one in first["data"]], first["has_more"]) == (ids[:0:-1], True)
    query = {"limit": 2, "cursor": first["next_cursor"]}
    second = on_sqlite.http.get("/v1/workers", params=query).json()
    assert [one["id"] for one in second["data"]] == ids[:1]
    assert (second["has_more"], second["next_cursor"]) == (False, None)


def test_tasks_describe_themselves(untouched: Service) -> None:
    tasks = {task["name"]: task for task in untouched.http.get("/v1/tasks").json()["data"]}
    assert set(tasks) == set(TASKS)
    forecasting = tasks["forecasting"]
    assert {"csv", "parquet", "jsonl"} <= set(forecasting["formats"])
    for name in ("options", "instance", "parameters"):
        jsonschema.Draft202012Validator.check_schema(forecasting[name])
    assert "horizon" in forecasting["options"]["required"]


def test_tasks_tell_what_a_job_gets_that_names_nothing(untouched: Service) -> None:
    answer = untouched.http.get("/v1/tasks").json()
    for schema in (answer["network"], answer["training"]):
        jsonschema.Draft202012Validator.check_schema(schema)
    for task in answer["data"]:
        assert len(task["defaults"]) >= 1, task["name"]
        for result in task["defaults"]:
            jsonschema.validate(result["options"], task["options"])
            jsonschema.validate(result["network"], answer["network"])
            jsonschema.validate(result["training"], answer["training"])
            assert result["network"].keys() >= NETWORK.keys()
            assert result["training"].keys() >= TRAINING.keys()
            assert result["data"]
    message = {task["name"]: task["defaults"] for task in answer["data"]}
    assert [result["options"].get("tokens") for result in message["generation"]] == [*TokenUnit]
    texts, readings = (result["network"] for result in message["classification"])
    assert "embedding_size" in texts
    assert "embedding_size" not in readings
    assert [result["network"]["crf"] for result in message["tagging"]] == [True, False]


def test_a_job_gets_the_defaults_that_are_documented(on_sqlite: Service) -> None:
    tasks = {task["name"]: task for task in on_sqlite.http.get("/v1/tasks").json()["data"]}
    (message,) = tasks["forecasting"]["defaults"]
    job = on_sqlite.submit().json()
    assert (job["network"], job["training"]) == (message["network"], message["training"])
    pairs = "source\ttarget\n" + "".join(f"Good day {n}\tBuenos días {n}\n" for n in range(40))
    uploaded = on_sqlite.upload(pairs.encode(), "pairs.tsv", task="translation").json()
    requested = on_sqlite.submit(uploaded["id"], task="translation", model="words", options={})
    (message,) = tasks["translation"]["defaults"]
    assert (requested.json()["network"], requested.json()["training"]) == (
        message["network"],
        message["training"],
    )


def test_the_openapi_document_covers_the_contract(untouched: Service) -> None:
    document = untouched.http.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    paths = document["paths"]
    for path in (
        "/healthz",
        "/readyz",
        "/metrics",
        "/v1/tasks",
        "/v1/workers",
        "/v1/datasets",
        "/v1/datasets/{dataset_id}/content",
        "/v1/datasets/{dataset_id}/preview",
        "/v1/datasets/{dataset_id}/examples/{index}",
        "/v1/jobs",
        "/v1/jobs/{job_id}/events",
        "/v1/jobs/{job_id}/metrics",
        "/v1/jobs/{job_id}/cancel",
        "/v1/jobs/{job_id}/result",
        "/v1/models",
        "/v1/models/{name}/versions/{number}/artifact",
        "/v1/models/{name}/aliases/{alias}",
        "/v1/models/{name}/predict",
    ):
        assert path in paths, path
    assert untouched.http.get("/docs").status_code == 200


def test_requests_are_counted_by_route_not_by_id(on_sqlite: Service) -> None:
    on_sqlite.http.get("/v1/jobs/job_one")
    on_sqlite.http.get("/v1/jobs/job_two")
    text = on_sqlite.http.get("/metrics").text
    assert 'route="/v1/jobs/{job_id}",status="404"' in text
    assert "job_one" not in text


def test_the_queue_and_the_workers_are_in_numbers(on_sqlite: Service) -> None:
    on_sqlite.job()
    text = on_sqlite.http.get("/metrics").text
    assert 'recurra_jobs{status="queued"} 1.0' in text
    assert 'recurra_jobs{status="running"} 0.0' in text
    assert 'recurra_workers{role="train"} 0.0' in text
    assert "recurra_oldest_queued_job_seconds " in text


def test_metrics_do_without_a_database_that_does_not_answer(
    on_sqlite: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise OperationalError("select", {}, Exception("away"))

    monkeypatch.setattr("app.api.routes.service.read_queue", fail)
    text = on_sqlite.http.get("/metrics").raise_for_status().text
    assert "recurra_http_requests_total" in text
    assert "recurra_jobs" not in text


def test_a_safe_request_id_is_kept_and_another_replaced(untouched: Service) -> None:
    assert untouched.http.get("/healthz", headers={"X-Request-ID": "a-1"}).headers["x-request-id"] == "a-1"
    other = untouched.http.get("/healthz", headers={"X-Request-ID": "a b\tc"}).headers["x-request-id"]
    assert other
    assert other != "a b\tc"


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nothing", 404), ("PATCH", "/v1/jobs", 405)])
def test_unknown_routes_and_methods_are_problems(
    untouched: Service, method: str, path: str, status: int
) -> None:
    problem(untouched.http.request(method, path), status)


@pytest.mark.parametrize(
    ("path", "name", "detail"),
    [
        ("/v1/jobs?state=running", "state", "unknown parameter state; did you mean status?"),
        ("/v1/jobs?limit=5&max=3", "max", "unknown parameter max; there are cursor, kind, limit"),
        ("/v1/datasets/ds_1?limit=5", "limit", "unknown parameter limit"),
        ("/healthz?x=1", "x", "unknown parameter x"),
    ],
)
def test_an_unknown_parameter_of_a_query_is_not_ignored(
    untouched: Service, path: str, name: str, detail: str
) -> None:
    (error,) = problem(untouched.http.get(path), 422)["errors"]
    assert error["pointer"] == f"/query/{name}"
    assert error["detail"].startswith(detail)


def test_a_fault_of_ours_shows_nothing_of_the_inside(on_sqlite: Service) -> None:
    def broken() -> None:
        raise RuntimeError("secret details")

    on_sqlite.app.get("/broken")(broken)
    answer = on_sqlite.http.get("/broken")
    assert problem(answer, 500)["type"] == "/problems/internal"
    assert "secret" not in answer.text


def test_a_database_that_is_away_is_a_503(running: Service, tmp_path: Path) -> None:
    engine = running.state.sessions.kw["bind"]
    if engine.dialect.name == "sqlite":
        Path(engine.url.database).write_bytes(b"not a database any more" * 100)
        for suffix in ("-wal", "-shm"):
            Path(engine.url.database + suffix).unlink(missing_ok=True)
        engine.dispose()
        assert running.http.get("/v1/jobs").status_code in {500, 503}
        assert running.http.get("/healthz").status_code == 200


def test_browsers_are_sent_to_the_page(tmp_path: Path, sqlite_template: Path, redis_server: Valkey) -> None:
    (tmp_path / "test.db").write_bytes(sqlite_template.read_bytes())
    url = f"sqlite:///{tmp_path / 'test.db'}"
    with service(tmp_path, url, redis_server.url, page_url=":8001", auth="keys") as running:
        for host, target in {
            "localhost:8000": "http://localhost:8001/",
            "127.0.0.1": "http://127.0.0.1:8001/",
            "[::1]:80": "http://[::1]:8001/",
        }.items():
            answer = running.http.get("/", headers={"Host": host})
            assert (answer.status_code, answer.headers["location"]) == (307, target)
        assert running.http.get("/", headers={"Host": "evil.example"}).status_code == 421


def test_without_a_page_there_is_none(untouched: Service) -> None:
    assert "/docs" in problem(untouched.http.get("/"), 404)["detail"]


def test_a_page_may_be_anywhere() -> None:
    called = URL("https://models.example.com/")
    assert locate_page("https://page.example.com/recurra", called) == "https://page.example.com/recurra"
    assert locate_page(":9000", called) == "https://models.example.com:9000/"


@pytest.mark.parametrize("url", ["8001", "//evil.example", "javascript:alert(1)", "ftp://x", ":x"])
def test_a_page_is_a_url_or_a_port(url: str) -> None:
    with pytest.raises(ValidationError):
        Settings(page_url=url)
