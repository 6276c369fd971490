"""The README's commands do what it says: they are run against a real service."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.app.cli.test_up import up

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
WALK = re.findall(r"<!-- walk -->\n```bash\n(.*?)```\n<!-- /walk -->", README, re.DOTALL)


def test_the_walk_through_reaches_a_forecast(tmp_path: Path) -> None:
    assert len(WALK) == 2
    with up(tmp_path / "data") as (_, url):
        script = (
            "\n".join(WALK)
            .replace("http://127.0.0.1:8000", url)
            .replace("weather.zip", f"{tmp_path}/weather.zip")
        )
        script = script.replace(
            '"options": {"horizon": 14}', '"options": {"horizon": 14}, "training": {"epochs": 2}'
        )
        run = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=150,
            check=False,
        )
    assert run.returncode == 0, run.stderr + run.stdout
    answers = [json.loads(part) for part in re.split(r"(?<=\})(?=\{)", run.stdout.split("retry:")[0])]
    version = next(answer for answer in answers if "baseline" in answer)
    assert version["metrics"]["smape"] > 0
    forecast = next(answer for answer in answers if "predictions" in answer)
    (prediction,) = forecast["predictions"]
    assert len(prediction["mean"]) == 14
    assert prediction["timestamps"][0] == "2016-01-15"
    assert "event: status" in run.stdout
    assert (tmp_path / "weather.zip").stat().st_size > 1000


@pytest.mark.parametrize(
    "target", ["demo", "test", "up", "bench", "lint", "types", "contracts", "secrets", "test-slow"]
)
def test_every_make_target_it_names_exists(target: str) -> None:
    assert f"make {target}" in README or f" {target}" in README
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_every_file_it_links_to_exists() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_variable_it_names_is_read() -> None:
    settings = (ROOT / "app" / "settings.py").read_text()
    tests = (ROOT / "tests" / "conftest.py").read_text() + (ROOT / "app" / "client.py").read_text()
    cli = "".join(path.read_text() for path in (ROOT / "app" / "cli").glob("*.py"))
    for name in set(re.findall(r"RECURRA_([A-Z_]+)", README)):
        known = f"{name.lower()}:" in settings or f"RECURRA_{name}" in tests + cli
        assert known, name
