"""Bring a database to the newest schema, one process at a time."""

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
ADVISORY_LOCK = 0x7265_6375_7272_61  # "recurra"


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("file_template", "%%(year)d-%%(month).2d-%%(day).2d_%%(slug)s")
    config.attributes["connection"] = connection
    return config


@contextmanager
def _alone(engine: Engine) -> Iterator[Connection]:
    """A connection, while no other process migrates the same database."""
    if engine.dialect.name == "postgresql":
        with engine.connect() as connection:
            connection.execute(text("select pg_advisory_lock(:key)"), {"key": ADVISORY_LOCK})
            connection.commit()
            try:
                yield connection
            finally:
                connection.rollback()
                connection.execute(text("select pg_advisory_unlock(:key)"), {"key": ADVISORY_LOCK})
                connection.commit()
        return
    with Path(f"{engine.url.database}.migrate").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with engine.connect() as connection:
            yield connection


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Run every migration up to `revision`."""
    with _alone(engine) as connection:
        command.upgrade(_config(connection), revision)
        connection.commit()


def downgrade(engine: Engine, revision: str = "base") -> None:
    """Undo migrations down to `revision`."""
    with _alone(engine) as connection:
        command.downgrade(_config(connection), revision)
        connection.commit()


def drift(engine: Engine) -> list[object]:
    """What the tables of the code have that the database has not, or the other way round."""
    with engine.connect() as connection:
        return list(
            compare_metadata(
                MigrationContext.configure(connection, opts={"compare_type": True}), Base.metadata
            )
        )


def is_current(engine: Engine) -> bool:
    """Whether the database is at the newest migration."""
    with engine.connect() as connection:
        head = ScriptDirectory.from_config(_config(connection)).get_current_head()
        return MigrationContext.configure(connection).get_current_revision() == head


def revise(engine: Engine, message: str) -> None:
    """Write a new migration from the difference between the tables and the database (for developers)."""
    with engine.connect() as connection:
        command.revision(_config(connection), message, autogenerate=True)
