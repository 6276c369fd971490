"""What the documents say is so: their commands and the examples are run against one real service."""

import base64
import json
import re
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from app.settings import Settings
from app.tasks import TASKS
from tests.support.fixtures.processes import ENVIRONMENT
from tests.support.fixtures.stack import Stack

ROOT = Path(__file__).parents[2]
ADDRESS = "127.0.0.1:8000"  # in the documents
MAX_README_LINES = 160
MAX_CONTRIBUTING_LINES = 80
ROOT_PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "examples/README.md")
PATHS = [*(ROOT / name for name in ROOT_PAGES), *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text() for path in PATHS}
ALL_TEXT = "\n".join(PAGES.values())
EXAMPLES = [ROOT / "examples" / f"{task}.py" for task in TASKS]
BLOCK = re.compile(r"<!-- walk( short)? -->\n```(bash|python)\n(.*?)```\n<!-- /walk -->", re.DOTALL)
QUICK = '"epochs": 1, "batch_size": 512'  # an epoch of forecasting has 2,048 windows at least
SHORTER = {  # replaced in blocks that are marked as short, in this order
    '"options": {"horizon": 14},': f'"options": {{"horizon": 14}}, "training": {{{QUICK}}},',
    '"options": {"horizon": 14}}': f'"options": {{"horizon": 14}}, "training": {{{QUICK}}}}}',
    "horizon=14)": f"horizon=14, training={{{QUICK}}})",
    'horizon=14, training={"epochs": 4})': f"horizon=14, training={{{QUICK}}})",
    'training={"epochs": 4},': f"training={{{QUICK}}},",
    '"evaluated", "training": {"epochs": 4}': f'"evaluated", "training": {{{QUICK}}}',
    '"epochs": 40': '"epochs": 1',
    '["rnn", "lstm", "gru"]}, "seeds": 2': '["rnn", "gru"]}, "seeds": 1',
    '"epochs": 4': '"epochs": 1',
    '"hidden_size": 192': '"hidden_size": 32',
    '"epochs": 60': '"epochs": 1',
    '"hidden_size": 160': '"hidden_size": 32',
    '"epochs": 30': '"epochs": 2',
    "range(5000)": "range(3900, 4600)",
}
CANCEL = "curl -sS -o /dev/null --fail-with-body -X POST $URL/v1/jobs/$JOB/cancel\n"
SERIES = re.findall(r"`(recurra_[a-z_]+)`", PAGES["docs/serving.md"])
DEFAULTS = re.findall(r"^\| `RECURRA_([A-Z_]+)` \| ([0-9.]+) \|", PAGES["docs/deployment.md"], re.MULTILINE)
LONG = TASKS.keys() - {"forecasting"}  # examples and pages that take a while even for one epoch
TASK_HEADINGS = ["Upload", "Ask", "Answer", "Options and defaults", "Evaluation", "Baseline"]

Json = dict[str, Any]


def run(*command: str, **variables: str) -> str:
    """What a command prints; it must succeed."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=ENVIRONMENT | variables,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def code_of(text: str, language: str) -> list[str]:
    """The code of a page's marked blocks in this language, in order; shorter where they are marked so."""
    blocks = []
    for short, written_in, code in BLOCK.findall(text):
        for slow, fast in SHORTER.items() if short else ():
            code = code.replace(slow, fast)  # noqa: PLW2901
        blocks += [code] if written_in == language else []
    return blocks


def run_page(text: str, url: str, downloads: Path, *, trained: bool) -> tuple[str, list[str]]:
    """What the bash blocks of a page print, in one shell, and then each of its Python blocks.

    Where an example has `trained` the page's model already, the page's own job is only submitted.
    """
    script = "\n".join(code_of(text, "bash")).replace(f"http://{ADDRESS}", url)
    script = script.replace("wait_for $JOB\n", CANCEL) if trained else script
    printed = run(
        "bash", "-euo", "pipefail", "-c", script.replace("-o weather.zip", f"-o {downloads}/weather.zip")
    )
    address = url.removeprefix("http://")
    return printed, [
        run(sys.executable, "-c", code.replace(ADDRESS, address), RECURRA_URL=url)
        for code in code_of(text, "python")
    ]


def objects(printed: str) -> list[Json]:
    """The JSON objects in what curl printed, in order; those of server-sent events are left out."""
    answers: list[Json] = []
    printed = re.sub(r"(?m)data: .*$", "", printed)
    position, decoder = 0, json.JSONDecoder()
    while (position := printed.find("{", position)) >= 0:
        value, position = decoder.raw_decode(printed, position)
        answers.append(value)
    return answers


def only(answers: list[Json], field: str) -> Json:
    """The one object that has a field."""
    (value,) = (one for one in answers if field in one)
    return value


def repeated(answers: list[Json]) -> Json:
    """The one prediction that several answers have alike."""
    first, *others = (one["predictions"] for one in answers if "predictions" in one)
    assert others == [first]
    return dict(first[0])


def run_examples(tasks: Collection[str], url: str) -> None:
    """Run the examples of these tasks; each prints its figures in a line, and some predictions."""
    for task in tasks:
        printed = run(sys.executable, f"examples/{task}.py", "--epochs", "1", RECURRA_URL=url)
        figures, *predictions = printed.splitlines()
        assert re.match(r".+: \d+\.\d+( %)?, .+ \d+\.\d+( %)?$", figures)
        assert len(predictions) > 0


@pytest.mark.timeout(900)
@pytest.mark.parametrize("group", ["quick", pytest.param("long", marks=pytest.mark.slow)])
def test_blocks_and_examples_do_what_they_say(group: str, stack: Stack, tmp_path: Path) -> None:
    tasks = {"quick": TASKS.keys() - LONG, "long": LONG}[group]
    trained = {f"docs/tasks/{task}.md" for task in tasks}
    pages = CHECKS if group == "quick" else trained
    names = [name for name in pages if name in trained or not name.startswith("docs/tasks/")]
    url = str(stack.http.base_url).rstrip("/")
    run_examples(sorted(tasks), url)
    for name in names:
        CHECKS[name](*run_page(PAGES[name], url, tmp_path, trained=name in trained))
    metrics = stack.http.get("/metrics").text
    if group == "quick":
        assert (tmp_path / "weather.zip").stat().st_size > 1000
        assert [name for name in SERIES if f"# TYPE {name} " not in metrics] == []


def check_readme(printed: str, programs: list[str]) -> None:
    answers = objects(printed)
    (table,) = programs
    assert table.splitlines()[0].split()[-1] == "hi-95"
    assert "2016-01-14" in table.splitlines()[14]
    assert only(answers, "baseline")["metrics"]["smape"] > 0
    answer = only(answers, "predictions")
    (prediction,) = answer["predictions"]
    assert (answer["model"], answer["version"], len(prediction["mean"])) == ("weather", 1, 14)
    assert prediction["timestamps"][0] == "2016-01-15"


def check_jobs(printed: str, _: list[str]) -> None:
    paused, resumed, cancelled, events, curves, diagnostics = objects(printed)
    assert paused["id"] == resumed["id"] == cancelled["id"]
    assert (paused["pause_requested"], resumed["status"]) == (True, "queued")
    assert events["data"][0]["data"] == {"status": "queued"}
    assert "paused" in [event["data"].get("status") for event in events["data"]]
    assert isinstance(curves["epochs"], list)
    assert isinstance(diagnostics["epochs"], list)
    assert "event: status" in printed
    assert '"status":"cancelled"' in printed


def check_serving(printed: str, programs: list[str]) -> None:
    answers = objects(printed)
    aliases = [(one["versions"], one["shadow"]) for one in answers if one.get("alias")]
    assert aliases == [({"1": 1.0}, 2), ({"1": 0.9, "2": 0.1}, None), ({"2": 1.0}, None)]
    stored, rows, columns, answer = (one for one in answers if "predictions" in one)
    assert [one["item_id"] for one in stored["predictions"]] == ["seattle_temp_max"]
    assert rows == columns
    assert rows["predictions"][0]["timestamps"] == ["2016-01-05", "2016-01-06"]
    assert (answer["version"], len(answer["predictions"][0]["mean"])) == (2, 3)
    assert re.search(r"^server-timing: queue;dur=.*compute;dur=.*total;dur=", printed, re.MULTILINE)
    batch = only(answers, "index")
    assert (batch["index"], batch["item_id"]) == (0, batch["prediction"]["item_id"])
    assert len(batch["prediction"]["mean"]) == 7
    assert {field["name"] for field in only(answers, "platform")["inputs"]} >= {
        "values",
        "start",
        "freq",
        "lengths",
    }
    inferred = only(answers, "model_name")
    assert (inferred["model_name"], inferred["model_version"]) == ("weather", "2")
    assert inferred["outputs"][0]["shape"] == [1, 3]
    (tensors,) = programs
    assert tensors.splitlines() == ["(2, 7)", "float32"]


def check_clients(_: str, programs: list[str]) -> None:
    forecasts, tuned = programs
    *events, name = tuned.splitlines()
    assert (events[0], events[-1]) == ("The job is succeeded", "The job is queued")
    assert re.fullmatch(r"meadow:1 (stop|length)", name)
    key, *lines = forecasts.splitlines()
    assert key == "True"
    assert len([line for line in lines if "seattle" in line]) == 7 + 2 * 7
    assert [line for line in lines if "TimeGPT-lo-80" in line]


def check_sweeps(printed: str, _: list[str]) -> None:
    board = only(objects(printed), "leaderboard")["leaderboard"]
    assert [trial["rank"] for trial in board] == [1, 2]
    assert {trial["parameters"]["network.cell"] for trial in board} == {"rnn", "gru"}
    assert all(len(trial["seeds"]) == 1 for trial in board)


def check_evaluations(printed: str, _: list[str]) -> None:
    answers = objects(printed)
    metrics = only(answers, "metrics")["metrics"]
    assert metrics["examples"] == 10
    assert metrics["baselines"].keys() == {"seasonal_naive", "theta", "ets"}
    assert all(one["smape"]["low"] < one["smape"]["high"] for one in metrics["versions"].values())
    lines = [one for one in answers if "actual" in one]
    assert len(lines) == 10 * 5
    assert [line["window"] for line in lines if line.get("version") == 2] == list(range(10))
    assert [job["kind"] for job in only(answers, "has_more")["data"]] == ["evaluate"]
    moved = answers[-1]
    assert moved.get("version") == 2 or moved["errors"][0]["pointer"] == "/guard/metric"


def check_forecasting(printed: str, _: list[str]) -> None:
    answers = objects(printed)
    assert only(answers, "summary")["task"] == "forecasting"
    (prediction,) = only(answers, "predictions")["predictions"]
    assert (prediction["item_id"], len(prediction["mean"])) == ("seattle", 3)
    assert prediction["quantiles"].keys() == {"0.1", "0.9"}
    assert prediction["timestamps"] == ["2016-01-08", "2016-01-09", "2016-01-10"]


def check_classification(printed: str, _: list[str]) -> None:
    for prediction in only(objects(printed), "predictions")["predictions"]:
        assert prediction["label"] == max(prediction["scores"], key=prediction["scores"].get)
        assert sum(prediction["scores"].values()) == pytest.approx(1)


def check_tagging(printed: str, _: list[str]) -> None:
    (prediction,) = only(objects(printed), "predictions")["predictions"]
    assert prediction["tokens"] == ["Ann", "flew", "to", "Paris", "."]
    assert len(prediction["tags"]) == 5
    assert all(entity.keys() == {"type", "text", "start", "end"} for entity in prediction["entities"])


def check_generation(printed: str, programs: list[str]) -> None:
    events = [json.loads(line) for line in re.findall(r"(?m)data: (.*)$", printed)]
    (prediction,) = only(events, "predictions")["predictions"]
    assert "".join(event["text"] for event in events if "index" in event) == prediction["text"]
    assert prediction["tokens"] <= 200
    (completed,) = programs
    assert len(completed) > 0


def check_speech(printed: str, programs: list[str]) -> None:
    prediction = repeated(objects(printed))
    assert prediction["duration_seconds"] == 1.008
    assert prediction["text"] == " ".join(word["word"] for word in prediction["words"])
    (heard,) = programs
    *texts, done = heard.splitlines()
    assert len(texts) > 1
    assert "'done': True" in done


def check_video(printed: str, _: list[str]) -> None:
    answers = [one["predictions"][0] for one in objects(printed) if "predictions" in one]
    assert {one["label"] for one in answers} == {answers[0]["label"]}
    prediction, _ = answers
    assert len(prediction["scores"]) == 2
    assert prediction["label"] == max(prediction["scores"], key=prediction["scores"].get)


def check_music(printed: str, _: list[str]) -> None:
    events = [json.loads(line) for line in re.findall(r"(?m)data: (.*)$", printed)]
    (prediction,), (continued,) = (one["predictions"] for one in objects(printed) if "predictions" in one)
    assert base64.b64decode(continued["midi_base64"])[:4] == b"MThd"
    (streamed,) = only(events, "predictions")["predictions"]
    assert prediction == streamed
    assert base64.b64decode(prediction["midi_base64"])[:4] == b"MThd"
    lines = "".join(event["text"] for event in events if "index" in event).splitlines()
    assert sorted(lines) == sorted(json.dumps(note, separators=(",", ":")) for note in prediction["notes"])


def check_translation(printed: str, _: list[str]) -> None:
    (prediction,) = only(objects(printed), "predictions")["predictions"]
    assert prediction["score"] <= 0


def check_vanishing_gradient(printed: str, _: list[str]) -> None:
    answers = objects(printed)
    assert len(answers) == 3
    assert all(one["final"][0]["steps"] == 60 for one in answers)
    assert [set(one["final"][0]["gates"]) for one in answers] == [
        {"hidden"}, {"input", "forget", "cell", "output"}, {"reset", "update", "candidate"},
    ]  # fmt: skip


def check_explanations(printed: str, _: list[str]) -> None:
    answer = only(objects(printed), "influence")
    assert answer["model"] == "weather"
    assert answer["steps"] == [f"2016-01-0{day}" for day in range(1, 9)]
    assert sum(answer["influence"]) == pytest.approx(1, abs=1e-4)
    assert {len(rows[0]) for rows in (*answer["gates"].values(), answer["hidden"])} == {8}


def check_python(_: str, programs: list[str]) -> None:
    two_lines, stores, pieces, states = programs
    assert "lo-95" in two_lines.splitlines()[0]
    assert len(two_lines.splitlines()) == 15 + 3
    assert "smape" in two_lines
    assert "lo-90" in stores
    assert re.search(r"^\[[0-9., -]+\]$", stores, re.MULTILINE)
    assert pieces
    assert states == "succeeded\n"


def check_webhooks(_: str, programs: list[str]) -> None:
    assert programs == ["True False\n"]


CHECKS = {
    "README.md": check_readme,
    "docs/clients.md": check_clients,
    "docs/evaluations.md": check_evaluations,
    "docs/explanations.md": check_explanations,
    "docs/jobs.md": check_jobs,
    "docs/python.md": check_python,
    "docs/serving.md": check_serving,
    "docs/sweeps.md": check_sweeps,
    "docs/tasks/classification.md": check_classification,
    "docs/tasks/forecasting.md": check_forecasting,
    "docs/tasks/generation.md": check_generation,
    "docs/tasks/music.md": check_music,
    "docs/tasks/speech.md": check_speech,
    "docs/tasks/tagging.md": check_tagging,
    "docs/tasks/translation.md": check_translation,
    "docs/tasks/video.md": check_video,
    "docs/vanishing-gradient.md": check_vanishing_gradient,
    "docs/webhooks.md": check_webhooks,
}


def test_every_marked_block_is_run_and_every_replacement_is_of_something() -> None:
    assert {name for name, text in PAGES.items() if "<!-- walk" in text} - {
        "CONTRIBUTING.md"
    } == CHECKS.keys()
    short = "".join(code for short, _, code in BLOCK.findall(ALL_TEXT) if short)
    assert [slow for slow in SHORTER if slow not in short] == []


def test_pages_that_are_read_first_are_short() -> None:
    assert len(PAGES["README.md"].splitlines()) <= MAX_README_LINES
    assert len(PAGES["CONTRIBUTING.md"].splitlines()) <= MAX_CONTRIBUTING_LINES


def test_every_task_has_a_page_with_the_same_headings_and_an_example() -> None:
    for task, path in zip(TASKS, EXAMPLES, strict=True):
        assert re.findall(r"^## (.+)$", PAGES[f"docs/tasks/{task}.md"], re.MULTILINE) == TASK_HEADINGS
        assert len(path.read_text().splitlines()) <= 60


def test_the_glossary_has_each_term_once_and_in_order() -> None:
    terms = re.findall(r"^\| ([^|]+) \| [^|]+ \|$", PAGES["docs/glossary.md"], re.MULTILINE)[1:]
    assert len(terms) > 50
    assert terms == sorted(set(terms), key=str.casefold)


def test_every_decision_is_numbered_listed_and_short() -> None:
    records = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    assert [record.name[:4] for record in records] == [
        f"{number:04}" for number in range(1, len(records) + 1)
    ]
    for record in records:
        assert f"({record.name})" in PAGES["docs/decisions/README.md"]
        text = record.read_text()
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequence"]
        assert 10 <= len(text.splitlines()) <= 25


def test_series_are_named_and_defaults_are_right() -> None:
    assert len(SERIES) >= 10
    assert {name for name, _ in DEFAULTS} >= {"MAX_BATCH", "MAX_WAITING", "MAX_QUEUE_SECONDS"}
    fields = Settings.model_fields
    assert [name for name, default in DEFAULTS if fields[name.lower()].default != float(default)] == []


def test_every_setting_is_described() -> None:
    described = set(re.findall(r"^\| `RECURRA_([A-Z_]+)` \|", PAGES["docs/deployment.md"], re.MULTILINE))
    assert {name.upper() for name in Settings.model_fields} == described


def test_every_variable_that_is_named_is_read() -> None:
    sources = [
        ROOT / "tests" / "conftest.py",
        ROOT / "docker-compose.yml",
        *(ROOT / "app" / "cli").rglob("*.py"),
        *(ROOT / "client").rglob("*.py"),
    ]
    read = "".join(path.read_text() for path in sources)
    named = set(re.findall(r"RECURRA_([A-Z_]+)", ALL_TEXT.replace("RECURRA_SWEEP_SECONDS", "")))
    assert [
        name for name in named if name.lower() not in Settings.model_fields and f"RECURRA_{name}" not in read
    ] == []


def test_every_make_target_that_is_named_exists() -> None:
    code = re.findall(r"`([^`\n]+)`", ALL_TEXT) + re.findall(r"(?m)^make .+$", ALL_TEXT)
    calls = re.findall(r"\bmake ((?:[a-z-]+ ?)+)", "\n".join(code))
    named = {target for call in calls for target in call.split()}
    named |= set(re.findall(r"`(bench-[a-z-]+)`", ALL_TEXT))
    assert named >= {
        "demo",
        "up",
        "test",
        "test-fast",
        "test-slow",
        "bench",
        "lint",
        "types",
        "contracts",
        "secrets",
    }
    makefile = (ROOT / "Makefile").read_text()
    assert [
        name for name in named if not re.search(rf"^([\w-]+ )*{name}( [\w-]+)*:", makefile, re.MULTILINE)
    ] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file_and_a_heading(page: str) -> None:
    for path, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", PAGES[page]):
        if path.startswith("http"):
            continue
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), path
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
            assert anchor in [
                re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings
            ]


@pytest.mark.parametrize("page", PAGES)
def test_every_module_that_is_named_exists(page: str) -> None:
    paths = [
        path
        for part in ("app", "workers", "client", "tests", "examples")
        for path in (ROOT / part).rglob("*.py")
    ]
    known = {path.name for path in paths} | {path.relative_to(ROOT).as_posix() for path in paths}
    assert {name for name in re.findall(r"[\w/]+\.py\b", PAGES[page]) if name not in known} == set()
    folders = re.findall(
        r"`((?:app|workers|client|tests|docs|examples|benchmarks|deploy|migrations)/[\w/]*)`", PAGES[page]
    )
    assert [name for name in folders if not (ROOT / name).is_dir()] == []
