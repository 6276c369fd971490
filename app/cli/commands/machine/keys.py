"""`recurra keys …`: keys made, listed and revoked on the service's machine, directly in its database."""

import getpass
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.cli.commands.machine.migrate import open_database
from app.cli.console import AsJson, notes, print_json, print_table
from app.cli.installation import DataDir, fail
from app.database.engine import make_sessions
from app.database.migrate import is_current, is_empty, upgrade
from app.database.projects import ALL_PROJECTS, DEFAULT_PROJECT
from app.database.tables import Key
from app.errors import NotFound
from app.infrastructure.processes.managed import keep_files_private
from app.patterns import PATTERNS_IN_WORDS, PROJECT_PATTERN
from app.services.access import audit, keys
from app.services.access.callers import Caller, KeyLimits, Scope
from app.times import rfc3339
from app.typedefs import Json

app = typer.Typer(no_args_is_help=True, help="Keys of a service, on its machine: create, list, revoke.")

MACHINE = "machine"  # the address in the audit


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    *,
    project: Annotated[str, typer.Option(help="The project that the key is for.")] = DEFAULT_PROJECT,
    scopes: Annotated[str, typer.Option(help="What it may do, with commas between.")] = ",".join(Scope),
    days: Annotated[
        float | None, typer.Option(min=0.0, help="After so many days it expires; by default never.")
    ] = None,
    requests_per_second: Annotated[float | None, typer.Option(min=0.001)] = None,
    queued_jobs: Annotated[int | None, typer.Option(min=0)] = None,
    running_jobs: Annotated[int | None, typer.Option(min=0)] = None,
    stored_bytes: Annotated[int | None, typer.Option(min=0)] = None,
    as_json: AsJson = False,
    data_dir: DataDir = Path(".recurra"),
) -> None:
    """Make a key and print it, this once."""
    if not re.match(PROJECT_PATTERN, project):
        raise typer.BadParameter(f"a project's name has {PATTERNS_IN_WORDS[PROJECT_PATTERN]}")
    granted = _parse_scopes(scopes)
    limits = KeyLimits(requests_per_second, queued_jobs, running_jobs, stored_bytes)
    expires_at = None if days is None else (datetime.now(UTC) + timedelta(days=days)).timestamp()
    with _session(data_dir, project) as session:
        made = keys.create(session, name, granted, limits, expires_at)
        _record(session, "create_key", made.row)
    if as_json:
        print_json({**_represent(made.row), "key": made.key})
        return
    typer.echo(made.key)
    notes().print(
        f"{made.row.id} for the project {project}: {', '.join(made.row.scopes)}. "
        "The key is not shown again; programs read it from RECURRA_API_KEY.",
        style="dim",
        soft_wrap=True,
    )


def _parse_scopes(text: str) -> list[Scope]:
    try:
        return [Scope(name.strip()) for name in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"{error}; there are {', '.join(Scope)}") from None


@app.command("list")
def list_(*, as_json: AsJson = False, data_dir: DataDir = Path(".recurra")) -> None:
    """List the keys of all projects that are not revoked."""
    with _session(data_dir, ALL_PROJECTS) as session:
        rows = [_represent(row) for row in keys.list_all(session)]
    if as_json:
        print_json(rows)
        return
    columns = ("id", "name", "project", "prefix", "scopes", "expires_at")
    print_table(columns, [[_cell(row[column]) for column in columns] for row in rows])


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id, `key_…`.")],
    *,
    data_dir: DataDir = Path(".recurra"),
) -> None:
    """Make a key void; every API process refuses it within a second."""
    try:
        with _session(data_dir, ALL_PROJECTS) as session:
            _record(session, "delete_key", keys.revoke(session, key_id))
    except NotFound as error:
        fail(notes(), error.message)


@contextmanager
def _session(data_dir: Path, project: str) -> Iterator[Session]:
    """A transaction in the installation's database, whose tables are made if it has none yet."""
    keep_files_private()
    data_dir.mkdir(parents=True, exist_ok=True)
    with open_database(data_dir) as engine:
        _check_schema(engine)
        with make_sessions(engine, project).begin() as session:
            yield session


def _check_schema(engine: Engine) -> None:
    if is_empty(engine):
        upgrade(engine)
    elif not is_current(engine):
        fail(notes(), "The database is not at this version's schema: run `recurra migrate` first")


def _record(session: Session, action: str, row: Key) -> None:
    user = Caller(row.project, frozenset(), None, getpass.getuser())
    audit.record(session, user, action, f"/v1/keys/{row.id}", outcome=200, address=MACHINE)


def _represent(row: Key) -> Json:
    times = {name: _time(getattr(row, name)) for name in ("created_at", "expires_at")}
    columns = ("id", "name", "project", "prefix", "scopes")
    return {name: getattr(row, name) for name in columns} | times


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else rfc3339(seconds)


def _cell(value: Any) -> Any:
    return ", ".join(value) if isinstance(value, list) else value
