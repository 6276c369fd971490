"""A data directory of an older version is migrated and gives the same answers; a paused training goes on.

`older_data/` was written by commit 1ae84a2: 25 versions of all five tasks, sweeps, batch predictions, aliases
with shares and shadows, and six paused jobs; beside it are the answers of that commit. On the machine that
recorded them they are the same bit for bit; here floats may differ as between processors.
"""

import json
import lzma
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.typedefs import Json
from tests.support.fixtures.processes import up
from tests.support.fixtures.servers import until

HERE = Path(__file__).parent / "older_data"


@pytest.fixture(scope="module")
def recorded() -> Json:
    with lzma.open(HERE / "answers.json.xz", "rt") as file:
        answers: Json = json.load(file)
        return answers


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """The service of today on the old data."""
    directory = tmp_path_factory.mktemp("older")
    with tarfile.open(HERE / "data.tar.xz") as archive:
        archive.extractall(directory, filter="data")
    with up(directory / "olddata") as (_, url), httpx.Client(base_url=url, timeout=60) as client:
        yield client


def near(ours: Any, theirs: Any, path: str = "") -> None:
    """Assert that two JSON values agree: floats as between processors, all else exactly."""
    if isinstance(theirs, dict):
        assert ours.keys() >= theirs.keys(), path
        for key, value in theirs.items():
            near(ours[key], value, f"{path}/{key}")
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs), path
        for index, pair in enumerate(zip(ours, theirs, strict=True)):
            near(*pair, f"{path}/{index}")
    elif isinstance(theirs, float):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-5), path
    else:
        assert ours == theirs, path


def test_versions_of_all_tasks_answer_as_before(client: httpx.Client, recorded: Json) -> None:
    for request in recorded["requests"]:
        if "alias" in request["path"] or ("?" not in request["path"] and request["method"] == "POST"):
            continue  # the version that answers is drawn by shares
        answer = client.request(request["method"], request["path"], json=request["body"])
        assert answer.status_code == 200, answer.text
        near(answer.json(), request["answer"], request["path"])


def test_a_paused_training_goes_on_from_its_checkpoint(client: httpx.Client, recorded: Json) -> None:
    resumed = recorded["resumed"]
    path = f"/v1/jobs/{resumed['job']}"
    assert client.get(path).json()["status"] == "paused"
    assert client.post(f"{path}/resume").status_code == 202
    until(lambda: client.get(path).json()["status"] == "succeeded", 150, "the end of the training", every=0.2)
    epochs = client.get(f"{path}/metrics").json()["epochs"]
    timeless = [{name: value for name, value in epoch.items() if name != "seconds"} for epoch in epochs]
    expected = [
        {name: value for name, value in one.items() if name != "seconds"} for one in resumed["curves"]
    ]
    near(timeless, expected)
