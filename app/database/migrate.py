"""Schema migrations with Alembic, run by one process at a time."""

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, Engine, text

from app.database.engine import Base

MIGRATIONS = Path(__file__).parents[2] / "migrations"
ADVISORY_LOCK_KEY = 0x7265_6375_7272_61  # "recurra"


BASE = "base"  # alembic's name of the state before every migration
HEAD = "head"  # and of the newest


class NewerDatabase(Exception):
    """The database is at a migration of a newer release."""


class NotMigrated(Exception):
    """The database has no tables yet."""


class UnknownRevision(Exception):
    """There is no such migration."""


@dataclass(frozen=True)
class Migration:
    """What `move_to` did."""

    before: str | None  # the revision that the database was at; None: it was empty
    after: str | None
    copy: Path | None  # of an SQLite file, as it was before


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
    current = current_revision(connection)
    if current is not None and not _knows(connection, current):
        raise NewerDatabase(
            f"The database was migrated by a newer release of Recurra, to {current}, which this one does not "
            "know: run that release, or have it migrate back first"
        )


def knows_revision(engine: Engine, revision: str) -> bool:
    """Return whether this release has a migration to this revision."""
    with engine.connect() as connection:
        return _knows(connection, revision)


def _knows(connection: Connection, revision: str) -> bool:
    return any(script.revision == revision for script in _scripts(connection).walk_revisions())


def _scripts(connection: Connection) -> ScriptDirectory:
    return ScriptDirectory.from_config(_config(connection))


def current_revision(connection: Connection) -> str | None:
    """Return the revision that the database is at; None when it has no tables."""
    return MigrationContext.configure(connection).get_current_revision()


def upgrade(engine: Engine, revision: str = HEAD) -> None:
    """Run every missing migration up to `revision`; raises `NewerDatabase`."""
    with _exclusive_connection(engine) as connection:
        _check_not_newer(connection)
        command.upgrade(_config(connection), revision)
        connection.commit()


def downgrade(engine: Engine, revision: str = BASE) -> None:
    """Undo every migration above `revision`."""
    with _exclusive_connection(engine) as connection:
        command.downgrade(_config(connection), revision)
        connection.commit()


def move_to(engine: Engine, revision: str = HEAD, *, copied: bool = True) -> Migration:
    """Run or undo migrations until the database is at `revision`, which may be `head` or `base`.

    With `copied`, an SQLite file is copied before anything in it is changed. Raises `NewerDatabase` and
    `UnknownRevision`.
    """
    with _exclusive_connection(engine) as connection:
        _check_not_newer(connection)
        before, target = current_revision(connection), _resolve(connection, revision)
        if before == target:
            return Migration(before, before, None)
        is_undone = target is None or target in _down_from(connection, before)
        on_sqlite = engine.dialect.name == "sqlite"
        copy = _copy_sqlite(connection, before) if copied and on_sqlite and before is not None else None
        (command.downgrade if is_undone else command.upgrade)(_config(connection), target or BASE)
        connection.commit()
        return Migration(before, target, copy)


def _resolve(connection: Connection, revision: str) -> str | None:
    """Return the revision that a name, or the beginning of one, stands for; None for `base`."""
    try:
        script = None if revision == BASE else _scripts(connection).get_revision(revision)
    except CommandError as error:
        raise UnknownRevision(f"There is no migration {revision}: {error}") from None
    return None if script is None else script.revision


def _down_from(connection: Connection, revision: str | None) -> set[str]:
    """Return the revisions that undoing migrations leads to."""
    if revision is None:
        return set()
    return {script.revision for script in _scripts(connection).iterate_revisions(revision, BASE)}


def _copy_sqlite(connection: Connection, revision: str) -> Path:
    """Copy an SQLite file to one beside it, named by revision and time once it is whole."""
    path = Path(str(connection.engine.url.database))
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    copy = path.with_name(f"{path.name}.{revision}.{moment}")
    part = copy.with_name(f"{copy.name}.part")
    part.unlink(missing_ok=True)
    os.close(os.open(part, os.O_CREAT | os.O_WRONLY, path.stat().st_mode & 0o777))
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(part)) as target:
        source.backup(target)
    return part.replace(copy)


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
        return current_revision(connection) == _scripts(connection).get_current_head()


def write_migration(engine: Engine, message: str) -> None:
    """Write a migration from the differences between the code and the database (for developers)."""
    with engine.connect() as connection:
        command.revision(_config(connection), message, autogenerate=True)
