"""The README's commands do what it says: they are run against a real service."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.settings import Settings
from tests.app.cli.stack.test_up import ENVIRONMENT, up

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
WALK = re.findall(r"<!-- walk -->\n```(bash|python)\n(.*?)```\n<!-- /walk -->", README, re.DOTALL)
BASH, PYTHON = ([code for language, code in WALK if language == wanted] for wanted in ("bash", "python"))
FASTER = {
    '"hidden_size": 192': '"hidden_size": 32',
    '"epochs": 4,': '"epochs": 1,',
    '"seeds": 2': '"seeds": 1',
}
SERIES = re.findall(r"`(recurra_[a-z_]+)`", README)
DEFAULTS = re.findall(r"^\| `RECURRA_([A-Z_]+)` \| ([0-9.]+) \|", README, re.MULTILINE)


def run(*command: str) -> str:
    """What a command prints; it must succeed."""
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=ENVIRONMENT, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def answers(text: str) -> list[dict[str, Any]]:
    """The JSON objects in what curl printed, in order; texts as they are found are left out."""
    found: list[dict[str, Any]] = []
    text = re.sub(r"(?m)data: .*$", "", text)
    place, decoder = 0, json.JSONDecoder()
    while (place := text.find("{", place)) >= 0:
        value, place = decoder.raw_decode(text, place)
        found.append(value)
    return found


@pytest.mark.timeout(600)
def test_the_walk_through_does_what_it_says(tmp_path: Path) -> None:
    assert (len(BASH), len(PYTHON)) == (7, 2)
    with up(tmp_path / "data") as (_, url):
        script = "\n".join(BASH).replace("http://127.0.0.1:8000", url)
        script = script.replace("weather.zip", f"{tmp_path}/weather.zip").replace(
            '"options": {"horizon": 14}', '"options": {"horizon": 14}, "training": {"epochs": 2}'
        )
        for slow, fast in FASTER.items():
            script = script.replace(slow, fast)
        told = run("bash", "-euo", "pipefail", "-c", script)
        completed, tensors = (
            run(sys.executable, "-c", snippet.replace("127.0.0.1:8000", url.removeprefix("http://")))
            for snippet in PYTHON
        )
        metrics = httpx.get(f"{url}/metrics").text
    check_forecasts(answers(told))
    check_serving(answers(told))
    check_texts(told)
    check_sweep(answers(told))
    assert len(completed) > 0
    assert "event: status" in told
    assert re.search(r"^server-timing: queue;dur=.*compute;dur=.*total;dur=", told, re.MULTILINE)
    assert (tmp_path / "weather.zip").stat().st_size > 1000
    assert tensors.splitlines() == ["(2, 7)", "float32"]
    assert [name for name in SERIES if f"# TYPE {name} " not in metrics] == []


def check_forecasts(told: list[dict[str, Any]]) -> None:
    version = next(answer for answer in told if "baseline" in answer)
    assert version["metrics"]["smape"] > 0
    first, second = (answer for answer in told if "predictions" in answer and answer["model"] == "weather")
    (prediction,) = first["predictions"]
    assert len(prediction["mean"]) == 14
    assert prediction["timestamps"][0] == "2016-01-15"
    assert (first["version"], second["version"]) == (1, 2)
    assert len(second["predictions"][0]["mean"]) == 3
    (batch,) = (answer for answer in told if "index" in answer)
    assert (batch["index"], len(batch["mean"])) == (0, 7)


def check_serving(told: list[dict[str, Any]]) -> None:
    pointed = [(answer["versions"], answer["shadow"]) for answer in told if answer.get("alias")]
    assert pointed == [({"1": 1.0}, None), ({"1": 1.0}, 2), ({"1": 0.9, "2": 0.1}, None), ({"2": 1.0}, None)]
    metadata = next(answer for answer in told if answer.get("platform") == "recurra")
    assert {field["name"] for field in metadata["inputs"]} >= {"values", "start", "freq", "lengths"}
    inferred = next(answer for answer in told if "model_name" in answer)
    assert (inferred["model_name"], inferred["model_version"]) == ("weather", "2")
    assert inferred["outputs"][0]["shape"] == [1, 3]


def check_sweep(told: list[dict[str, Any]]) -> None:
    board = next(answer["leaderboard"] for answer in told if "leaderboard" in answer)
    assert [trial["rank"] for trial in board] == [1, 2, 3]
    assert {trial["parameters"]["network.cell"] for trial in board} == {"rnn", "lstm", "gru"}
    assert all(len(trial["seeds"]) == 1 for trial in board)


def check_texts(told: str) -> None:
    mood = next(
        answer for answer in answers(told) if answer.get("model") == "mood" and "predictions" in answer
    )
    for prediction in mood["predictions"]:
        assert prediction["label"] == max(prediction["scores"], key=prediction["scores"].get)
        assert sum(prediction["scores"].values()) == pytest.approx(1)
    events = [json.loads(line) for line in re.findall(r"(?m)data: (.*)$", told)]
    pieces = [event["text"] for event in events if "index" in event]
    (whole,) = (event for event in events if "predictions" in event)
    (prediction,) = whole["predictions"]
    assert "".join(pieces) == prediction["text"]
    assert prediction["tokens"] <= 200


def test_it_names_the_series_and_defaults_it_has() -> None:
    assert len(SERIES) >= 10
    assert {name for name, _ in DEFAULTS} >= {"MAX_BATCH", "MAX_WAITING", "MAX_QUEUE_SECONDS"}
    fields = Settings.model_fields
    assert [name for name, told in DEFAULTS if fields[name.lower()].default != float(told)] == []


@pytest.mark.parametrize(
    "target",
    [
        "demo",
        "demo-all",
        "test",
        "test-slow",
        "up",
        "bench",
        "bench-serving",
        "bench-overload",
        "lint",
        "types",
        "contracts",
        "secrets",
    ],
)
def test_every_make_target_it_names_exists(target: str) -> None:
    assert f"make {target}" in README or f" {target}" in README
    rule = rf"^([\w-]+ )*{target}( [\w-]+)*:"
    assert re.search(rule, (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_every_file_it_links_to_exists() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_module_it_names_exists() -> None:
    there = {path.name for part in ("app", "workers") for path in (ROOT / part).rglob("*.py")}
    there |= {
        str(path.relative_to(ROOT)) for part in ("app", "workers") for path in (ROOT / part).rglob("*.py")
    }
    assert {name for name in re.findall(r"[\w/]+\.py\b", README) if name not in there} == set()


def test_every_variable_it_names_is_read() -> None:
    settings = (ROOT / "app" / "settings.py").read_text()
    tests = (ROOT / "tests" / "conftest.py").read_text() + (ROOT / "app" / "cli" / "client.py").read_text()
    cli = "".join(path.read_text() for path in (ROOT / "app" / "cli").rglob("*.py"))
    for name in set(re.findall(r"RECURRA_([A-Z_]+)", README)):
        known = f"{name.lower()}:" in settings or f"RECURRA_{name}" in tests + cli
        assert known, name
