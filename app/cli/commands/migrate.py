"""`recurra migrate`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from sqlalchemy import Engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from app.cli.commands.installation import fail, read_settings
from app.database.engine import make_engine
from app.database.migrate import NewerDatabase, upgrade
from app.infrastructure.processes.managed import keep_files_private


def migrate() -> None:
    """Bring the database to this version's schema."""
    keep_files_private()
    with open_database() as engine:
        try:
            upgrade(engine)
        except NewerDatabase as error:
            fail(Console(stderr=True), str(error))


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
