"""The commands against one live service: what a person at a terminal, or a script, gets to see."""

import json
import os
import signal
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner, Result

from app.cli import app
from app.cli.demo.by_hand import commands
from app.cli.demo.run import SAMPLES
from app.typedefs import Json
from tests.support.fixtures.processes import ENVIRONMENT, RECURRA
from tests.support.fixtures.servers import until
from tests.support.fixtures.service import monthly
from tests.support.fixtures.stack import Stack

Run = Callable[..., Result]
TINY = ("--network", "hidden_size=8", "--training", "epochs=2", "--training", "batch_size=512")
FORECAST = ("--task", "forecasting", "--option", "horizon=6")
ENDLESS = ("--training", "epochs=10000", "--training", "patience=10000", "--network", "hidden_size=8")


@pytest.fixture(scope="module")
def url(stack: Stack) -> str:
    return str(stack.http.base_url).rstrip("/")


@pytest.fixture
def run(url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A command with the service named by the environment, as in a user's shell."""
    monkeypatch.setenv("RECURRA_URL", url)

    def invoke(*arguments: object, stdin: str | None = None) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)

    return invoke


@pytest.fixture(scope="module")
def csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "shop.csv"
    path.write_bytes(monthly(months=48))
    return path


@pytest.fixture(scope="module")
def trained(url: str, csv: Path) -> Json:
    """What `recurra train --json` printed at the end of a job."""
    arguments = ["train", str(csv), *FORECAST, "--model", "sales", *TINY, "--json", "--url", url]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    job: Json = json.loads(done.stdout)
    return job


def detached(run: Run, csv: Path, model: str, *more: object) -> str:
    done = run("train", csv, *FORECAST, "--model", model, *more, "--detach")
    assert done.exit_code == 0, done.output
    return str(done.stdout.strip())


@pytest.fixture(autouse=True)
def nothing_is_left_running(url: str) -> Iterator[None]:
    """A test that fails leaves no endless job to the tests of other files, which share the service."""
    yield
    for job in httpx.get(f"{url}/v1/jobs?status=running").json()["data"]:
        httpx.post(f"{url}/v1/jobs/{job['id']}/cancel")


def show(run: Run, job: str) -> Json:
    result: Json = json.loads(run("jobs", "show", job, "--json").stdout)
    return result


def steps(job: Json) -> int:
    """How many steps a job reported; none in its first seconds."""
    return int((job["progress"] or {}).get("step", 0))


def test_train_prints_the_finished_job_and_nothing_else_as_json(trained: Json) -> None:
    assert trained["status"] == "succeeded"
    assert trained["model_version"] == 1
    assert trained["options"]["horizon"] == 6
    assert trained["network"]["hidden_size"] == 8
    assert trained["training"]["epochs"] == 2
    assert trained["progress"]["fraction"] == 1.0


def test_train_shows_progress_and_compares_with_the_baseline(run: Run, csv: Path) -> None:
    done = run(
        "train", csv, *FORECAST, "--model", "shown", *TINY, "--network", "cell=gru", "--metadata", "run=9"
    )
    assert done.exit_code == 0, done.output
    assert "shown version 1 (gru)" in done.stdout
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines() if line.strip()}
    assert {"smape", "mase", "pinball", "coverage"} <= rows.keys()
    assert all(float(cell) >= 0 for cell in rows["smape"])
    assert done.stderr.rstrip().endswith("succeeded")
    (job,) = json.loads(run("jobs", "list", "--model", "shown", "--json").stdout)
    assert job["metadata"] == {"run": 9}


def test_predict_answers_each_series_of_a_table(run: Run, trained: Json, csv: Path) -> None:
    done = run("predict", "sales", csv)
    assert done.exit_code == 0, done.output
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["item_id"] for answer in answers] == ["s0", "s1", "s2"]
    assert answers[0]["timestamps"] == [f"2019-{month:02d}-01" for month in range(1, 7)]
    assert all(len(answer["mean"]) == 6 for answer in answers)


def test_predict_knows_the_columns_of_the_upload(run: Run, trained: Json, csv: Path, tmp_path: Path) -> None:
    path = tmp_path / "named.csv"
    path.write_bytes(csv.read_bytes().replace(b"unique_id,ds,y", b"shop,month,sold"))
    columns = ("--columns", "unique_id=shop,ds=month,y=sold")
    assert run("train", path, *FORECAST, "--model", "shops", *TINY, *columns).exit_code == 0
    done = run("predict", "shops", path, "--parameter", "level=80")
    assert done.exit_code == 0, done.output
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["item_id"] for answer in answers] == ["s0", "s1", "s2"]
    assert list(answers[0]["intervals"]) == ["80"]


def test_a_file_that_cannot_be_used_is_exit_one(run: Run, trained: Json, tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text("unique_id,ds,y\ns0,2024-01-01,1\ns0,never,2\n")
    done = run("predict", "sales", path)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "/file/row/3/column/ds" in done.stderr
    assert "Usage" not in done.stderr


def test_predict_reads_json_lines_from_a_pipe(run: Run, trained: Json) -> None:
    lines = '{"values": [1, 2, null, 4], "item_id": "é"}\n\n{"values": [5, 6]}\n'
    done = run(
        "predict", "sales", "-", "--parameter", "horizon=2", "--parameter", "quantiles=[0.5]", stdin=lines
    )
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert (first["item_id"], second["item_id"]) == ("é", None)
    assert len(first["mean"]) == 2
    assert list(first["quantiles"]) == ["0.5"]
    assert '"é"' in done.stdout


def test_predict_as_json_names_the_version(run: Run, trained: Json, tmp_path: Path) -> None:
    path = tmp_path / "body.json"
    path.write_text(json.dumps({"instances": [{"values": [1, 2, 3]}], "parameters": {"horizon": 1}}))
    for which in ((), ("--version", 1), ("--alias", "production")):
        answer = json.loads(run("predict", "sales", path, *which, "--json").stdout)
        assert (answer["model"], answer["version"]) == ("sales", 1)
        assert len(answer["predictions"][0]["mean"]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--parameter", "horizon=7"), "/parameters/horizon"),
        (("--version", 9), "(404)"),
        (("--alias", "none"), "(404)"),
    ],
)
def test_a_refused_prediction_is_exit_one_with_the_reason(
    run: Run, trained: Json, arguments: tuple[object, ...], message: str
) -> None:
    done = run("predict", "sales", "-", *arguments, stdin='{"values": [1, 2]}\n')
    assert (done.exit_code, done.stdout) == (1, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_jobs_are_listed_shown_and_watched_after_their_end(run: Run, trained: Json) -> None:
    listed = run("jobs", "list", "--status", "succeeded").stdout
    assert trained["id"] in listed
    assert "sales" in listed
    result = json.loads(run("jobs", "list", "--model", "sales", "--limit", 1, "--json").stdout)
    assert [job["id"] for job in result] == [trained["id"]]
    shown = run("jobs", "show", trained["id"]).stdout
    assert "options.horizon" in shown
    assert "succeeded" in shown
    watched = run("jobs", "watch", trained["id"])
    assert watched.exit_code == 0
    assert "sales version 1" in watched.stdout


def test_a_detached_job_is_watched_to_its_end(run: Run, csv: Path) -> None:
    job = detached(run, csv, "apart", *TINY)
    assert job.startswith("job_")
    done = run("jobs", "watch", job, "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["status"] == "succeeded"


def test_a_running_job_is_cancelled_and_watching_it_is_exit_one(run: Run, csv: Path) -> None:
    job = detached(run, csv, "endless", *ENDLESS)
    until(lambda: show(run, job)["status"] == "running", 60, "the start")
    cancelled = run("jobs", "cancel", job)
    assert cancelled.exit_code == 0
    assert job in cancelled.stdout
    done = run("jobs", "watch", job)
    assert done.exit_code == 1
    assert "cancelled" in done.stderr
    assert run("models", "show", "endless").exit_code == 1


def test_a_job_that_fails_is_exit_one_with_its_reason(run: Run, csv: Path) -> None:
    exploding = {
        "optimizer": "adamw",
        "learning_rate": 10,
        "weight_decay": 1,
        "clip_norm": 1e9,
        "batch_size": 16,
    }
    options = [part for name, value in exploding.items() for part in ("--training", f"{name}={value}")]
    done = run("train", csv, *FORECAST, "--model", "nowhere", *TINY, *options, "--json")
    assert done.exit_code == 1, done.output
    job = json.loads(done.stdout)
    assert job["status"] == "failed"
    assert job["error"]["message"]
    assert job["error"]["message"] in done.stderr
    assert "Traceback" not in done.stderr


def test_models_are_listed_shown_promoted_and_downloaded(run: Run, trained: Json, tmp_path: Path) -> None:
    names = [model["name"] for model in json.loads(run("models", "list", "--json").stdout)]
    assert "sales" in names
    assert "production = 1" in run("models", "list").stdout
    shown = json.loads(run("models", "show", "sales", "--json").stdout)
    assert shown["version"]["job"] == trained["id"]
    assert shown["version"]["metrics"].keys() >= shown["version"]["baseline"].keys() >= {"smape", "mase"}
    promoted = json.loads(run("models", "promote", "sales", 1, "--alias", "best", "--json").stdout)
    assert (promoted["alias"], promoted["version"]) == ("best", 1)
    assert "best = 1" in run("models", "show", "sales").stdout
    assert run("models", "promote", "sales", 5).exit_code == 1
    target = tmp_path / "shop.zip"
    saved = json.loads(run("models", "download", "sales", "-o", target, "--json").stdout)
    assert saved["bytes"] == target.stat().st_size
    with zipfile.ZipFile(target) as archive:
        assert {"manifest.json", "model.onnx", "model.safetensors"} <= set(archive.namelist())
        assert json.loads(archive.read("manifest.json"))["options"]["horizon"] == 6
    missing = run("models", "download", "sales", "--version", 9, "-o", tmp_path / "none.zip")
    assert missing.exit_code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["shop.zip"]


def test_a_file_that_cannot_be_used_is_reported_with_row_and_column(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text("unique_id,ds,y\na,2024-01-01,1\na,2024-01-02,many\na,yesterday,3\n")
    done = run("train", path, *FORECAST, "--model", "bad")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "(422)" in done.stderr
    assert "/file/row/3/column/y: 'many' is not a number." in done.stderr
    assert "/file/row/4/column/ds: 'yesterday' is not a date" in done.stderr
    problem = json.loads(run("train", path, *FORECAST, "--model", "bad", "--json").stdout)
    pointers = {error["pointer"] for error in problem["errors"]}
    assert pointers == {"/file/row/3/column/y", "/file/row/4/column/ds"}


def test_warnings_about_a_file_are_shown_and_keep_json_clean(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "gaps.csv"
    lines = monthly(series=2, months=48).splitlines()
    path.write_bytes(b"\n".join(lines[:20] + lines[22:]))
    done = run("train", path, *FORECAST, "--model", "gaps", *TINY, "--detach", "--json")
    assert json.loads(done.stdout)["status"] in ("queued", "running")
    assert "warning: 2 time stamps of 1 series are not in the file" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "none.csv", *FORECAST, "--model", "m"),
        ("train", "{csv}", "--task", "forecasting"),
        ("train", "{csv}", *FORECAST, "--model", "m", "--option", "horizon"),
        ("train", "{csv}", *FORECAST, "--model", "m", "--colums", "ds=day"),
        ("predict", "sales", "none.csv"),
        ("predict", "sales", "{csv}", "--version", "zero"),
        ("predict", "sales", "{csv}", "--version", "1", "--alias", "production"),
        ("jobs",),
        ("jobs", "show"),
        ("jobs", "list", "--limit", "0"),
        ("models", "promote", "sales"),
        ("nonsense",),
    ],
)
def test_wrong_usage_is_exit_two_and_asks_the_server_nothing(
    run: Run, csv: Path, arguments: tuple[str, ...]
) -> None:
    before = run("jobs", "list", "--json").stdout
    done = run(*(argument.format(csv=csv) for argument in arguments))
    assert (done.exit_code, done.stdout.strip().startswith("{")) == (2, False)
    assert run("jobs", "list", "--json").stdout.count('"id"') == before.count('"id"')


def test_without_a_server_every_command_says_how_to_start_one(run: Run, csv: Path) -> None:
    nobody = ("--url", "http://127.0.0.1:9")
    for arguments in (
        ("jobs", "list"),
        ("models", "show", "sales"),
        ("predict", "sales", csv),
        ("train", csv, *FORECAST, "--model", "m"),
    ):
        done = run(*arguments, *nobody)
        assert (done.exit_code, done.stdout) == (1, "")
        assert "There is no server at http://127.0.0.1:9; start one with `recurra up`" in done.stderr


def test_the_environment_names_the_server_and_a_flag_overrides_it(url: str, trained: Json) -> None:
    command = [*RECURRA, "jobs", "show", trained["id"], "--json"]
    named = subprocess.run(
        command, env=ENVIRONMENT | {"RECURRA_URL": url}, capture_output=True, text=True, check=True
    )
    assert json.loads(named.stdout)["id"] == trained["id"]
    wrong = ENVIRONMENT | {"RECURRA_URL": "http://127.0.0.1:9"}
    other = subprocess.run([*command, "--url", url], env=wrong, capture_output=True, text=True, check=True)
    assert json.loads(other.stdout)["id"] == trained["id"]


# A shell makes what it runs in the background, perhaps these tests, deaf to Ctrl-C, and children inherit it.
HEEDING = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "


def test_ctrl_c_lets_the_job_go_on_and_says_how_to_come_back(url: str, run: Run, csv: Path) -> None:
    command = [
        *RECURRA[:-1],
        HEEDING + RECURRA[-1],
        "train",
        str(csv),
        *FORECAST,
        "--model",
        "left",
        *ENDLESS,
    ]
    with subprocess.Popen(
        command,
        env=ENVIRONMENT | {"RECURRA_URL": url, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        jobs = f"{url}/v1/jobs?model=left&status=running"
        until(lambda: httpx.get(jobs).json()["data"], 60, "the start of the job")
        assert process.stderr is not None
        assert "left: " in process.stderr.readline()  # it is watching
        os.killpg(process.pid, signal.SIGINT)
        _, message = process.communicate(timeout=30)
    assert process.returncode == 0, message
    (job,) = httpx.get(jobs).json()["data"]
    assert f"The job goes on without you; come back with: recurra jobs watch {job['id']}" in message
    assert "Traceback" not in message
    step = steps(job)
    until(lambda: steps(show(run, job["id"])) > step, 60, "more steps")
    assert run("jobs", "cancel", job["id"]).exit_code == 0


def test_the_lines_of_a_demo_work_on_another_service(url: str) -> None:
    request = {
        "task": "forecasting", "dataset": "ds_gone", "model": "by-hand",
        "network": {"cell": "gru", "hidden_size": 8}, "training": {"epochs": 1}, "options": {"horizon": 6},
    }  # fmt: skip
    prediction = {"instances": [{"values": [float(n) for n in range(48)]}]}
    _, *lines = commands(url, SAMPLES / "seattle_weather.csv", request, prediction)
    script = "\n".join(["set -euo pipefail", *lines])
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, timeout=170)
    assert done.returncode == 0, done.stderr
    *_, version, answer = (json.loads(line) for line in done.stdout.replace("}{", "}\n{").splitlines())
    assert (version["model"], version["network"]["hidden_size"]) == ("by-hand", 8)
    assert len(answer["predictions"][0]["mean"]) == 6


def test_tables_fit_a_terminal_and_ids_are_whole(
    run: Run, trained: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for command in (
        ("jobs", "list"),
        ("jobs", "show", trained["id"]),
        ("models", "list"),
        ("models", "show", "sales"),
    ):
        shown = run(*command).stdout
        assert max(map(len, shown.splitlines())) <= 80, shown
        assert "models" in command[:2] or trained["id"] in shown
    assert trained["id"] in run("models", "show", "sales").stdout
