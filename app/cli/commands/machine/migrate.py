"""`recurra migrate`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from sqlalchemy import Engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from app.cli.installation import fail, read_settings
from app.database.engine import make_engine
from app.database.migrate import HEAD, NewerDatabase, UnknownRevision, move_to
from app.infrastructure.processes.managed import keep_files_private


def migrate(
    to: Annotated[
        str, typer.Option("--to", metavar="REVISION", help="Another schema: up or down; base is none at all.")
    ] = HEAD,
) -> None:
    """Bring the database to this version's schema; an SQLite file is copied before."""
    keep_files_private()
    console = Console(stderr=True, highlight=False)
    with open_database() as engine:
        try:
            migration = move_to(engine, to)
        except (NewerDatabase, UnknownRevision) as error:
            fail(console, str(error))
    if migration.copy is not None:
        console.print(f"The database as it was: {migration.copy}", markup=False, soft_wrap=True)
    if migration.before != migration.after:
        before, after = migration.before or "no tables", migration.after or "no tables"
        console.print(f"Migrated from {before} to {after}", markup=False, soft_wrap=True)


@contextmanager
def open_database(data_dir: Path | None = None) -> Iterator[Engine]:
    """Connect to the database of the settings; an error is printed, and the command exits with 1."""
    url = read_settings(data_dir).database
    try:
        engine = make_engine(url)
        try:
            yield engine
        finally:
            engine.dispose()
    except (SQLAlchemyError, OSError) as error:
        reason = str(getattr(error, "orig", None) or error).strip()
        fail(Console(stderr=True), f"The database at {make_url(url).render_as_string()} failed: {reason}")
