"""`recurra backup` and `recurra restore`, also as processes, which are killed while they work."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import app
from app.database.engine import make_engine
from app.database.migrate import upgrade
from app.infrastructure.storage import Storage
from app.services.maintenance import restore, storage_checks
from tests.app.services.maintenance.test_backup import Installed
from tests.support.fixtures.servers import until

pytestmark = pytest.mark.server
DATA_SETS = 40  # enough that a process can be killed between the first and the last


def start(command: str, directory: Path, data_dir: Path, *options: str) -> "subprocess.Popen[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RECURRA_")}
    return subprocess.Popen(
        [sys.executable, "-m", "app.cli", command, str(directory), "--data-dir", str(data_dir), *options],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def run(command: str, directory: Path, data_dir: Path, *options: str) -> tuple[int, str, str]:
    """What a command does in this process."""
    done = CliRunner().invoke(app, [command, str(directory), "--data-dir", str(data_dir), *options])
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture(autouse=True)
def as_in_a_shell(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Without settings; and the mask for the modes of files is what it was, which the commands change."""
    for name in [name for name in os.environ if name.startswith("RECURRA_")]:
        monkeypatch.delenv(name)
    mask = os.umask(0o022)
    yield
    os.umask(mask)


def open_installed(data_dir: Path) -> Installed:
    """The installation in a data directory, which is made if there is none."""
    data_dir.mkdir(exist_ok=True)
    engine = make_engine(f"sqlite:///{data_dir / 'recurra.db'}")
    upgrade(engine)
    return Installed(engine, Storage((data_dir / "storage").as_uri()), data_dir)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """The data directory of an installation with many data sets and a version."""
    made = open_installed(tmp_path / "data")
    for _ in range(DATA_SETS):
        made.add_dataset()
    made.add_version()
    made.engine.dispose()
    return tmp_path / "data"


def kill_after(process: "subprocess.Popen[str]", pattern: Callable[[], int], files: int) -> None:
    """Kill a process when so many files are there."""
    until(lambda: pattern() >= files or process.poll() is not None, what="files", every=0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)
    assert process.returncode == -signal.SIGKILL, "it ended before it could be killed"


def test_there_and_back_and_killed_on_the_way(data_dir: Path, tmp_path: Path) -> None:
    directory, unfinished = tmp_path / "backup", tmp_path / ".backup.unfinished"
    kill_after(start("backup", directory, data_dir), lambda: len(list(unfinished.rglob("content"))), 3)
    assert not directory.exists()
    code, printed, errors = run("backup", directory, data_dir)
    assert (code, errors) == (0, "")
    assert f"{DATA_SETS} data sets, 1 jobs, 1 versions" in printed
    target = tmp_path / "target"
    stored = target / "storage" / "datasets"
    kill_after(start("restore", directory, target), lambda: len(list(stored.rglob("content"))), 3)
    code, printed, errors = run("restore", directory, target, "--json")
    assert (code, errors) == (0, "")
    facts = json.loads(printed)
    assert 0 < facts["restored"]["stored"] < facts["backup"]["files"]["count"]
    assert {path.stat().st_mode & 0o077 for path in (directory, *directory.rglob("*"))} == {0}
    source, copy = open_installed(data_dir), open_installed(target)
    assert (copy.files(), copy.rows()) == (source.files(), source.rows())
    assert storage_checks.damaged_versions(copy.sessions, copy.storage) == []
    assert copy.storage.keys(restore.MARKER_KEY) == []
    for made in (source, copy):
        made.engine.dispose()


def test_what_cannot_be_done_is_said_in_a_sentence(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    code, _, errors = run("backup", tmp_path / "full", data_dir)
    assert (code, errors) == (1, f"{tmp_path / 'full'} is not empty\n")
    code, _, errors = run("restore", tmp_path / "full", tmp_path / "target")
    assert (code, "has no backup.json" in errors, "Traceback" in errors) == (1, True, False)
    code, _, errors = run("restore", tmp_path / "none", tmp_path / "target")
    assert code == 2
    code, _, errors = run("backup", tmp_path / "backup", tmp_path / "nothing")
    assert (code, "There is no database yet" in errors) == (1, True)
    assert not (tmp_path / "nothing" / "recurra.db").exists()


def test_damage_is_named_and_the_rest_is_copied(data_dir: Path, tmp_path: Path) -> None:
    graph = next((data_dir / "storage" / "artifacts").rglob("model.onnx"))
    graph.write_bytes(b"altered")
    code, printed, errors = run("backup", tmp_path / "backup", data_dir, "--json")
    assert code == 1
    assert "the version m/1 is damaged" in errors
    assert json.loads(printed)["problems"] == [
        "the version m/1 is damaged: its files are not those that its training stored"
    ]
    assert run("restore", tmp_path / "backup", tmp_path / "target")[0] == 0
