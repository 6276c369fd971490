"""What the web process loads: no torch, little memory, and soon."""

import json
import os
import subprocess
import sys

PROBE = """
import json, sys
from pathlib import Path
sys.modules["opentelemetry.sdk"] = None  # of MLflow, in tests only; redis-py imports it
import app.main
pages = int(Path("/proc/self/statm").read_text().split()[1]) if sys.platform == "linux" else 0
heavy = {"numpy.random", "scipy", "sklearn", "torch", "onnxruntime", "onnx", "safetensors", "pyarrow"}
heavy |= {"alembic", "workers"}
print(json.dumps({"heavy": sorted(heavy & set(sys.modules)), "mib": pages * 4096 / 2**20}))
"""


def probe() -> dict[str, object]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    run = subprocess.run(
        [sys.executable, "-c", PROBE], capture_output=True, text=True, check=True, env=environment
    )
    found: dict[str, object] = json.loads(run.stdout)
    return found


def test_the_web_process_loads_nothing_of_the_workers() -> None:
    assert probe()["heavy"] == []


def test_the_web_process_is_small() -> None:
    mib = probe()["mib"]
    assert isinstance(mib, float)
    assert mib < 103  # four are opentelemetry, which redis-py imports where it is
