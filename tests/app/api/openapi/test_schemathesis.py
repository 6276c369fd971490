"""`schemathesis run` over the whole document: no answer that it does not describe, whatever is sent."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.tasks.forecasting.options import ForecastingOptions
from app.tasks.forecasting.task import TASK
from tests.app.api.routes.test_predictions import publish
from tests.support.factories.series import series_set, waves
from tests.support.fixtures.servers import Valkey
from tests.support.fixtures.service import Service, service

ROOT = Path(__file__).parents[4]
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
IS_SLOW = os.environ.get("RECURRA_HYPOTHESIS") == "slow"
# Their unions by task have thousands of boundary values, which only `make test-slow` sends.
WITHOUT_LARGE_UNIONS = """
[[operations]]
include-operation-id = ["submit_job", "submit_sweep", "predict"]
phases.coverage.enabled = false
"""
# Half of the names in paths are of things that there are; nothing of them is deleted.
KNOWN_NAMES = """
[dictionaries]
{dictionaries}

[parameters]
{parameters}

[[operations]]
include-method = "DELETE"
parameters = {{ "path.name" = "nobody", "path.dataset_id" = "nothing", "path.job_id" = "nothing" }}
"""


@pytest.fixture
def stocked(
    tmp_path: Path, sqlite_template: Path, redis_server: Valkey
) -> Iterator[tuple[Service, dict[str, str]]]:
    """A service with one thing of each kind, and their names by the parameters of requests."""
    (tmp_path / "test.db").write_bytes(sqlite_template.read_bytes())
    with service(tmp_path, f"sqlite:///{tmp_path / 'test.db'}", redis_server.url) as made:
        plan = TASK.plan(series_set(waves(4, 60)).arrays(), ForecastingOptions(horizon=6), 0)
        publish(made, tmp_path / "version", plan)
        job = made.http.get("/v1/jobs").json()["data"][0]
        search = {"network.cell": ["gru", "lstm"]}
        request = {"task": "forecasting", "model": "demand", "options": {"horizon": 6}, "search": search}
        sweep = made.http.post("/v1/sweeps", json=request | {"dataset": job["dataset"]}).json()
        names = {"name": "demand", "model": "demand", "number": "1", "version": "1", "alias": "production"}
        names |= {"dataset_id": job["dataset"], "job_id": job["id"], "sweep_id": sweep["id"]}
        yield made, {f"path.{key}": name for key, name in names.items()} | {"body.dataset": job["dataset"]}


def configuration(known: dict[str, str]) -> str:
    """What the file next to this one has, with the names of the things that there are."""
    lists = [f'{key.replace(".", "-")} = {{ values = ["{name}"] }}' for key, name in known.items()]
    uses = [f'"{key}" = {{ dictionary = "{key.replace(".", "-")}", probability = 0.5 }}' for key in known]
    names = KNOWN_NAMES.format(dictionaries="\n".join(lists), parameters="\n".join(uses))
    return CONFIGURATION.read_text() + names + ("" if IS_SLOW else WITHOUT_LARGE_UNIONS)


@pytest.mark.hypothesis
@pytest.mark.timeout(1800 if IS_SLOW else 180)
def test_it_finds_nothing(stocked: tuple[Service, dict[str, str]], tmp_path: Path) -> None:
    running, known = stocked
    config = tmp_path / "schemathesis.toml"
    config.write_text(configuration(known))
    command: list[str | Path] = [
        sys.executable, "-m", "schemathesis.cli", "--no-color", "--config-file", config,
        "run", str(running.http.base_url.join("/openapi.json")),
        "--phases", "examples,coverage,fuzzing,stateful", "--max-examples", "100" if IS_SLOW else "3",
    ]  # fmt: skip
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
