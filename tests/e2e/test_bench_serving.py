"""The serving benchmark runs through: Recurra alone, short cells, no answer wrong."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.slow
def test_a_short_run_of_recurra_alone() -> None:
    command = [
        sys.executable,
        "-m",
        "benchmarks.serving",
        "--smoke",
        "--only",
        "recurra",
        "--clients",
        "1",
        "32",
    ]
    results = ROOT / "benchmarks" / "RESULTS.md"
    before = results.read_text()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("| Recurra") and "MiB" in line]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[4] == "0", done.stdout  # wrong replies; a busy machine may refuse some, which is no fault
    assert done.stdout.startswith("round 1, Recurra")
    assert "steps/s of mixed lengths" in done.stdout
    assert results.read_text() == before  # a part of the benchmark is no result
