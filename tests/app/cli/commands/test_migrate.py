"""`recurra migrate`: the files that it makes, and a database that is ahead of it."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest


def migrate(directory: Path) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RECURRA_")}
    return subprocess.run(
        [sys.executable, "-m", "app.cli", "migrate"],
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
