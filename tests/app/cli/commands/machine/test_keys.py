"""Keys on the machine: `recurra keys` makes the first one in an installation that has none."""

import json
import re
from pathlib import Path

import pytest
from sqlalchemy import select
from typer.testing import CliRunner, Result

from app.cli import app
from app.database.engine import make_engine, make_sessions
from app.database.migrate import downgrade
from app.database.projects import ALL_PROJECTS
from app.database.tables import AuditEntry, Key
from app.services.access.keys import KEY_PATTERN, digest


@pytest.fixture(autouse=True)
def own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECURRA_DATABASE_URL", raising=False)
    monkeypatch.setenv("RECURRA_DATA_DIR", str(tmp_path / "data"))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["keys", *arguments])


def test_the_first_key_is_printed_alone(tmp_path: Path) -> None:
    done = run("create", "me")
    assert done.exit_code == 0, done.output
    key = done.stdout.strip()
    assert KEY_PATTERN.fullmatch(key)
    assert "read, predict, train, admin" in done.stderr
    engine = make_engine(f"sqlite:///{tmp_path / 'data' / 'recurra.db'}")
    try:
        with make_sessions(engine, ALL_PROJECTS)() as session:
            row = session.scalars(select(Key)).one()
            assert (row.name, row.project, row.digest) == ("me", "default", digest(key))
            entry = session.scalars(select(AuditEntry)).one()
            assert (entry.action, entry.address, entry.key_id) == ("create_key", "machine", None)
    finally:
        engine.dispose()


def test_keys_are_made_listed_and_revoked() -> None:
    options = ["--project", "ops", "--scopes", "read,predict", "--days", "2", "--queued-jobs", "3", "--json"]
    made = json.loads(run("create", "robot", *options).stdout)
    assert (made["project"], made["scopes"]) == ("ops", ["read", "predict"])
    assert made["expires_at"] is not None
    run("create", "other")
    listed = json.loads(run("list", "--json").stdout)
    assert [key["name"] for key in listed] == ["robot", "other"]
    assert "key" not in listed[0]
    assert made["key"] not in run("list").stdout
    assert run("revoke", made["id"]).exit_code == 0
    assert [key["name"] for key in json.loads(run("list", "--json").stdout)] == ["other"]
    again = run("revoke", made["id"])
    assert again.exit_code == 1
    assert "There is no key" in again.stderr


@pytest.mark.parametrize(
    "arguments", [["--scopes", "read,all"], ["--project", "a b"], ["--days", "-1"], ["--queued-jobs", "-1"]]
)
def test_wrong_usage(arguments: list[str]) -> None:
    assert run("create", "x", *arguments).exit_code == 2


def test_an_older_database_is_left_alone(tmp_path: Path) -> None:
    assert run("create", "me").exit_code == 0
    engine = make_engine(f"sqlite:///{tmp_path / 'data' / 'recurra.db'}")
    try:
        downgrade(engine, "71e4d9a3c5f0")
        done = run("create", "me")
    finally:
        engine.dispose()
    assert done.exit_code == 1
    assert re.search("recurra migrate", done.stderr)
