"""Schema migrations with Alembic, run by one process at a time."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from app.database.engine import Base

MIGRATIONS = Path(__file__).parents[2] / "migrations"
ADVISORY_LOCK_KEY = 0x7265_6375_7272_61  # "recurra"


class NewerDatabase(Exception):
    """The database is at a migration of a newer release."""


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("file_template", "%%(year)d-%%(month).2d-%%(day).2d_%%(slug)s")
    config.attributes["connection"] = connection
    return config


@contextmanager
def _exclusive_connection(engine: Engine) -> Iterator[Connection]:
    """Return a connection while holding a lock against other migrations of the same database."""
    if engine.dialect.name == "postgresql":
        with engine.connect() as connection:
            connection.execute(text("select pg_advisory_lock(:key)"), {"key": ADVISORY_LOCK_KEY})
            connection.commit()
            try:
                yield connection
            finally:
                connection.rollback()
                connection.execute(text("select pg_advisory_unlock(:key)"), {"key": ADVISORY_LOCK_KEY})
                connection.commit()
        return
    with Path(f"{engine.url.database}.migrate").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with engine.connect() as connection:
            yield connection


def check_not_newer(engine: Engine) -> None:
    """Raise `NewerDatabase` if the database is at a migration that this release does not have."""
    with engine.connect() as connection:
        _check_not_newer(connection)


def _check_not_newer(connection: Connection) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(_config(connection)).walk_revisions()}
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None and current not in known:
        raise NewerDatabase(
            f"The database was migrated by a newer release of Recurra, to {current}, which this one does not "
            "know: run that release, or have it migrate back first"
        )


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Run every missing migration up to `revision`; raises `NewerDatabase`."""
    with _exclusive_connection(engine) as connection:
        _check_not_newer(connection)
        command.upgrade(_config(connection), revision)
        connection.commit()


def downgrade(engine: Engine, revision: str = "base") -> None:
    """Undo every migration above `revision`."""
    with _exclusive_connection(engine) as connection:
        command.downgrade(_config(connection), revision)
        connection.commit()


def schema_differences(engine: Engine) -> list[object]:
    """Return the differences between the tables of the code and those of the database."""
    with engine.connect() as connection:
        return list(
            compare_metadata(
                MigrationContext.configure(connection, opts={"compare_type": True}), Base.metadata
            )
        )


def is_empty(engine: Engine) -> bool:
    """Return whether no migration has run yet."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision() is None


def is_current(engine: Engine) -> bool:
    """Return whether the database is at the newest migration."""
    with engine.connect() as connection:
        head = ScriptDirectory.from_config(_config(connection)).get_current_head()
        return MigrationContext.configure(connection).get_current_revision() == head


def write_migration(engine: Engine, message: str) -> None:
    """Write a migration from the differences between the code and the database (for developers)."""
    with engine.connect() as connection:
        command.revision(_config(connection), message, autogenerate=True)
