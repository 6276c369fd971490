"""`recurra batch` against the real application, with the worker played by the test."""

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.cli import app
from recurra.describe import describe_job
from tests.app.api.routes.test_batches import WHOLE, finish, published
from tests.support.fixtures.servers import until
from tests.support.fixtures.service import Service

Run = Callable[..., Result]


@pytest.fixture
def run(on_sqlite: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.setenv("RECURRA_URL", str(on_sqlite.http.base_url))
    published(on_sqlite, tmp_path / "v1")

    def invoke(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return invoke


def batches(service: Service) -> list[str]:
    result = service.http.get("/v1/jobs").json()["data"]
    return [job["id"] for job in result if job["kind"] == "batch_predict"]


def played(service: Service, directory: Path) -> threading.Thread:
    """A worker that finishes the first batch that comes."""

    def work() -> None:
        until(lambda: batches(service), what="a batch")
        lease = service.claim(batches(service)[0])
        progress = {"fraction": 0.5, "instances": 2, "total": 3, "samples_per_second": 9.0}
        service.tell(lease, progress=progress)
        finish(service, lease, directory)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_batch_is_submitted_watched_and_saved(run: Run, on_sqlite: Service, tmp_path: Path) -> None:
    worker, target = played(on_sqlite, tmp_path), tmp_path / "result.jsonl"
    done = run("batch", "demand", on_sqlite.dataset(), "--parameter", "horizon=2", "--output", target)
    worker.join()
    assert done.exit_code == 0, done.output
    assert target.read_bytes() == WHOLE
    assert "3 instances, 1 could not be predicted" in done.stderr
    assert f"{len(WHOLE)} bytes" in done.stderr
    job = on_sqlite.http.get(f"/v1/jobs/{batches(on_sqlite)[0]}").json()
    assert job["options"] == {"parameters": {"horizon": 2}}


def test_without_an_output_file_the_result_is_named(run: Run, on_sqlite: Service, tmp_path: Path) -> None:
    worker = played(on_sqlite, tmp_path)
    done = run("batch", "demand", on_sqlite.dataset(), "--alias", "production", "--json")
    worker.join()
    assert done.exit_code == 0, done.output
    job = json.loads(done.stdout)
    assert (job["kind"], job["status"]) == ("batch_predict", "succeeded")
    assert f"/v1/jobs/{job['id']}/result" in done.stderr


def test_a_detached_batch_names_the_job(run: Run, on_sqlite: Service) -> None:
    done = run("batch", "demand", on_sqlite.dataset(), "--version", 1, "--detach")
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == batches(on_sqlite)[0]
    assert "recurra jobs watch job_" in done.stderr
    shown = json.loads(run("batch", "demand", on_sqlite.dataset(), "--detach", "--json").stdout)
    assert shown["status"] == "queued"


def test_ctrl_c_leaves_the_batch_running_and_saves_nothing(
    run: Run, on_sqlite: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("app.cli.watch.follow_job", interrupt)
    target = tmp_path / "result.jsonl"
    done = run("batch", "demand", on_sqlite.dataset(), "--output", target)
    assert done.exit_code == 0, done.output
    assert "come back with: recurra jobs watch job_" in done.stderr
    assert not target.exists()


def test_what_the_server_refuses_is_shown(run: Run, on_sqlite: Service) -> None:
    done = run("batch", "demand", on_sqlite.dataset(), "--parameter", "horizon=99")
    assert done.exit_code == 1
    assert "/parameters/horizon" in done.stderr
    assert run("batch", "nobody", on_sqlite.dataset()).exit_code == 1


@pytest.mark.parametrize(
    "wrong", [("--version", 1, "--alias", "best"), ("--detach", "--output", "x"), ("--version", 0)]
)
def test_wrong_usage_is_exit_status_two(run: Run, wrong: tuple[object, ...]) -> None:
    assert run("batch", "demand", "ds_1", *wrong).exit_code == 2


def test_a_batch_is_described_in_a_few_words() -> None:
    progress = {"fraction": 0.5, "instances": 2048, "total": 4096, "samples_per_second": 1500.0}
    message = {"status": "running", "progress": progress, "metrics": {"instances": 2048, "failed": 0}}
    assert describe_job(message) == "2,048/4,096, 1,500 samples/s"
