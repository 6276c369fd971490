"""The serving benchmark runs through: Recurra alone, text, or forecasts; short cells, no answer wrong."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fixtures.real_data import shared

ROOT = Path(__file__).parent.parent.parent


RESULTS = ROOT / "benchmarks" / "RESULTS.md"


def run_quick(*options: str, seconds: float) -> str:
    """What a short run prints; it leaves the results alone."""
    command = [sys.executable, "-m", "benchmarks.serving", "--quick", *options]
    before = RESULTS.read_text()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, done.stderr
    assert RESULTS.read_text() == before  # a part of the benchmark is no result
    return done.stdout


def costs(printed: str) -> list[list[str]]:
    """Cells of the lines about what a server costs."""
    lines = [line for line in printed.splitlines() if line.startswith("|") and "MiB" in line]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.slow
def test_a_short_run_of_recurra_alone() -> None:
    printed = run_quick("--part", "numeric", "--only", "recurra", "--clients", "1", "32", seconds=150)
    (cells,) = costs(printed)
    assert cells[0].startswith("Recurra")
    assert cells[4] == "0", printed  # wrong replies; a busy machine may refuse some, which is no fault
    assert printed.startswith("round 1, Recurra")
    assert "steps/s of mixed lengths" in printed


@pytest.mark.slow
@pytest.mark.timeout(420)
def test_a_short_run_of_text() -> None:
    for name in ("classification/movie_snippets.jsonl", "tagging/wnut16_ner.jsonl"):
        shared(name)
    printed = run_quick("--part", "text", "--clients", "8", seconds=400)
    rows = costs(printed)
    assert [row[0].split(" (")[0] for row in rows] == [
        "sentiment, Recurra",
        "sentiment, FastAPI, model in its process",
        "tagging, Recurra",
        "tagging, FastAPI, model in its process",
        "numbers, Recurra",
    ]
    assert [row[2] for row in rows] == ["0"] * 5, printed  # wrong replies
    for what in ("sentiment", "tagging"):
        assert f"| {what}: requests/s at 8 clients / FastAPI |" in printed
        assert f"| {what}: requests/s at 8 clients / numbers |" in printed


@pytest.mark.slow
@pytest.mark.timeout(420)
def test_a_short_run_of_forecasts() -> None:
    """The bare FastAPI needs no package that the project lacks, so its interpreter does for the peer's."""
    shared("forecasting/seattle_weather_daily.csv")
    which = ("--data", "forecast-64", "--only", "recurra", "fastapi", "--clients", "32")
    printed = run_quick("--part", "predictions", *which, "--python", sys.executable, seconds=400)
    rows = costs(printed)
    assert [row[0].rpartition(", ")[2] for row in rows] == ["same work"] * 2 + ["bare network"] * 2
    assert [row[4] for row in rows] == ["0"] * 4, printed  # wrong replies
    for work in ("same work", "bare network"):
        assert f"| forecast-64 | requests/s at 32 clients / fastapi, {work} |" in printed
