"""`recurra migrate`: the files that it makes, and a database that is ahead of it."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.cli import app

SINGLE = "baf3be129779"  # the first schema


def migrate(directory: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RECURRA_")}
    return subprocess.run(
        [sys.executable, "-m", "app.cli", "migrate", *options],
        env=environment | {"RECURRA_DATABASE_URL": f"sqlite:///{directory / 'new.db'}"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.server
def test_only_its_user_reads_the_database_and_a_newer_one_is_named(tmp_path: Path) -> None:
    done = migrate(tmp_path)
    assert done.returncode == 0, done.stderr
    assert {path.stat().st_mode & 0o077 for path in tmp_path.iterdir()} == {0}
    with sqlite3.connect(tmp_path / "new.db") as database:
        database.execute("update alembic_version set version_num = 'ffff00001111'")
    database.close()
    done = migrate(tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "newer release of Recurra, to ffff00001111" in " ".join(done.stderr.split())


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Result]]:
    """The same in this process, whose mask for the modes of files it changes."""
    monkeypatch.setenv("RECURRA_DATABASE_URL", f"sqlite:///{tmp_path / 'new.db'}")
    mask = os.umask(0o022)
    yield lambda *options: CliRunner().invoke(app, ["migrate", *options])
    os.umask(mask)


@pytest.mark.server
def test_a_file_is_copied_before_it_is_changed_and_goes_down_and_up(
    here: Callable[..., Result], tmp_path: Path
) -> None:
    assert here().exit_code == 0
    down = here("--to", SINGLE)
    assert down.exit_code == 0, down.stderr
    assert f"to {SINGLE}" in down.stderr
    (copy,) = tmp_path.glob("new.db.*Z")
    assert str(copy) in down.stderr
    assert (revision(tmp_path / "new.db"), revision(copy) == SINGLE) == (SINGLE, False)
    assert {path.stat().st_mode & 0o077 for path in tmp_path.iterdir()} == {0}
    head = revision(copy)
    assert here("--to", SINGLE[:6]).stderr == ""  # nothing to do
    assert here().exit_code == 0
    assert revision(tmp_path / "new.db") == head
    assert {revision(path) for path in tmp_path.glob("new.db.*Z")} == {head, SINGLE}
    unknown = here("--to", "nowhere")
    assert (unknown.exit_code, "Traceback" in unknown.stderr) == (1, False)
    assert "There is no migration nowhere" in unknown.stderr
    assert here("--to", "base").exit_code == 0
    assert revision(tmp_path / "new.db") is None


def revision(path: Path) -> str | None:
    database = sqlite3.connect(path)
    row = database.execute("select version_num from alembic_version").fetchone()
    database.close()
    return None if row is None else str(row[0])
