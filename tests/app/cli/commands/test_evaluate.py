"""`recurra evaluate` and guarded promotions, with the worker played by the test."""

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.cli import app
from recurra.describe import describe_job
from recurra.objects.evaluation import describe_figure
from tests.app.api.routes.test_batches import published
from tests.app.api.routes.test_evaluations import LINES, finish, metrics
from tests.support.fixtures.servers import until
from tests.support.fixtures.service import Service, monthly

Run = Callable[..., Result]


@pytest.fixture
def run(on_sqlite: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.setenv("RECURRA_URL", str(on_sqlite.http.base_url))
    for name in ("v1", "v2"):
        published(on_sqlite, tmp_path / name)

    def invoke(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return invoke


def evaluations(service: Service) -> list[str]:
    return [job["id"] for job in service.http.get("/v1/jobs?kind=evaluate").json()["data"]]


def played(service: Service, directory: Path) -> threading.Thread:
    """A worker that finishes the first evaluation that comes."""

    def work() -> None:
        until(lambda: evaluations(service), what="an evaluation")
        finish(service, evaluations(service)[0], directory, metrics(2.0, 1.0, 3.0))

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_file_is_evaluated_and_the_figures_are_shown(run: Run, on_sqlite: Service, tmp_path: Path) -> None:
    (tmp_path / "newer.csv").write_bytes(monthly(months=72))
    worker, target = played(on_sqlite, tmp_path), tmp_path / "lines.jsonl"
    arguments = ("--versions", "1,2", "--windows", 2, "--step", 3, "--baseline", "theta")
    done = run("evaluate", "demand", tmp_path / "newer.csv", *arguments, "--output", target)
    worker.join()
    assert done.exit_code == 0, done.output
    assert target.read_bytes() == LINES
    assert "version 1" in done.stdout
    assert "2 (1 to 3)" in done.stdout
    options = on_sqlite.http.get(f"/v1/jobs/{evaluations(on_sqlite)[0]}").json()["options"]
    assert (options["versions"], options["windows"], options["step"]) == ([1, 2], 2, 3)
    assert options["baselines"] == ["seasonal_naive", "theta"]


def test_a_detached_evaluation_names_the_job(run: Run, on_sqlite: Service) -> None:
    done = run("evaluate", "demand", on_sqlite.dataset(), "--detach")
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == evaluations(on_sqlite)[0]


@pytest.mark.parametrize(
    "arguments",
    [("ds_1", "--versions", "one"), ("nothing.csv",), ("ds_1", "--detach", "--output", "x")],
)
def test_wrong_usage_ends_with_status_2(run: Run, arguments: tuple[str, ...]) -> None:
    assert run("evaluate", "demand", *arguments).exit_code == 2


def test_a_guarded_promotion_is_refused_or_made(run: Run, on_sqlite: Service, tmp_path: Path) -> None:
    job_id = run("evaluate", "demand", on_sqlite.dataset(), "--versions", "1,2", "--detach").stdout.strip()
    finish(on_sqlite, job_id, tmp_path, metrics(2.0, 1.0, 3.0))
    guard = ("--guard", job_id, "--metric", "smape")
    refused = run("models", "promote", "demand", 2, *guard)
    assert refused.exit_code == 1
    assert "version 2 has smape 11.0" in refused.output.replace("\n", " ")
    assert run("models", "promote", "demand", 2, "--guard", job_id).exit_code == 2
    assert run("models", "promote", "demand", 1, *guard).exit_code == 0
    assert json.loads(run("models", "promote", "demand", 1, *guard, "--json").stdout)["version"] == 1


def test_figures_and_progress_in_words() -> None:
    assert describe_figure({"value": 11.234, "low": 10.0, "high": 12.5}) == "11.23 (10 to 12.5)"
    assert describe_figure({"value": 1.0, "low": None, "high": None}) == "1"
    assert describe_figure(None) == ""
    progress = {"phase": "refit", "version": 3, "window": 1, "fraction": 0.5}
    job = {"status": "running", "progress": progress, "training": {}}
    assert describe_job(job) == "training version 3 before window 2"
