"""The demo holds data out, draws what it says, and fails loudly when a network is not better."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.cli.demo.forecast import HORIZON, SAMPLE, HeldOut, curls, hold_out, worse
from app.cli.demo.plot import forecast_plot


def test_the_last_steps_are_held_out(tmp_path: Path) -> None:
    held_out = hold_out(SAMPLE, tmp_path / "cut.csv", HORIZON)
    whole, cut = SAMPLE.read_text().splitlines(), held_out.path.read_text().splitlines()
    assert cut == whole[:-HORIZON]
    (actual,), (instance,) = held_out.actual, held_out.instances
    assert [f"{value:g}" for value in actual if value is not None] == [
        f"{float(line.split(',')[2]):g}" for line in whole[-HORIZON:]
    ]
    assert len(instance["values"]) == len(whole) - 1 - HORIZON


def test_a_network_that_is_not_better_is_named() -> None:
    version = {
        "model": "demo-gru",
        "metrics": {"smape": 9.0, "mase": 1.2},
        "baseline": {"smape": 10.0, "mase": 1.2},
    }
    assert worse(version) == ["demo-gru has mase 1.2, the seasonal naive forecast 1.2"]
    version["metrics"] = {"smape": 9.0, "mase": float("nan")}
    assert len(worse(version)) == 1


def test_the_calls_are_real(tmp_path: Path) -> None:
    instance = {"item_id": "a", "start": "2024-01-01", "freq": "D", "values": [float(n) for n in range(90)]}
    job = {
        "id": "job_1", "task": "forecasting", "dataset": "ds_1", "model": "demo-gru", "model_version": 1,
        "options": {"horizon": HORIZON}, "network": {"cell": "gru"},
    }  # fmt: skip
    lines = list(curls("http://server", HeldOut(tmp_path, [instance], [[]]), job))
    bodies = [json.loads(line.split("'")[3]) for line in lines if " -d '" in line]
    assert bodies[0]["network"] == {"cell": "gru"}
    assert bodies[1]["instances"][0]["values"][-1] == 89
    assert any(line.endswith("http://server/v1/jobs/job_1") for line in lines)


def test_the_plot_fits_a_terminal_and_bears_missing_values() -> None:
    past = [None, *(float(n) for n in range(40))]
    drawn = forecast_plot(
        past, [41.0, None, 43.0], [41.0, 42.0, 43.0], [39.0, 40.0, 40.0], [43.0, 44.0, 46.0]
    )
    lines = drawn.plain.splitlines()
    assert max(map(len, lines)) <= 85
    assert drawn.plain.count("•") == 3  # two that came, and the legend's
    assert len(lines) < 24


@pytest.mark.slow
def test_the_whole_demo(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RECURRA_")}
    done = subprocess.run(
        [sys.executable, "-P", "-c", "from app.cli import main; main()", "demo"],
        capture_output=True, text=True, timeout=175, cwd=tmp_path, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Both networks beat the seasonal naive forecast" in done.stdout
    assert "Traceback" not in done.stderr
    assert not any(tmp_path.iterdir())
