"""What is built and installed: a client without the server, which depends on exactly that client."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from app.main import create_app
from app.settings import Settings
from recurra import __version__
from tests.support.fixtures.stack import Stack

ROOT = Path(__file__).parents[2]
MAX_INSTALLED_MIB = 25
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
SERVER = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CLIENT = tomllib.loads((ROOT / "client" / "pyproject.toml").read_text())["project"]

TWO_LINES = """
import importlib.util, json, os
import pandas as pd
import recurra
absent = ["app", "workers", "migrations", "torch", "pyarrow", "fastapi"]
assert [name for name in absent if importlib.util.find_spec(name)] == []
months = pd.date_range("2020-01-01", periods=60, freq="MS")
df = pd.DataFrame({"ds": months, "y": [100.0 + month + 5 * (month % 12) for month in range(60)]})
client = recurra.Client()
model = client.train(df, task="forecasting", model="py-fresh", horizon=6, training={"epochs": 2})
forecast = model.predict(df, level=[80, 95])
print(json.dumps({"columns": list(forecast.columns), "rows": len(forecast), "file": recurra.__file__}))
"""
PROBE = """
import sys, recurra
large = {"pandas", "polars", "numpy", "IPython"}
print(sorted({name.partition('.')[0] for name in sys.modules} & large))
"""


def test_both_distributions_have_one_version() -> None:
    assert SERVER["version"] == __version__ == create_app(Settings()).version
    assert f"recurra=={__version__}" in SERVER["dependencies"]
    assert (SERVER["name"], CLIENT["name"]) == ("recurra-server", "recurra")


def test_the_client_needs_only_httpx() -> None:
    assert [re.split(r"[<>=]", one)[0] for one in CLIENT["dependencies"]] == ["httpx"]
    assert set(CLIENT["optional-dependencies"]) == {"pandas", "polars"}
    run = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"  # frames of a library that nobody has imported are not looked for


@pytest.mark.timeout(900)
@pytest.mark.slow  # builds two wheels and an environment, from the index that pip is configured for
def test_two_lines_in_a_fresh_environment(stack: Stack, tmp_path: Path) -> None:
    client, server = build_wheels(tmp_path)
    assert contents(client) == {"recurra", f"recurra-{__version__}.dist-info"}
    assert contents(server) == {"app", "workers", "migrations", f"recurra_server-{__version__}.dist-info"}
    with zipfile.ZipFile(client) as archive:
        assert "recurra/py.typed" in archive.namelist()
    venv.create(tmp_path / "fresh")
    python = str(tmp_path / "fresh" / "bin" / "python")
    site = next((tmp_path / "fresh" / "lib").glob("python*/site-packages"))
    subprocess.run([*PIP, "--python", python, "install", "--quiet", str(client)], check=True)
    assert installed_bytes(site) / 2**20 < MAX_INSTALLED_MIB
    subprocess.run([*PIP, "--python", python, "install", "--quiet", "pandas>=2.2,<3"], check=True)
    environment = {"RECURRA_URL": str(stack.http.base_url), "PATH": "/usr/bin:/bin"}
    run = subprocess.run(
        [python, "-c", TWO_LINES], capture_output=True, text=True, env=environment, cwd=tmp_path, check=False
    )
    assert run.returncode == 0, run.stderr
    printed = json.loads(run.stdout)
    assert printed["columns"] == ["ds", "mean", "median", "lo-95", "lo-80", "hi-80", "hi-95"]
    assert printed["rows"] == 6
    assert Path(printed["file"]).is_relative_to(tmp_path)


def build_wheels(folder: Path) -> tuple[Path, Path]:
    """The wheels of client and server, built from a copy of what they are made of."""
    copy, wheels = folder / "copy", folder / "wheels"
    copy.mkdir()
    for name in ("app", "workers", "migrations", "client"):
        ignored = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for source in (copy / "client", copy):
        build = [*PIP, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(wheels), str(source)]
        subprocess.run(build, check=True)
    client, server = sorted(wheels.iterdir())
    return client, server


def contents(wheel: Path) -> set[str]:
    """What lies at the top of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name.partition("/")[0] for name in archive.namelist()}


def installed_bytes(folder: Path) -> int:
    """The bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
