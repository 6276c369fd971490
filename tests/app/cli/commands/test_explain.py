"""`recurra explain` with a client played by the test."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from app.cli import app

ANSWER: dict[str, Any] = {
    "model": "mood",
    "version": 2,
    "prediction": {"label": "pos", "scores": {"pos": 1.0}},
    "method": "gradient",
    "steps": [f"word{step}" for step in range(30)],
    "influence": [0.5, *[0.01] * 28, 0.22],
    "layers": [],
    "gates": {},
    "hidden": [],
    "memory_length": 30,
}


@pytest.fixture
def requested(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the client was asked for."""
    calls: list[tuple[Any, ...]] = []

    def explain(_: object, model: str, body: Any, **which: Any) -> Any:
        calls.append((model, body, which))
        return ANSWER

    def picture(_: object, model: str, body: Any, **which: Any) -> bytes:
        calls.append((model, body, which))
        return b"<svg/>"

    monkeypatch.setattr("recurra.rest.RestClient.explain", explain)
    monkeypatch.setattr("recurra.rest.RestClient.explanation_svg", picture)
    monkeypatch.setattr("recurra.rest.RestClient.task_of", lambda *_: "classification")
    return calls


def run(*arguments: object, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, ["explain", "mood", *map(str, arguments)], input=stdin)


def test_the_steps_with_most_influence_are_a_table(requested: list[tuple[Any, ...]]) -> None:
    done = run('{"text": "a joy"}', "--parameter", "top_k=1", "--version", 2)
    assert done.exit_code == 0, done.output
    assert requested == [
        (
            "mood",
            {"instances": [{"text": "a joy"}], "parameters": {"top_k": 1}, "method": "gradient"},
            {"version": 2},
        )
    ]
    title, _, *rows = done.stdout.splitlines()
    assert title == "mood version 2: 30 of 30 steps hold nine tenths of the influence"
    assert len(rows) == 20
    assert rows[0].split()[:3] == ["1", "word0", "0.5"]
    assert rows[-1].split()[:3] == ["30", "word29", "0.22"]
    assert rows[0].count("█") > 2 * rows[-1].count("█") > 0


def test_all_of_it_is_json_or_a_picture(requested: list[tuple[Any, ...]], tmp_path: Path) -> None:
    whole = json.dumps({"instances": [{"text": "a"}], "method": "integrated_gradients"})
    assert json.loads(run(whole, "--json").stdout) == ANSWER
    assert requested[0][1]["method"] == "integrated_gradients"
    path = tmp_path / "why.svg"
    done = run('{"text": "a"}', "--svg", path, "--alias", "best", "--integrated")
    assert (done.exit_code, done.stdout, path.read_text()) == (0, "", "<svg/>")
    assert requested[1][1:] == (
        {"instances": [{"text": "a"}], "parameters": {}, "method": "integrated_gradients"},
        {"alias": "best"},
    )
    assert run('{"text": "a"}', "--svg", tmp_path / "none" / "why.svg").exit_code == 2


def test_one_instance_of_a_file(requested: list[tuple[Any, ...]], tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text('{"text": "a"}\n{"text": "b"}\n')
    several = run(path)
    assert (several.exit_code, "name one by --index" in several.stderr) == (2, True)
    assert run(path, "--index", 2).exit_code == 2
    assert run(path, "--index", 1).exit_code == 0
    assert run("-", stdin='{"text": "c"}').exit_code == 0
    assert [body["instances"] for _, body, _ in requested] == [[{"text": "b"}], [{"text": "c"}]]


def test_wrong_usage(requested: list[tuple[Any, ...]]) -> None:
    missing = run("a joy")
    assert (missing.exit_code, "JSON begins with {" in missing.stderr) == (2, True)
    assert run('{"text": "a"}', "--version", 1, "--alias", "best").exit_code == 2
    assert requested == []
