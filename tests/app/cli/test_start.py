"""The command line starts with few imports: help, version and health checks are run often."""

import inspect
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from app.cli import MEMBERS, app
from app.cli.lazy_group import LazyCommand
from app.cli.stack import command_lines
from app.cli.stack.command_lines import WORKER_MODULES, PackagesMissing, check_worker_packages
from app.infrastructure.liveness import LivenessFile

ROOT = Path(__file__).parents[3]
LARGE = {
    "sqlalchemy",
    "pydantic_settings",
    "httpx",
    "celery",
    "redis",
    "numpy",
    "fastapi",
    "alembic",
}
PROBE = """
import sys
from app.cli import app
status = 0
try:
    app(sys.argv[1:])
except SystemExit as end:
    status = end.code
print("loaded:", *sorted(set(sys.modules) & {large}))
sys.exit(status)
"""


def run(*arguments: str) -> tuple[int, list[str]]:
    """The exit status of a command in a fresh process, and the large libraries that it loaded."""
    command = [sys.executable, "-c", PROBE.format(large=LARGE), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    *_, last = done.stdout.splitlines()
    return done.returncode, last.split()[1:]


def test_help_version_and_health_checks_load_no_large_library(tmp_path: Path) -> None:
    check = ("worker", "--role", "train", "--check", "--data-dir", str(tmp_path))
    assert run("--help") == (0, [])
    assert run("--version") == (0, [])
    assert run(*check) == (1, [])
    LivenessFile(tmp_path, "train", "w").touch()
    assert run(*check) == (0, [])


@pytest.mark.parametrize("member", MEMBERS, ids=[member.name for member in MEMBERS])
def test_the_help_says_of_a_command_what_it_says_itself(member: LazyCommand) -> None:
    module, _, attribute = member.location.partition(":")
    target = getattr(import_module(module), attribute)
    own = target.info.help if isinstance(target, typer.Typer) else inspect.getdoc(target)
    assert member.summary == (own or "").splitlines()[0]
    shown = CliRunner().invoke(app, [member.name, "--help"]).output
    assert " ".join(member.summary.split()) in " ".join(shown.split())
    assert f"Usage: recurra {member.name} " in shown


def test_the_help_lists_all_and_a_misspelled_command_gets_the_nearest() -> None:
    shown = CliRunner().invoke(app, ["--help"]).output
    assert all(f"  {member.name} " in shown for member in MEMBERS)
    misspelled = CliRunner().invoke(app, ["jbos"])
    assert misspelled.exit_code == 2
    assert "Did you mean 'jobs'?" in misspelled.output


def test_the_version_is_the_project_s() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.output) == (0, f"recurra {project['version']}\n")


def test_the_packages_of_workers_are_those_of_the_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {entry.split("=")[0].rstrip(">") for entry in project["optional-dependencies"]["worker"]}
    assert set(WORKER_MODULES.values()) == names
    check_worker_packages()


@pytest.mark.parametrize("command", [["up", "--port", "0"], ["worker", "--role", "train"], ["demo"]])
def test_without_the_workers_packages_a_command_says_what_to_install(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_lines, "find_spec", lambda name: None if name in {"torch", "onnx"} else name)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 1
    assert "packages that are not installed: onnx, torch" in done.output
    assert "-m pip install 'recurra-server[worker]'" in " ".join(done.output.split())
    assert not list(tmp_path.iterdir())  # nothing was started
    with pytest.raises(PackagesMissing):
        check_worker_packages()
