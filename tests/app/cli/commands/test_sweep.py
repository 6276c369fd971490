"""`recurra sweep` against the real application, with conductor and workers played by the test."""

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.cli import app
from app.cli.leaderboard import print_leaderboard
from app.typedefs import Json
from recurra.describe import describe_job, log_key
from tests.app.api.routes.test_sweeps import play, step
from tests.support.fixtures.servers import until
from tests.support.fixtures.service import Service, monthly

Run = Callable[..., Result]
ASKED = (
    "--task", "forecasting", "--model", "demand", "--option", "horizon=6",
    "--search", "network.cell=rnn,lstm,gru",
)  # fmt: skip


@pytest.fixture
def run(on_sqlite: Service, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("RECURRA_URL", str(on_sqlite.http.base_url))
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "monthly.csv"
    path.write_bytes(monthly())
    return path


def sweeps(service: Service) -> list[dict[str, object]]:
    result: list[dict[str, object]] = service.http.get("/v1/sweeps").json()["data"]
    return result


def test_a_sweep_uploads_submits_watches_and_ranks(
    run: Run, on_sqlite: Service, csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = threading.Event()

    def noticed(job: Json) -> str:
        if job["status"] == "running":
            watched.set()
        return describe_job(job)

    def work() -> None:
        until(lambda: sweeps(on_sqlite), what="a sweep")
        sweep_id = str(sweeps(on_sqlite)[0]["id"])
        step(on_sqlite, sweep_id)
        until(watched.is_set, what="a look at the running sweep")
        while not step(on_sqlite, sweep_id):
            play(on_sqlite, sweep_id, tmp_path, rnn=0.9, lstm=0.5, gru=0.7)

    monkeypatch.setattr("app.cli.watch.describe_job", noticed)
    worker = threading.Thread(target=work)
    worker.start()
    done = run(
        "sweep", csv, *ASKED, "--seeds", 2, "--no-prune", "--max-parallel", 3, "--training", "epochs=4",
        "--network", "layers=2", "--metadata", "team=ops", "--name", "sales",
    )  # fmt: skip
    worker.join()
    assert done.exit_code == 0, done.output
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[:2] for line in lines if line and line[0] in {"1", "2", "3"}] == [
        ["1", "lstm"], ["2", "gru"], ["3", "rnn"],
    ]  # fmt: skip
    assert "0.5075 ± 0.00071" in done.stdout
    assert "2/2" in done.stdout
    assert "demand version 1 (lstm)" in done.stdout
    assert "/6 runs" in done.stderr
    (job,) = sweeps(on_sqlite)
    search = job["search"]
    assert isinstance(search, dict)
    assert (search["seeds"], search["prune"], search["max_parallel"]) == (2, False, 3)
    assert (job["network"], job["training"], job["metadata"]) == (
        {"layers": 2},
        {"epochs": 4},
        {"team": "ops"},
    )
    listed = run("jobs", "list").stdout
    assert listed.count("train (run)") == 6
    assert "sweep" in listed
    assert f"{job['id']}" in run("jobs", "list", "--kind", "sweep").stdout
    assert run("jobs", "list", "--sweep", job["id"]).stdout.count("job_") == 6
    shown = run("jobs", "show", job["id"]).stdout
    assert "search.space" in shown
    assert "1  lstm" in run("jobs", "watch", job["id"]).stdout


def test_a_data_set_that_is_there_is_named_by_its_id(run: Run, on_sqlite: Service) -> None:
    done = run("sweep", on_sqlite.dataset(), *ASKED, "--sampler", "random", "--max-trials", 2, "--detach")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("job_")
    (job,) = sweeps(on_sqlite)
    assert isinstance(job["search"], dict)
    assert (job["search"]["sampler"], job["search"]["max_trials"]) == ("random", 2)


def test_problems_are_shown_with_their_pointers(run: Run, on_sqlite: Service) -> None:
    dataset = on_sqlite.dataset()
    done = run("sweep", dataset, *ASKED, "--search", "network.layers=1..9")
    assert done.exit_code == 1
    assert "/search/network.layers: 9: Input should be less than or equal to 8" in done.stderr
    as_json = run("sweep", dataset, *ASKED, "--search", "network.layers=1..9", "--json")
    assert json.loads(as_json.stdout)["errors"][0]["pointer"] == "/search/network.layers"
    assert sweeps(on_sqlite) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("none.csv", *ASKED),
        ("ds_1", *ASKED[:-2]),
        ("ds_1", *ASKED, "--search", "network.layers"),
        ("ds_1", *ASKED, "--name", "sales"),
        ("ds_1", *ASKED, "--seeds", "0"),
    ],
)
def test_wrong_usage_is_exit_status_two(run: Run, arguments: tuple[object, ...]) -> None:
    assert run("sweep", *arguments).exit_code == 2


def test_a_cancelled_sweep_is_exit_status_one(run: Run, on_sqlite: Service) -> None:
    detached = run("sweep", on_sqlite.dataset(), *ASKED, "--detach")
    job_id = detached.stdout.strip()
    assert run("jobs", "cancel", job_id).stdout == f"{job_id} is cancelled\n"
    assert run("jobs", "watch", job_id).exit_code == 1


def test_a_sweep_is_described_by_its_runs() -> None:
    job = {"status": "running", "progress": {"runs": 3, "total": 9}, "metrics": {"valid_loss": 0.5}}
    assert describe_job(job) == "3/9 runs, loss 0.5"
    assert describe_job({**job, "metrics": {"valid_macro_f1": 0.75}}) == "3/9 runs, macro_f1 0.75"
    assert log_key(job) == "running 3"


def test_a_ranking_shows_trials_without_a_value_too(capsys: pytest.CaptureFixture[str]) -> None:
    row: Json = {
        "rank": None,
        "metric": None,
        "spread": None,
        "seconds": None,
        "seeds": [],
        "status": "failed",
    }
    board = [{**row, "parameters": {"options.context_length": None}}]
    search = {"space": {"options.context_length": [None, 3]}, "seeds": 3}
    print_leaderboard({"model": "m", "metric": "valid_loss", "search": search, "leaderboard": board})
    shown = capsys.readouterr().out
    assert "m: 1 trials" in shown
    assert shown.split()[-3:] == ["none", "0/3", "failed"]
