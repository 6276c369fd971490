"""Two projects on a whole service that needs keys, as their users' clients meet it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.fixtures.processes import ENVIRONMENT, up
from tests.support.fixtures.servers import until
from tests.support.fixtures.service import monthly

TEXT = ("The rain came down and the river rose. " * 200).encode()
SMALL = {"network": {"cell": "gru", "hidden_size": 8}, "training": {"epochs": 1, "seed": 7}}


class User:
    """A client of one project."""

    def __init__(self, url: str, key: str) -> None:
        self.url, self.key = url, key
        self.http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60)

    def upload(self, name: str, content: bytes, task: str) -> str:
        answer = self.http.post("/v1/datasets", files={"file": (name, content)}, data={"task": task})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def finish(self, answer: httpx.Response) -> dict[str, Any]:
        """The job of an answer, once it has ended well."""
        assert answer.status_code == 202, answer.text
        path, ended = answer.headers["Location"], ("succeeded", "failed", "cancelled")
        until(lambda: self.http.get(path).json()["status"] in ended, seconds=120, what="the job's end")
        job: dict[str, Any] = self.http.get(path).json()
        assert job["status"] == "succeeded", job
        return job


def recurra(directory: Path, *arguments: str, **variables: str) -> str:
    environment = ENVIRONMENT | {"RECURRA_DATA_DIR": str(directory)} | variables
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[User, User]]:
    """A user of each of two projects; their keys are made before the service first runs."""
    directory = tmp_path_factory.mktemp("keys")
    made = [recurra(directory, "keys", "create", name, "--project", name).strip() for name in ("ann", "bob")]
    with up(directory, RECURRA_AUTH="keys") as (_, url):
        users = tuple(User(url, key) for key in made)
        yield users  # type: ignore[misc]
        for user in users:
            user.http.close()


def test_each_project_trains_and_predicts_by_itself(users: tuple[User, User]) -> None:
    """The same name of a model in both, trained by workers that see all projects."""
    ann, bob = users
    for user, horizon in ((ann, 3), (bob, 5)):
        dataset = user.upload("sales.csv", monthly(), "forecasting")
        body = {"task": "forecasting", "dataset": dataset, "model": "sales", **SMALL}
        job = user.finish(user.http.post("/v1/jobs", json={**body, "options": {"horizon": horizon}}))
        assert job["model_version"] == 1
        batch = user.http.post("/v1/models/sales/batch-predictions", json={"dataset": dataset})
        user.finish(batch)
        lines = user.http.get(f"{batch.headers['Location']}/result").text.splitlines()
        assert [len(json.loads(line)["prediction"]["mean"]) for line in lines] == [horizon] * 3
    instance = {"instances": [{"values": [100.0 + month for month in range(36)]}]}
    for user, horizon in ((ann, 3), (bob, 5), (ann, 3)):
        answer = user.http.post("/v1/models/sales/predict", json=instance)
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["predictions"][0]["mean"]) == horizon
    assert httpx.post(f"{ann.url}/v1/models/sales/predict", json=instance).status_code == 401


def test_a_sweep_is_its_projects(users: tuple[User, User]) -> None:
    ann, bob = users
    dataset = bob.upload("again.csv", monthly(series=2), "forecasting")
    body = {"task": "forecasting", "dataset": dataset, "model": "swept", "options": {"horizon": 3}}
    search = {"search": {"network.cell": ["gru", "rnn"]}, "network": {"hidden_size": 4}, "seeds": 1}
    sweep = bob.finish(bob.http.post("/v1/sweeps", json={**body, **search, "training": {"epochs": 1}}))
    assert sweep["model_version"] == 1
    runs = bob.http.get("/v1/jobs", params={"sweep": sweep["id"]}).json()["data"]
    assert len(runs) == 2
    for path in (f"/v1/sweeps/{sweep['id']}", f"/v1/jobs/{runs[0]['id']}", "/v1/models/swept"):
        assert ann.http.get(path).status_code == 404
        assert bob.http.get(path).status_code == 200


def test_openais_client_sends_the_key(users: tuple[User, User]) -> None:
    ann, bob = users
    dataset = ann.upload("novel.txt", TEXT, "generation")
    ann.finish(
        ann.http.post("/v1/jobs", json={"task": "generation", "dataset": dataset, "model": "novel", **SMALL})
    )
    openai = import_module("openai")
    with openai.OpenAI(base_url=f"{ann.url}/openai/v1", api_key=ann.key, max_retries=0) as client:
        assert [model.id for model in client.models.list()] == ["novel"]
        assert client.completions.create(model="novel", prompt="The rain", max_tokens=4).choices
    with openai.OpenAI(base_url=f"{bob.url}/openai/v1", api_key=bob.key, max_retries=0) as client:
        assert list(client.models.list()) == []
        with pytest.raises(openai.NotFoundError):
            client.completions.create(model="novel", prompt="The rain")
    with (
        openai.OpenAI(base_url=f"{bob.url}/openai/v1", api_key="rk_nonsense", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError),
    ):
        client.models.list()


def test_tritons_client_sends_the_key(users: tuple[User, User]) -> None:
    triton = import_module("tritonclient.http")
    address = users[0].url.removeprefix("http://")
    with triton.InferenceServerClient(address) as client:
        bearer = {"Authorization": f"Bearer {users[0].key}"}
        assert client.is_server_live(headers=bearer)
        assert client.is_model_ready("sales", headers=bearer)
        assert not client.is_server_live()
    with triton.InferenceServerClient(address) as client:
        client.register_plugin(import_module("tritonclient.http.auth").BasicAuth("any", users[1].key))
        assert client.is_model_ready("swept")
        assert not client.is_model_ready("novel")


def test_the_command_line_sends_the_key(users: tuple[User, User], tmp_path: Path) -> None:
    ann, bob = users
    listed = recurra(tmp_path, "models", "list", "--json", "--url", bob.url, RECURRA_API_KEY=bob.key)
    assert {model["name"] for model in json.loads(listed)} == {"sales", "swept"}
    listed = recurra(tmp_path, "jobs", "list", "--json", "--url", ann.url, "--api-key", ann.key)
    assert all(job["model"] in {"sales", "novel"} for job in json.loads(listed))
    environment = ENVIRONMENT | {"RECURRA_URL": ann.url}
    command = [sys.executable, "-m", "app.cli", "jobs", "list"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert "needs a key" in done.stderr
    assert "RECURRA_API_KEY" not in os.environ
