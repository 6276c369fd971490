"""Models, versions and aliases over HTTP."""

import io
import zipfile
from pathlib import Path

import pytest

from tests.service import Service, problem


@pytest.fixture
def two(running: Service, tmp_path: Path) -> Service:
    running.version(tmp_path / "one")
    running.version(tmp_path / "two")
    return running


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


def test_an_alias_moves_and_goes(two: Service) -> None:
    answer = two.http.put("/v1/models/demand/aliases/production", json={"version": 2})
    assert answer.status_code == 200
    assert answer.json()["version"] == 2
    assert two.http.put("/v1/models/demand/aliases/stable", json={"version": 1}).status_code == 200
    assert two.http.get("/v1/models/demand").json()["aliases"] == {"production": 2, "stable": 1}
    assert two.http.delete("/v1/models/demand/aliases/stable").status_code == 204
    problem(two.http.delete("/v1/models/demand/aliases/stable"), 404)


@pytest.mark.parametrize("body", [{"version": 0}, {"version": "2"}, {}, {"version": 1, "weight": 1}])
def test_a_bad_alias_is_refused(two: Service, body: dict[str, object]) -> None:
    problem(two.http.put("/v1/models/demand/aliases/production", json=body), 422)


def test_a_version_under_an_alias_cannot_be_deleted(two: Service) -> None:
    assert "production" in problem(two.http.delete("/v1/models/demand/versions/1"), 409)["detail"]
    assert two.http.delete("/v1/models/demand/versions/2").status_code == 204
    problem(two.http.get("/v1/models/demand/versions/2"), 404)
    problem(two.http.put("/v1/models/demand/aliases/production", json={"version": 2}), 404)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/none",
        "/v1/models/none/versions",
        "/v1/models/demand/versions/9",
        "/v1/models/demand/versions/9/artifact",
    ],
)
def test_what_is_not_there_is_not_found(two: Service, path: str) -> None:
    problem(two.http.get(path), 404)


def test_models_are_listed_newest_first(running: Service, tmp_path: Path) -> None:
    for name in ("zebra", "ant", "mole"):
        running.version(tmp_path / name, model=name)
    first = running.http.get("/v1/models", params={"limit": 2}).json()
    rest = running.http.get("/v1/models", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [model["name"] for page in (first, rest) for model in page["data"]] == ["mole", "ant", "zebra"]
