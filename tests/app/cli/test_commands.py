"""The client commands against the real application, with the worker played by the test."""

import json
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from app.cli import app
from app.cli.console import notes
from app.cli.watch import follow_job
from recurra.describe import describe_job, log_key
from tests.support.fixtures.servers import until
from tests.support.fixtures.service import Service, monthly

Run = Callable[..., Result]
TRAIN = ("--task", "forecasting", "--model", "demand", "--option", "horizon=6")


@pytest.fixture
def run(on_sqlite: Service, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("RECURRA_URL", str(on_sqlite.http.base_url))

    def invoke(*arguments: object, stdin: str | None = None) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)

    return invoke


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "monthly.csv"
    path.write_bytes(monthly())
    return path


def played(service: Service, end: Callable[[Service, str], Any]) -> threading.Thread:
    """A worker that claims the first job that comes, and ends it."""

    def work() -> None:
        until(lambda: service.http.get("/v1/jobs").json()["data"], what="a job")
        end(service, service.http.get("/v1/jobs").json()["data"][0]["id"])

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_train_uploads_submits_watches_and_compares(
    run: Run, on_sqlite: Service, csv: Path, tmp_path: Path
) -> None:
    def succeed(service: Service, job_id: str) -> None:
        lease = service.claim(job_id)
        service.tell(lease, progress={"fraction": 0.5, "epoch": 2, "epochs": 4, "samples_per_second": 1234.0})
        service.finish(lease, tmp_path / "made")

    worker = played(on_sqlite, succeed)
    done = run(
        "train", csv, *TRAIN, "--network", "cell=gru", "--training", "epochs=4", "--metadata", "team=ops",
        "--name", "sales",
    )  # fmt: skip
    worker.join()
    assert done.exit_code == 0, done.output
    assert "succeeded" in done.stderr
    assert done.stdout.split()[-3:] == ["smape", "9", "12"]
    (job,) = on_sqlite.http.get("/v1/jobs").json()["data"]
    assert (job["network"]["cell"], job["training"]["epochs"], job["options"]["horizon"]) == ("gru", 4, 6)
    assert job["metadata"] == {"team": "ops"}
    assert on_sqlite.http.get(f"/v1/datasets/{job['dataset']}").json()["name"] == "sales"


def test_a_failed_job_is_exit_status_one(run: Run, on_sqlite: Service, csv: Path, tmp_path: Path) -> None:
    worker = played(on_sqlite, lambda service, job: service.http.post(f"/v1/jobs/{job}/cancel"))
    done = run("train", csv, *TRAIN, "--json")
    worker.join()
    assert done.exit_code == 1
    assert json.loads(done.stdout)["status"] == "cancelled"
    assert "The job cancelled" in done.stderr


def test_detached_training_names_the_job(run: Run, csv: Path) -> None:
    done = run("train", csv, *TRAIN, "--detach")
    assert done.exit_code == 0
    assert done.stdout.startswith("job_")
    assert f"recurra jobs watch {done.stdout.strip()}" in done.stderr


TAGGED = "New B-place\nYork I-place\nsings O\n\nAnn B-person\nsings O\n\n"


@pytest.mark.parametrize(
    ("task", "name", "text", "format_"),
    [
        ("classification", "mood.csv", "text,label\n" + "a joy,pos\na dull mess,neg\n" * 20, "csv"),
        ("classification", "mood.tsv", "text\tlabel\n" + "a joy\tpos\na dull mess\tneg\n" * 20, "tsv"),
        ("tagging", "names.conll", TAGGED * 20, "conll"),
        ("generation", "novel.txt", "It was a dark and stormy night.\n" * 80, "txt"),
        ("translation", "pairs.tsv", "source\ttarget\n" + "Good day\tBuenos días\n" * 40, "tsv"),
        ("translation", "pairs.jsonl", '{"source": "Good day", "target": "Buenos días"}\n' * 40, "jsonl"),
    ],
)
def test_text_is_trained_on_from_any_of_its_formats(
    run: Run, on_sqlite: Service, tmp_path: Path, task: str, name: str, text: str, format_: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    done = run("train", path, "--task", task, "--model", "m", "--detach", "--json")
    assert done.exit_code == 0, done.output
    job = json.loads(done.stdout)
    assert job["task"] == task
    assert on_sqlite.http.get(f"/v1/datasets/{job['dataset']}").json()["format"] == format_


def test_ctrl_c_leaves_the_job_running(run: Run, csv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("app.cli.watch.follow_job", interrupt)
    done = run("train", csv, *TRAIN)
    assert done.exit_code == 0
    assert "come back with: recurra jobs watch job_" in done.stderr
    assert "queued" in run("jobs", "list").stdout


def test_columns_are_mapped(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "renamed.csv"
    path.write_bytes(monthly().replace(b"unique_id,ds,y", b"shop,month,sold"))
    columns = ("--columns", "unique_id=shop,ds=month,y=sold")
    assert run("train", path, *TRAIN, *columns, "--detach").exit_code == 0
    refused = run("train", path, *TRAIN, "--detach")
    assert refused.exit_code == 1
    assert "no column 'ds'" in refused.stderr


def test_problems_are_shown_with_their_pointers(run: Run, csv: Path) -> None:
    bad = ("--task", "forecasting", "--model", "demand", "--option", "horizon=700")
    done = run("train", csv, *bad)
    assert done.exit_code == 1
    assert "/options/horizon: The longest series has 60 observations" in done.stderr
    assert done.stdout == ""
    as_json = run("train", csv, *bad, "--json")
    assert json.loads(as_json.stdout)["errors"][0]["pointer"] == "/options/horizon"


def test_wrong_usage_is_exit_status_two(run: Run, csv: Path, tmp_path: Path) -> None:
    assert run("train", csv, *TRAIN, "--option", "horizon").exit_code == 2
    assert run("train", tmp_path / "none.csv", *TRAIN).exit_code == 2
    assert run("train", csv).exit_code == 2
    assert run("jobs", "explode").exit_code == 2
    assert run("predict", "demand", csv, "--version", "1", "--alias", "best").exit_code == 2


def test_without_a_server_it_says_how_to_start_one(run: Run) -> None:
    done = run("jobs", "list", "--url", "http://127.0.0.1:1")
    assert done.exit_code == 1
    assert "There is no server at http://127.0.0.1:1; start one with `recurra up`" in done.stderr
    as_json = run("models", "list", "--url", "http://127.0.0.1:1", "--json")
    assert "no server" in json.loads(as_json.stdout)["detail"]


def test_jobs_are_listed_shown_and_cancelled(run: Run, on_sqlite: Service) -> None:
    first, second = on_sqlite.job(), on_sqlite.job(model="other")
    listed = run("jobs", "list").stdout
    assert listed.index(second) < listed.index(first)
    header, line, _ = listed.splitlines()
    assert header.split() == ["job", "kind", "task", "model", "status", "age"]
    assert line.split()[:5] == [second, "train", "forecasting", "other", "queued"]
    shown = {line.split()[0]: line.split()[1] for line in run("jobs", "show", first).stdout.splitlines()[1:]}
    assert (shown["kind"], shown["task"]) == ("train", "forecasting")
    assert [job["id"] for job in json.loads(run("jobs", "list", "--model", "other", "--json").stdout)] == [
        second
    ]
    assert "options.horizon" in run("jobs", "show", first).stdout
    assert json.loads(run("jobs", "show", first, "--json").stdout)["id"] == first
    assert run("jobs", "cancel", first).stdout == f"{first} is cancelled\n"
    assert json.loads(run("jobs", "cancel", first, "--json").stdout)["status"] == "cancelled"
    assert run("jobs", "watch", first).exit_code == 1
    missing = run("jobs", "show", "job_none")
    assert missing.exit_code == 1
    assert "(404)" in missing.stderr


def test_a_job_is_paused_and_resumed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    requested: list[tuple[str, str]] = []

    def act(_: object, job_id: str, verb: str) -> dict[str, Any]:
        requested.append((job_id, verb))
        return {
            "id": job_id,
            "status": "running",
            "cancel_requested": False,
            "pause_requested": verb == "pause",
        }

    monkeypatch.setattr("recurra.rest.RestClient.act", act)
    assert run("jobs", "pause", "job_1").stdout == "job_1 is running (pause requested)\n"
    assert json.loads(run("jobs", "resume", "job_1", "--json").stdout)["pause_requested"] is False
    assert "recurra jobs watch job_1" in run("jobs", "resume", "job_1").stderr
    assert requested == [("job_1", "pause"), ("job_1", "resume"), ("job_1", "resume")]


def test_models_are_listed_shown_promoted_and_downloaded(
    run: Run, on_sqlite: Service, tmp_path: Path
) -> None:
    for number in (1, 2):
        on_sqlite.version(tmp_path / str(number))
    assert "production = 1" in run("models", "list").stdout
    assert run("models", "promote", "demand", 2).stdout == "demand production is version 2\n"
    shown = run("models", "show", "demand", "--version", 1).stdout
    assert "production = 2" in shown
    assert "demand version 1 (" in shown
    assert json.loads(run("models", "show", "demand", "--json").stdout)["version"]["version"] == 2
    target = tmp_path / "demand.zip"
    saved = run("models", "download", "demand", "--output", target, "--json")
    assert json.loads(saved.stdout) == {
        "model": "demand", "version": 2, "path": str(target), "bytes": target.stat().st_size,
    }  # fmt: skip
    assert {"manifest.json", "model.onnx"} <= set(zipfile.ZipFile(target).namelist())
    assert run("models", "promote", "demand", 9).exit_code == 1


def test_a_name_is_freed_alias_by_alias_and_version_by_version(
    run: Run, on_sqlite: Service, tmp_path: Path
) -> None:
    on_sqlite.version(tmp_path / "one")
    refused = run("models", "delete", "demand")
    assert (refused.exit_code, "has version 1" in refused.stderr) == (1, True)
    assert run("models", "delete", "demand", "--version", 1, "--alias", "production").exit_code == 2
    assert (
        run("models", "delete", "demand", "--alias", "production").stdout == "demand production is deleted\n"
    )
    assert run("models", "delete", "demand", "--version", 1).stdout == "demand version 1 is deleted\n"
    assert json.loads(run("models", "delete", "demand", "--json").stdout) == {
        "model": "demand", "version": None, "alias": None, "deleted": True,
    }  # fmt: skip
    assert on_sqlite.http.get("/v1/models").json()["data"] == []


def test_an_alias_is_split_and_shadowed(run: Run, on_sqlite: Service, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        on_sqlite.version(tmp_path / str(number))
    both = run("models", "promote", "demand", "--split", "1=0.9", "--split", "2=0.1", "--shadow", 3)
    assert both.stdout == "demand production is versions 1 (0.9), 2 (0.1), shadowed by 3\n", both.output
    assert "production = 1 (0.9), 2 (0.1), shadowed by 3" in run("models", "show", "demand").stdout
    rest = json.loads(run("models", "promote", "demand", 2, "--split", "3=0.3", "--json").stdout)
    assert (rest["version"], rest["versions"], rest["shadow"]) == (2, {"2": 0.7, "3": 0.3}, None)
    text = run("models", "promote", "demand", 1, "--split", "1=0.6", "--split", "2=0.4", "--alias", "canary")
    assert text.stdout == "demand canary is versions 1 (0.6), 2 (0.4)\n"
    shown = json.loads(run("models", "show", "demand", "--json").stdout)
    assert shown["aliases"] == {"canary": 1, "production": 2}
    assert [alias["versions"] for alias in shown["targets"]] == [{"1": 0.6, "2": 0.4}, {"2": 0.7, "3": 0.3}]
    alone = run("models", "promote", "demand", 1, "--shadow", 2)
    assert alone.stdout == "demand production is version 1, shadowed by 2\n"
    refused = run("models", "promote", "demand", "--split", "1=0.5", "--split", "9=0.5")
    assert (refused.exit_code, "/versions/9" in refused.stderr) == (1, True)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--shadow", 1),
        ("--split", "1"),
        ("--split", "1=much"),
        ("--split", "1=NaN"),
        ("--split", "1=-0.5"),
        (1, "--split", "2=1.5"),
        (0,),
        (1, "--shadow", 0),
    ],
)
def test_a_wrong_promotion_asks_the_server_nothing(run: Run, arguments: tuple[object, ...]) -> None:
    assert run("models", "promote", "none", *arguments).exit_code == 2


def test_predicting_with_an_unknown_model_is_refused_readably(run: Run) -> None:
    done = run("predict", "none", "-", "--parameter", "horizon=2", stdin='{"values": [1, 2, 3]}\n')
    assert done.exit_code == 1
    assert "(404)" in done.stderr
    assert done.stdout == ""


def test_predictions_are_json_lines(run: Run, csv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requested: list[tuple[Any, ...]] = []

    def predict(_: object, model: str, instances: list[Any], parameters: Any, **which: Any) -> dict[str, Any]:
        requested.append((model, instances, parameters, which))
        return {"model": model, "version": 1, "predictions": [{"mean": [1.0]} for _ in instances]}

    monkeypatch.setattr("recurra.rest.RestClient.predict", predict)
    monkeypatch.setattr("recurra.rest.RestClient.task_of", lambda *_: "forecasting")
    done = run("predict", "demand", csv, "--parameter", "horizon=2", "--alias", "best")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [{"mean": [1.0]}] * 3
    ((_, instances, parameters, which),) = requested
    assert [instance["item_id"] for instance in instances] == ["s0", "s1", "s2"]
    assert len(instances[0]["values"]) == 60
    assert (parameters, which) == ({"horizon": 2}, {"alias": "best"})
    body = run("predict", "demand", "-", "--json", stdin='{"instances": [{}], "parameters": {"horizon": 3}}')
    assert json.loads(body.stdout)["version"] == 1
    assert requested[1][1:3] == ([{}], {"horizon": 3})


def test_one_text_needs_no_file(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    requested: list[tuple[Any, ...]] = []

    def predict(_: object, model: str, instances: list[Any], parameters: Any, **which: Any) -> dict[str, Any]:
        requested.append((model, instances, parameters, which))
        return {"model": model, "version": 2, "predictions": [{"label": "pos"}]}

    monkeypatch.setattr("recurra.rest.RestClient.predict", predict)
    done = run("predict", "mood", "--text", "a joy", "--parameter", "top_k=1", "--version", 2)
    assert json.loads(done.stdout) == {"label": "pos"}
    run("predict", "tale", "--prompt", "")
    assert requested == [
        ("mood", [{"text": "a joy"}], {"top_k": 1}, {"version": 2}),
        ("tale", [{"prompt": ""}], {}, {}),
    ]


def test_a_text_is_printed_while_it_is_generated(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = [{"index": 0, "text": "upon"}, {"index": 0, "text": " a time", "finish_reason": "stop"}]
    requested: list[tuple[Any, ...]] = []

    def stream(_: object, model: str, instance: Any, parameters: Any, **which: Any) -> Any:
        requested.append((model, instance, parameters, which))
        return iter([*pieces, {"predictions": [{"text": "upon a time"}]}])

    monkeypatch.setattr("recurra.rest.RestClient.stream", stream)
    monkeypatch.setattr("recurra.rest.RestClient.task_of", lambda *_: "generation")
    done = run("predict", "tale", "--prompt", "Once ", "--stream", "--parameter", "seed=3", "--alias", "best")
    assert (done.exit_code, done.stdout) == (0, "upon a time\n")
    assert requested == [("tale", {"prompt": "Once "}, {"seed": 3}, {"alias": "best"})]
    lines = run("predict", "tale", "-", "--stream", "--json", stdin='{"text": "Once"}').stdout.splitlines()
    assert [json.loads(line) for line in lines] == pieces
    assert requested[1][1] == {"prompt": "Once"}
    two = run("predict", "tale", "-", "--stream", stdin='{"prompt": "a"}\n{"prompt": "b"}\n')
    assert (two.exit_code, "--stream takes one instance, not 2" in two.stderr) == (2, True)


def test_a_prediction_is_of_one_thing(run: Run, csv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recurra.rest.RestClient.task_of", lambda *_: "forecasting")
    for value in ((), (csv, "--text", "a"), ("--text", "a", "--prompt", "b")):
        assert run("predict", "demand", *value).exit_code == 2
    missing = run("predict", "demand", "great film")
    assert (missing.exit_code, "for one text, use --text" in missing.stderr) == (2, True)


def test_the_file_in_a_prediction_is_written(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prediction = {"midi_base64": "TVRoZA==", "notes": []}
    monkeypatch.setattr("recurra.rest.RestClient.task_of", lambda _, model: model)
    monkeypatch.setattr(
        "recurra.rest.RestClient.predict",
        lambda _, model, instances, *__, **___: {"predictions": [prediction] * len(instances)},
    )
    path = tmp_path / "out.mid"
    done = run("predict", "music", "-", "--output", path, stdin="{}")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "out.mid: 4 bytes" in done.stderr
    assert path.read_bytes() == b"MThd"
    whole = run("predict", "music", "--json", "--output", path)  # from nothing
    assert json.loads(whole.stdout) == {"predictions": [{"notes": []}]}
    for arguments, stdin, reason in (
        (("predict", "music", "-", "--output", path), "{}\n{}\n", "one instance, not 2"),
        (("predict", "tagging", "-", "--output", path), "{}", "whose predictions are files"),
        (("predict", "music", "-", "--output", tmp_path), "{}", "cannot be written"),
    ):
        refused = run(*arguments, stdin=stdin)
        assert (refused.exit_code, reason in refused.stderr) == (2, True), refused.stderr


def test_the_file_of_a_streamed_prediction_is_written(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stream(*_: Any) -> Any:
        return iter([{"text": "note\n"}, {"predictions": [{"midi_base64": "TVRoZA==", "notes": []}]}])

    monkeypatch.setattr("recurra.rest.RestClient.task_of", lambda *_: "music")
    monkeypatch.setattr("recurra.rest.RestClient.stream", stream)
    done = run("predict", "bach", "--stream", "--output", tmp_path / "out.mid")
    assert (done.exit_code, done.stdout) == (0, "note\n")
    assert (tmp_path / "out.mid").read_bytes() == b"MThd"


def test_a_task_that_there_is_not_is_wrong_usage(run: Run, csv: Path) -> None:
    for command in (("train",), ("sweep", "--search", "network.layers=1,2")):
        done = run(*command, csv, "--task", "forcasting", "--model", "m")
        assert (done.exit_code, "did you mean forecasting?" in " ".join(done.stderr.split())) == (2, True)


def test_a_job_is_described_in_a_few_words() -> None:
    progress = {"fraction": 0.4, "epoch": 9, "epochs": 20, "eta_seconds": 31.2, "samples_per_second": 10412.0}
    running: dict[str, Any] = {
        "status": "running",
        "progress": progress,
        "metrics": {"train_loss": 0.1, "valid_loss": 0.127},
    }
    assert describe_job(running) == "epoch 9/20, loss 0.127, 10,412 samples/s, 31 s left"
    assert describe_job({"status": "running", "progress": None, "metrics": None}) == "running"
    for phase, member, words in (
        ("fit", None, "epoch 9/20"),
        ("fit", 1, "network 2/3, epoch 9/20"),
        ("refit", None, "refit on all data, epoch 9/20"),
        ("refit", 0, "refit of network 1/3 on all data, epoch 9/20"),
        ("ablation", None, "a simpler network, to compare with, epoch 9/20"),
        ("pretrain", None, "pretraining on the texts alone, epoch 9/20"),
    ):
        stage = {"phase": phase} | ({} if member is None else {"member": member})
        job = running | {"progress": progress | stage, "training": {"ensemble": 3}}
        assert describe_job(job).startswith(words + ", loss 0.127")
        assert log_key(job) != log_key(running)
    for phase, words in (("prepare", "preparing the data"), ("evaluate", "evaluating")):
        job = {"status": "running", "progress": {"fraction": 0.0, "phase": phase}, "metrics": None}
        assert describe_job(job) == words
    assert describe_job({"status": "paused"}) == "paused"
    assert follow_job([running, {"status": "failed"}], notes(), "demand") == {"status": "failed"}
