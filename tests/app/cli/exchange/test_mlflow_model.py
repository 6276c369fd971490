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


COLUMNS = {"unique_id": "store", "ds": "day", "y": "sold"}  # of the upload
SCORE_FRAME = """
import json, sys
import mlflow, pandas
days = pandas.date_range("2026-01-01", periods=20, freq="D")
frame = pandas.DataFrame([
    {"store": store, "day": day, "sold": 10.0 + store + number % 7}
    for store in (7, 8) for number, day in enumerate(days)
])
model = mlflow.pyfunc.load_model(sys.argv[1])
forecast = model.predict(frame, params={"horizon": 3, "level": [60, 80]})
assert isinstance(forecast, pandas.DataFrame)
plain = model.predict(frame)
specs = [spec.name for spec in model.metadata.signature.params]
days = [str(forecast["day"].dtype), str(forecast["day"][0])]
print(json.dumps([list(forecast.columns), forecast["store"].tolist(), *days, len(plain), specs]))
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
        save(directory / "model", network, {"task": task, "state": plan.state, "columns": COLUMNS})
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


def score(code: str, target: Path, directory: Path, given: Json | None = None) -> str:
    """What a program prints in an interpreter that knows nothing of this checkout."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(target)],
        input=json.dumps(given), capture_output=True, text=True, cwd=directory, timeout=170, check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": str(directory), "MLFLOW_TRACKING_URI": str(directory)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow  # MLflow takes seconds to import
@pytest.mark.parametrize("task", INSTANCES)
def test_mlflow_scores_an_exported_version_alone(task: str, tmp_path: Path) -> None:
    files, target = artifact(tmp_path / "made", task), tmp_path / "exported"
    facts = json.loads((files / version_directory.VERSION_FILE).read_text())
    mlflow_model.write(target, files, facts, 0.0)
    given = {"instances": INSTANCES[task], "parameters": PARAMETERS.get(task, {})}
    listed, framed = json.loads(score(SCORE, target, tmp_path, given))
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


@pytest.mark.slow
def test_mlflow_forecasts_a_frame_in_long_form(tmp_path: Path) -> None:
    files, target = artifact(tmp_path / "made", "forecasting"), tmp_path / "exported"
    facts = json.loads((files / version_directory.VERSION_FILE).read_text())
    mlflow_model.write(target, files, facts, 0.0)
    columns, stores, dtype, first, count, parameters = json.loads(score(SCORE_FRAME, target, tmp_path))
    assert columns == ["store", "day", "mean", "median", "lo-80", "lo-60", "hi-60", "hi-80"]
    assert stores == [7] * 3 + [8] * 3
    assert (dtype.startswith("datetime64"), first, count) == (True, "2026-01-21 00:00:00", 8)
    assert parameters == ["horizon", "quantiles", "level"]


def sales(days: int = 20, **more: list[object]) -> pd.DataFrame:
    """Two stores in long form, with the columns of the upload."""
    stamps = pd.date_range("2026-01-01", periods=days, freq="D")
    rows = [(store, stamp, 10.0 + number % 7) for store in ("a", "b") for number, stamp in enumerate(stamps)]
    return pd.DataFrame(rows, columns=["store", "day", "sold"]).assign(**more)


@pytest.fixture(scope="module")
def forecaster(tmp_path_factory: pytest.TempPathFactory) -> ExportedVersion:
    return ExportedVersion(artifact(tmp_path_factory.mktemp("long") / "made", "forecasting"))


def test_a_long_frame_has_the_forecasts_of_its_series(forecaster: ExportedVersion) -> None:
    frame = sales()
    forecast = forecaster.predict(frame.sample(frac=1, random_state=1), {"horizon": 2, "level": [80.0]})
    instances = [
        {"item_id": store, "values": rows["sold"].tolist(), "start": "2026-01-01", "freq": "D"}
        for store, rows in frame.groupby("store")
    ]
    expected = {one["item_id"]: one for one in forecaster.predict(instances, {"horizon": 2, "level": [80]})}
    assert list(forecast.columns) == ["store", "day", "mean", "median", "lo-80", "hi-80"]
    for store, rows in forecast.groupby("store"):
        one = expected[store]
        assert rows["mean"].tolist() == one["mean"]
        assert rows["hi-80"].tolist() == one["intervals"]["80"]["upper"]
        assert [f"{day:%Y-%m-%d}" for day in rows["day"]] == one["timestamps"]
    records = forecaster.predict(frame.to_dict(orient="records"), {"horizon": 2})
    assert [one["item_id"] for one in records] == ["a", "b"]


def test_names_of_the_task_one_series_and_missing_values(forecaster: ExportedVersion) -> None:
    frame = sales().query("store == 'a'").drop(columns="store").rename(columns={"day": "ds", "sold": "y"})
    frame.loc[3, "y"] = None
    forecast = forecaster.predict(frame.drop(index=5).assign(ds=lambda one: one["ds"].astype(str)))
    assert list(forecast.columns[:3]) == ["ds", "mean", "median"]
    assert forecast["ds"].tolist() == ["2026-01-21", "2026-01-22", "2026-01-23", "2026-01-24"]
    assert len([name for name in forecast.columns if name.startswith(("lo-", "hi-"))]) % 2 == 0


@pytest.mark.parametrize(
    ("frame", "place", "word"),
    [
        (sales(day=[None] * 40), "/instances/0/day", "missing"),
        (sales(sold=["high"] * 40), "/instances/0", "number"),
        (sales(price=[1.0] * 40), "/instances/0/price", "knows no column"),
        (sales().drop(columns="sold"), "/instances/0", "no y"),
        (pd.concat([sales(), sales().tail(1)]), "/instances/40/day", "Another row"),
    ],
)
def test_a_fault_of_a_frame_is_at_its_row(
    forecaster: ExportedVersion, frame: pd.DataFrame, place: str, word: str
) -> None:
    with pytest.raises(Invalid) as refused:
        forecaster.predict(frame)
    [problem] = refused.value.problems
    assert problem.pointer == place
    assert word in problem.detail


def test_a_fault_of_a_parameter_is_there(forecaster: ExportedVersion) -> None:
    with pytest.raises(Invalid) as refused:
        forecaster.predict(sales(), {"level": [99.9]})
    assert refused.value.problems[0].pointer == "/parameters/level/0"


def test_absent_parameters_are_none(forecaster: ExportedVersion) -> None:
    """MLflow passes the defaults of the signature, where a list without a value is empty."""
    frame = sales()
    absent: Json = {"horizon": None, "level": [], "quantiles": []}
    assert forecaster.predict(frame, absent).equals(forecaster.predict(frame))
