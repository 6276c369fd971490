"""A client that `openapi-python-client` generates from the document, used as its users would use it."""

import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from app.typedefs import Json
from tests.support.fixtures.servers import until
from tests.support.fixtures.service import monthly
from tests.support.fixtures.stack import TERMINAL, Stack

ROOT = Path(__file__).parents[2]
PACKAGE = "generated_client"
HISTORY = [100.0 + month + 5 * (month % 12) for month in range(48)]


@pytest.fixture(scope="module")
def document(stack: Stack) -> Json:
    found: Json = stack.http.get("/openapi.json").raise_for_status().json()
    return found


@pytest.fixture(scope="module")
def generated(stack: Stack, document: Json, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the generated package; a warning of the generator fails."""
    directory = tmp_path_factory.mktemp("generated")
    config = directory / "config.yaml"
    own = (ROOT / "docs" / "openapi-python-client.yaml").read_text()
    config.write_text(own + "post_hooks: []\n")  # of ruff, which would only format
    command: list[str | Path] = [
        sys.executable, "-m", "openapi_python_client", "generate", "--fail-on-warning", "--meta", "none",
        "--url", str(stack.http.base_url.join("/openapi.json")), "--config", config,
        "--output-path", directory / PACKAGE,
    ]  # fmt: skip
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, "arning" in done.stdout + done.stderr) == (0, False), done.stdout + done.stderr
    return directory / PACKAGE


@pytest.fixture(scope="module")
def of(generated: Path) -> Iterator[Callable[[str], Any]]:
    """What imports a module of the package."""
    sys.path.insert(0, str(generated.parent))
    yield lambda name: import_module(f"{PACKAGE}.{name}")
    sys.path.remove(str(generated.parent))
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def client(of: Callable[[str], Any], stack: Stack) -> Iterator[Any]:
    """A client that raises at any status that the document does not have."""
    address = str(stack.http.base_url)
    with of("client").Client(base_url=address, raise_on_unexpected_status=True, timeout=30) as made:
        yield made


def test_every_operation_is_generated(document: Json, generated: Path) -> None:
    wanted = {one["operationId"] for operations in document["paths"].values() for one in operations.values()}
    assert {path.stem for path in generated.glob("api/*/*.py")} - {"__init__"} == wanted


def test_it_uploads_trains_polls_predicts_and_sweeps(of: Callable[[str], Any], client: Any) -> None:
    models = of("models")
    file = of("types").File(io.BytesIO(monthly(months=72)), "shop.csv", "text/csv")
    upload = models.CreateDatasetBody(file=file, task=models.TaskName.FORECASTING)
    dataset = of("api.datasets.create_dataset").sync(client=client, body=upload)
    assert (dataset.task, dataset.format_) == (models.TaskName.FORECASTING, "csv")

    common = {"task": "forecasting", "dataset": dataset.id, "model": "generated"}
    common["options"] = models.ForecastingOptions(horizon=6)
    common["training"] = models.TrainingIn(epochs=1, batch_size=512)
    common["network"] = models.NetworkIn(hidden_size=8)
    job = of("api.jobs.submit_job").sync(client=client, body=models.ForecastingJobIn(**common))
    poll = of("api.jobs.get_job").sync
    until(lambda: poll(job.id, client=client).status in TERMINAL, 60, "the training", every=0.1)
    done = poll(job.id, client=client)
    assert (done.status, done.model_version, done.error) == (models.Status.SUCCEEDED, 1, None)

    instance = models.ForecastingInstance(values=HISTORY, item_id="x")
    request = models.ForecastingPredictIn(
        [instance], models.ForecastingParameters(horizon=3, quantiles=[0.1, 0.9])
    )
    answer = of("api.predictions.predict").sync("generated", client=client, body=request)
    assert isinstance(answer, models.ForecastingPredictOut)
    (forecast,) = answer.predictions
    assert (answer.version, forecast.item_id, len(forecast.mean)) == (1, "x", 3)
    assert set(forecast.quantiles.additional_properties) == {"0.1", "0.9"}

    search = models.ForecastingSweepInSearch.from_dict({"network.cell": ["gru", "rnn"]})
    wanted = models.ForecastingSweepIn(**common | {"model": "swept"}, search=search, seeds=1)
    sweep = of("api.sweeps.submit_sweep").sync(client=client, body=wanted)
    board = of("api.sweeps.get_sweep").sync
    until(lambda: board(sweep.id, client=client).status in TERMINAL, 90, "the sweep", every=0.1)
    result = board(sweep.id, client=client)
    assert (result.status, [row.rank for row in result.leaderboard]) == (models.Status.SUCCEEDED, [1, 2])


def test_files_come_as_bytes_and_errors_as_problems(of: Callable[[str], Any], client: Any) -> None:
    file = of("types").File(io.BytesIO(monthly(months=50)), "shop.csv", "text/csv")
    models = of("models")
    upload = models.CreateDatasetBody(file=file, task=models.TaskName.FORECASTING)
    dataset = of("api.datasets.create_dataset").sync(client=client, body=upload)
    content = of("api.datasets.download_dataset").sync(dataset.id, client=client)
    assert content.payload.read() == monthly(months=50)
    problem = of("api.jobs.get_job").sync("job_none", client=client)
    assert (problem.status, problem.title, problem.errors) == (404, "Not found", [])
