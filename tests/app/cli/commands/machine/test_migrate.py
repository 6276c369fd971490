"""`recurra migrate`: the files that it makes, and a database that is ahead of it."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.server
def test_a_file_is_copied_before_it_is_changed_and_goes_down_and_up(tmp_path: Path) -> None:
    assert migrate(tmp_path).returncode == 0
    down = migrate(tmp_path, "--to", SINGLE)
    assert down.returncode == 0, down.stderr
    assert f"to {SINGLE}" in down.stderr
    (copy,) = tmp_path.glob("new.db.*Z")
    assert str(copy) in down.stderr
    assert (revision(tmp_path / "new.db"), revision(copy) == SINGLE) == (SINGLE, False)
    assert {path.stat().st_mode & 0o077 for path in tmp_path.iterdir()} == {0}
    head = revision(copy)
    assert migrate(tmp_path, "--to", SINGLE[:6]).stderr == ""  # nothing to do
    assert migrate(tmp_path).returncode == 0
    assert revision(tmp_path / "new.db") == head
    assert {revision(path) for path in tmp_path.glob("new.db.*Z")} == {head, SINGLE}
    unknown = migrate(tmp_path, "--to", "nowhere")
    assert (unknown.returncode, "Traceback" in unknown.stderr) == (1, False)
    assert "There is no migration nowhere" in unknown.stderr
    assert migrate(tmp_path, "--to", "base").returncode == 0
    assert revision(tmp_path / "new.db") is None


def revision(path: Path) -> str | None:
    database = sqlite3.connect(path)
    row = database.execute("select version_num from alembic_version").fetchone()
    database.close()
    return None if row is None else str(row[0])
