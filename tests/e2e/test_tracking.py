"""A training in MLflow, by a whole service whose operator names a tracking server."""

from contextlib import ExitStack
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from tests.support.fixtures.processes import up
from tests.support.fixtures.servers import until
from tests.support.fixtures.stack import Stack


@pytest.mark.filterwarnings("ignore")  # of MLflow's own database
@pytest.mark.timeout(300)
def test_a_training_becomes_a_run_with_its_curves(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(tracking_uri=uri)  # makes the tables, which two processes at a time cannot
    with up(tmp_path / "data", RECURRA_MLFLOW_URI=uri) as (process, url), ExitStack() as opened:
        stack = Stack(url, process.pid, tmp_path / "data")
        opened.callback(stack.http.close)
        job = stack.wait(stack.submit(stack.upload(), "tracked", network={"cell": "gru"}))
        assert job["status"] == "succeeded", job["error"]
        epochs = stack.http.get(f"/v1/jobs/{job['id']}/metrics").json()["epochs"]
        until(lambda: runs(client) == ["FINISHED"], 60, "the run")
    (experiment,) = client.search_experiments(filter_string="name = 'recurra/default/tracked'")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.data.params["network.cell"], run.data.params["options.horizon"]) == ("gru", "6")
    fit = [epoch for epoch in epochs if epoch["phase"] == "fit"]
    curve = client.get_metric_history(run.info.run_id, "valid_loss")
    assert [(point.step, round(point.value, 6)) for point in curve] == [
        (epoch["epoch"], round(epoch["valid_loss"], 6)) for epoch in fit
    ]
    assert run.data.metrics["test/smape"] > 0
    assert run.data.metrics["baseline/smape"] > 0


def runs(client: MlflowClient) -> list[str]:
    """The statuses of all runs."""
    experiments = [one.experiment_id for one in client.search_experiments()]
    return [run.info.status for run in client.search_runs(experiments)]
