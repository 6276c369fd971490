"""Models, versions and aliases over HTTP."""

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from app.database.tables import ModelVersion
from app.services.models import versions as models
from tests.support.factories.networks import lstm, store
from tests.support.fakes.lanes import fake_predictor
from tests.support.fixtures.servers import Valkey, until
from tests.support.fixtures.service import Service, problem, service

PRODUCTION = "/v1/models/demand/aliases/production"


@pytest.fixture
def two(on_sqlite: Service, tmp_path: Path) -> Service:
    on_sqlite.version(tmp_path / "one")
    on_sqlite.version(tmp_path / "two")
    return on_sqlite


@pytest.fixture(scope="module")
def unmoved(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, redis_server: Valkey
) -> Iterator[Service]:
    """Two versions for requests that change nothing."""
    directory = tmp_path_factory.mktemp("unmoved")
    (directory / "test.db").write_bytes(sqlite_template.read_bytes())
    with service(directory, f"sqlite:///{directory / 'test.db'}", redis_server.url) as made:
        for number in (1, 2):
            made.version(directory / str(number))
        yield made
        assert made.http.get("/v1/models/demand").json()["aliases"] == {"production": 1}


def test_the_first_version_is_in_production(two: Service) -> None:
    model = two.http.get("/v1/models/demand").json()
    assert (model["name"], model["object"], model["task"]) == ("demand", "model", "forecasting")
    assert (model["aliases"], model["latest_version"]) == ({"production": 1}, 2)
    assert two.http.get("/v1/models").json()["data"] == [model]


def test_versions_show_their_metrics_beside_the_baseline(two: Service) -> None:
    page = two.http.get("/v1/models/demand/versions").json()
    assert [version["version"] for version in page["data"]] == [2, 1]
    version = two.http.get("/v1/models/demand/versions/2").json()
    assert version == page["data"][0]
    assert set(version) == {
        "model", "version", "task", "job", "dataset", "network", "options", "parameters",
        "metrics", "baseline", "bytes", "sha256", "created_at",
    }  # fmt: skip
    assert (version["metrics"], version["baseline"]) == ({"smape": 9.0}, {"smape": 12.0})
    assert version["job"].startswith("job_")


def test_versions_are_paged(two: Service) -> None:
    first = two.http.get("/v1/models/demand/versions", params={"limit": 1}).json()
    second = two.http.get(
        "/v1/models/demand/versions", params={"limit": 1, "cursor": first["next_cursor"]}
    ).json()
    assert [page["data"][0]["version"] for page in (first, second)] == [2, 1]
    assert (first["has_more"], second["has_more"]) == (True, False)
    problem(two.http.get("/v1/models/demand/versions", params={"cursor": "eA=="}), 422)


def test_an_artifact_is_a_zip_of_the_version(two: Service) -> None:
    answer = two.http.get("/v1/models/demand/versions/1/artifact")
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert set(archive.namelist()) >= {"manifest.json", "model.onnx"}


def test_an_artifact_altered_with_its_manifest_is_not_handed_out(two: Service, tmp_path: Path) -> None:
    assert two.http.get("/v1/models/demand/versions/1/artifact").status_code == 200
    with two.state.sessions() as session:
        prefix = models.get_version(session, "demand", 1).artifact
    for path in store(tmp_path / "other", lstm(seed=9), state={}).iterdir():
        two.state.storage.put(f"{prefix}/{path.name}", path)
    answer = two.http.get("/v1/models/demand/versions/1/artifact")
    assert problem(answer, 500)["type"] == "/problems/model-damaged"


def test_an_alias_moves_and_goes(two: Service) -> None:
    answer = two.http.put(PRODUCTION, json={"version": 2})
    assert answer.status_code == 200
    assert answer.json()["version"] == 2
    assert two.http.put("/v1/models/demand/aliases/stable", json={"version": 1}).status_code == 200
    assert two.http.get("/v1/models/demand").json()["aliases"] == {"production": 2, "stable": 1}
    assert two.http.delete("/v1/models/demand/aliases/stable").status_code == 204
    problem(two.http.delete("/v1/models/demand/aliases/stable"), 404)


def test_an_alias_is_shown_whole(two: Service) -> None:
    answer = two.http.put(PRODUCTION, json={"versions": {"2": 0.25, "1": 0.75}})
    assert answer.status_code == 200, answer.text
    shown = answer.json()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", shown.pop("updated_at"))
    assert shown == {
        "model": "demand", "alias": "production", "version": 1, "versions": {"1": 0.75, "2": 0.25},
        "shadow": None,
    }  # fmt: skip
    assert two.http.get(PRODUCTION).json() == answer.json()
    assert two.http.get("/v1/models/demand").json()["aliases"] == {"production": 1}
    alone = two.http.put(PRODUCTION, json={"version": 2, "shadow": 1}).json()
    assert (alone["version"], alone["versions"], alone["shadow"]) == (2, {"2": 1.0}, 1)


def test_aliases_are_listed_by_name_and_paged(two: Service) -> None:
    for name in ("stable", "canary"):
        two.http.put(f"/v1/models/demand/aliases/{name}", json={"version": 2})
    page = two.http.get("/v1/models/demand/aliases").json()
    assert [alias["alias"] for alias in page["data"]] == ["canary", "production", "stable"]
    assert (page["has_more"], page["next_cursor"]) == (False, None)
    assert page["data"][1] == two.http.get(PRODUCTION).json()
    first = two.http.get("/v1/models/demand/aliases", params={"limit": 2}).json()
    rest = two.http.get("/v1/models/demand/aliases", params={"limit": 2, "cursor": first["next_cursor"]})
    assert first["has_more"]
    assert [alias["alias"] for alias in rest.json()["data"]] == ["stable"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"version": 0}, "/version"),
        ({"version": "2"}, "/version"),
        ({"version": 2**31}, "/version"),
        ({}, "/version"),
        ({"shadow": 2}, "/version"),
        ({"version": 1, "weight": 1}, "/weight"),
        ({"version": 1, "versions": {"1": 1}}, "/version"),
        ({"versions": {}}, "/versions"),
        ({"versions": [1]}, "/versions"),
        ({"versions": {"1": 0.5, "2": 0.6}}, "/versions"),
        ({"versions": {"1": 0.5, "2": "0.5"}}, "/versions/2"),
        ({"versions": {"1": 1.5, "2": -0.5}}, "/versions/2"),
        ({"versions": {"1": 1, "2": 0}}, "/versions/2"),
        ({"versions": {"1": 0.5, "two": 0.5}}, "/versions/two"),
        ({"versions": {str(number): 0.05 for number in range(1, 21)}}, "/versions"),
        ({"version": 1, "shadow": 1}, "/shadow"),
        ({"version": 1, "shadow": "2"}, "/shadow"),
        ({"versions": {"1": 0.5, "2": 0.5}, "shadow": 2}, "/shadow"),
    ],
)
def test_a_bad_alias_is_refused_with_the_field_that_is_wrong(
    unmoved: Service, body: dict[str, object], pointer: str
) -> None:
    errors = problem(unmoved.http.put(PRODUCTION, json=body), 422)["errors"]
    assert [error["pointer"] for error in errors] == [pointer]


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e400"])
def test_a_share_is_finite(unmoved: Service, value: str) -> None:
    answer = unmoved.http.put(
        PRODUCTION,
        content=f'{{"versions": {{"1": {value}}}}}',
        headers={"Content-Type": "application/json"},
    )
    problem(answer, 422)


@pytest.mark.parametrize(
    ("body", "places"),
    [
        ({"version": 9}, ["/version"]),
        ({"versions": {"1": 0.5, "9": 0.5}}, ["/versions/9"]),
        ({"versions": {"1": 0.5, "9": 0.5}, "shadow": 8}, ["/versions/9", "/shadow"]),
        ({"version": 1, "shadow": 9}, ["/shadow"]),
    ],
)
def test_a_version_that_does_not_exist_is_pointed_at(
    unmoved: Service, body: dict[str, object], places: list[str]
) -> None:
    errors = problem(unmoved.http.put(PRODUCTION, json=body), 404)["errors"]
    assert [error["pointer"] for error in errors] == places


def test_predictors_load_ahead_what_an_alias_will_need(
    two: Service, redis_server: Valkey, tmp_path: Path
) -> None:
    two.version(tmp_path / "three")
    with two.state.readers() as session:
        stored = {row.version: models.reference(row) for row in session.scalars(select(ModelVersion))}
    ordered: list[str] = []

    def message(*versions: int) -> bool:
        ordered.extend(fake.consumer.take_preloads())
        return {stored[version] for version in versions} <= set(ordered)

    with fake_predictor(redis_server.url, two.settings.lane) as fake:
        two.http.put(PRODUCTION, json={"version": 2})
        until(lambda: message(2), what="the order to load one version")
        assert not message(1)
        two.http.put(PRODUCTION, json={"versions": {"1": 0.5, "2": 0.5}, "shadow": 3})
        until(lambda: message(1, 3), what="the orders to load three versions")
        ordered.clear()
        problem(two.http.put(PRODUCTION, json={"version": 9}), 404)


def test_a_version_under_an_alias_cannot_be_deleted(two: Service) -> None:
    assert "production" in problem(two.http.delete("/v1/models/demand/versions/1"), 409)["detail"]
    assert two.http.delete("/v1/models/demand/versions/2").status_code == 204
    problem(two.http.get("/v1/models/demand/versions/2"), 404)
    problem(two.http.put(PRODUCTION, json={"version": 2}), 404)


def test_a_small_share_and_a_shadow_keep_a_version_too(two: Service) -> None:
    for body in ({"versions": {"1": 0.99, "2": 0.01}}, {"version": 1, "shadow": 2}):
        assert two.http.put(PRODUCTION, json=body).status_code == 200
        detail = problem(two.http.delete("/v1/models/demand/versions/2"), 409)["detail"]
        assert detail == "The alias production names version 2; move it first"
    two.http.put(PRODUCTION, json={"version": 1})
    assert two.http.delete("/v1/models/demand/versions/2").status_code == 204


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/none",
        "/v1/models/none/versions",
        "/v1/models/none/aliases",
        "/v1/models/none/aliases/production",
        "/v1/models/demand/aliases/canary",
        "/v1/models/demand/versions/9",
        "/v1/models/demand/versions/9/artifact",
    ],
)
def test_what_is_not_there_is_not_found(unmoved: Service, path: str) -> None:
    problem(unmoved.http.get(path), 404)


def test_models_are_listed_newest_first(running: Service, tmp_path: Path) -> None:
    for name in ("zebra", "ant", "mole"):
        running.version(tmp_path / name, model=name)
    first = running.http.get("/v1/models", params={"limit": 2}).json()
    rest = running.http.get("/v1/models", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [model["name"] for page in (first, rest) for model in page["data"]] == ["mole", "ant", "zebra"]


def test_an_empty_model_frees_its_name_for_another_task(on_sqlite: Service, tmp_path: Path) -> None:
    on_sqlite.version(tmp_path / "one")
    path = "/v1/models/demand"
    assert "has version 1" in problem(on_sqlite.http.delete(path), 409)["detail"]
    assert on_sqlite.http.delete(PRODUCTION).status_code == 204
    assert on_sqlite.http.delete(f"{path}/versions/1").status_code == 204
    pairs = "text,label\n" + "".join(f"good {n},a\nbad {n},b\n" for n in range(30))
    texts = on_sqlite.upload(pairs.encode(), "texts.csv", task="classification").json()["id"]
    refused = on_sqlite.submit(texts, task="classification", options={})
    assert "DELETE it" in problem(refused, 422)["detail"]
    assert on_sqlite.http.delete(path).status_code == 204
    problem(on_sqlite.http.get(path), 404)
    problem(on_sqlite.http.delete(path), 404)
    assert on_sqlite.submit(texts, task="classification", options={}).status_code == 202


def test_a_model_that_a_job_trains_is_kept(on_sqlite: Service, tmp_path: Path) -> None:
    on_sqlite.version(tmp_path / "one")
    job = on_sqlite.job()
    on_sqlite.http.delete(PRODUCTION)
    on_sqlite.http.delete("/v1/models/demand/versions/1")
    assert job in problem(on_sqlite.http.delete("/v1/models/demand"), 409)["detail"]
    on_sqlite.finish(on_sqlite.claim(job), tmp_path / "two")
    assert on_sqlite.http.get("/v1/models/demand/versions").json()["data"][0]["version"] == 2


UNTRAINED = ["", "/versions", "/versions/1", "/aliases", "/aliases/production"]


@pytest.mark.parametrize("below", UNTRAINED)
def test_a_model_that_is_still_training_is_not_no_model(running: Service, below: str) -> None:
    job = running.job()
    result = problem(running.http.get(f"/v1/models/demand{below}"), 404)
    assert result["type"] == "/problems/model-not-trained"
    assert result["detail"] == f"The model demand has no version yet: its job {job} is queued"
    lease = running.claim(job)
    running.tell(lease, progress={"fraction": 0.414})
    answer = running.http.get(f"/v1/models/demand{below}")
    assert answer.json()["detail"].endswith(f"its job {job} is running, 41%")
    assert int(answer.headers["retry-after"]) >= 1


def test_every_protocol_says_that_a_model_is_still_training(running: Service) -> None:
    job = running.job()
    expected = f"The model demand has no version yet: its job {job} is queued"
    predicted = running.http.post("/v1/models/demand/predict", json={"instances": [{"values": [1]}]})
    assert problem(predicted, 404)["detail"] == expected
    batch = running.http.post("/v1/models/demand/batch-predictions", json={"dataset": "ds_1"})
    assert problem(batch, 404)["detail"] == expected
    for method, path in (("POST", "/v2/models/demand/infer"), ("GET", "/v2/models/demand")):
        assert running.http.request(method, path, json={"inputs": []}).json() == {"error": expected}
    completion = running.http.post("/openai/v1/completions", json={"model": "demand", "prompt": "a"})
    assert (completion.status_code, completion.json()["error"]["message"]) == (404, expected)
    assert running.http.get("/openai/v1/models/demand").json()["error"]["message"] == expected


def test_a_training_that_ended_without_a_version_is_named(running: Service) -> None:
    job = running.job()
    running.http.post(f"/v1/jobs/{job}/cancel")
    detail = problem(running.http.get("/v1/models/demand"), 404)["detail"]
    assert detail == f"There is no model demand; its newest job {job} is cancelled"
    assert problem(running.http.get("/v1/models/other"), 404)["detail"] == "There is no model other"


def test_a_missing_alias_is_told_which_there_are(two: Service) -> None:
    detail = problem(two.http.get("/v1/models/demand/aliases/canary"), 404)["detail"]
    assert detail == "The model demand has no alias canary; it has production"
    two.http.delete(PRODUCTION)
    detail = problem(two.http.get(PRODUCTION), 404)["detail"]
    assert detail == "The model demand has no alias production; its newest version is 2"
