"""An exported model by the real MLflow, in an interpreter without torch, a service, or this checkout."""

import atexit
import json
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pandas as pd
import pytest

from app.cli.exchange import mlflow_model, version_directory
from app.errors import Invalid
from app.infrastructure.artifacts import digest_files
from app.tasks.forecasting.options import ForecastingOptions
from app.tasks.forecasting.task import TASK
from app.typedefs import Json
from tests.support.factories.series import series_set, waves
from tests.workers.batch.test_texts import Place
from workers.artifact.export import save
from workers.batch.pyfunc import ExportedVersion
from workers.outputs import build
from workers.training.pipeline import model_config

INSTANCES: dict[str, list[Json]] = {
    "forecasting": [
        {"values": [1.0, 2.0, None, 4.0, 5.0], "start": "2026-01-01", "freq": "D", "item_id": "a"},
        {"values": [3.0, 1.0, 3.0]},
    ],
    "tagging": [{"text": "Ann flew to Paris."}, {"text": "So did Ben."}],
    "translation": [{"text": "good day"}],
    "generation": [{"prompt": "the "}],
}
PARAMETERS: dict[str, Json] = {"forecasting": {"horizon": 3}, "generation": {"max_tokens": 5, "seed": 3}}
SCORE = """
import json, sys
import mlflow, pandas
for name in ("torch", "redis", "celery", "alembic"):
    assert name not in sys.modules
    sys.modules[name] = None  # importing it fails
given = json.load(sys.stdin)
model = mlflow.pyfunc.load_model(sys.argv[1], model_config={"parameters": given["parameters"]})
import app, workers
assert all(package.__file__.startswith(sys.argv[1]) for package in (app, workers)), app.__file__
frame = pandas.DataFrame(given["instances"])
print(json.dumps([model.predict(given["instances"]), model.predict(frame)]))
"""


def untrained(directory: Path, task: str) -> Path:
    """The files of a network that has learned nothing, made once for all tests and copied."""
    shutil.copytree(made_untrained(task), directory)
    return directory / "model"


@cache
def made_untrained(task: str) -> Path:
    directory = Path(mkdtemp())
    atexit.register(shutil.rmtree, directory)
    if task == "forecasting":
        plan = TASK.plan(series_set(waves(6, 60)).arrays(), ForecastingOptions(horizon=4), 0)
        network = build(model_config(plan, {"hidden_size": 8}), 0)
        save(directory / "model", network, {"task": task, "state": plan.state})
    else:
        Place(directory, task)
    return directory


def artifact(directory: Path, task: str) -> Path:
    """The same with what the version's row would say."""
    files = untrained(directory, task)
    sizes = [path.stat().st_size for path in files.iterdir()]
    facts = {
        "task": task, "network": {}, "options": {}, "parameters": 1, "metrics": {}, "baseline": {},
        "sha256": digest_files(files.iterdir()), "bytes": sum(sizes), "model": "m", "version": 1,
        "job": "job_1", "dataset": "ds_1", "created_at": "2026-01-31T09:30:00Z",
    }  # fmt: skip
    version_directory.write_facts(files, facts)
    return files


@pytest.mark.slow  # MLflow takes seconds to import
@pytest.mark.parametrize("task", INSTANCES)
def test_mlflow_scores_an_exported_version_alone(task: str, tmp_path: Path) -> None:
    files, target = artifact(tmp_path / "made", task), tmp_path / "exported"
    facts = json.loads((files / version_directory.VERSION_FILE).read_text())
    mlflow_model.write(target, files, facts, 0.0)
    given = {"instances": INSTANCES[task], "parameters": PARAMETERS.get(task, {})}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCORE, str(target)],
        input=json.dumps(given), capture_output=True, text=True, cwd=tmp_path, timeout=170, check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "MLFLOW_TRACKING_URI": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    listed, framed = json.loads(done.stdout)
    expected = ExportedVersion(files, PARAMETERS.get(task)).predict(INSTANCES[task])
    assert listed == framed == json.loads(json.dumps(expected))
    if task == "forecasting":
        assert [len(prediction["mean"]) for prediction in listed] == [3, 3]
        assert listed[0]["timestamps"][0] == "2026-01-06"
    assert not [path for path in target.rglob("*") if path.suffix in {".pkl", ".pickle"}]


def test_an_instance_that_cannot_be_predicted_is_named(tmp_path: Path) -> None:
    version = ExportedVersion(artifact(tmp_path / "made", "forecasting"))
    with pytest.raises(Invalid, match="/instances/1"):
        version.predict(
            [{"values": [1.0, 2.0]}, {"values": [1.0], "freq": "fortnight", "start": "2026-01-01"}]
        )
    with pytest.raises(Invalid, match="/instances/0"):
        version.predict({"value": [1.0]})
    assert version.predict(pd.DataFrame([])) == []
