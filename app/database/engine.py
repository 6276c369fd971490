"""The database engine, session factories and clock, the same for SQLite and PostgreSQL."""

import importlib
from typing import Any

from sqlalchemy import Double, Engine, MetaData
from sqlalchemy.engine import make_url
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker
from sqlalchemy.sql.functions import FunctionElement

from app.database.projects import DEFAULT_PROJECT, INFO

Sessions = sessionmaker[Session]


class Base(DeclarativeBase):
    """Base class of all tables; named constraints let SQLite's batch migrations drop them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class db_now(FunctionElement[float]):  # noqa: N801 - reads as the SQL function it is
    """The database's clock in seconds since 1970, as an SQL expression; workers' clocks are never used."""

    type = Double()
    inherit_cache = True


@compiles(db_now, "sqlite")
def _sqlite_now(*_: Any, **__: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(db_now, "postgresql")
def _postgresql_now(*_: Any, **__: Any) -> str:
    return "(extract(epoch from clock_timestamp())::double precision)"


def make_engine(url: str) -> Engine:
    """Return an engine for a URL; `postgresql://` uses psycopg 3, an SQLite file is created if missing."""
    # Only the driver in use is imported: that of PostgreSQL alone costs ten megabytes.
    is_sqlite = make_url(url).get_backend_name() == "sqlite"
    module = "app.database.sqlite" if is_sqlite else "app.database.postgresql"
    engine: Engine = importlib.import_module(module).open_engine(url)
    return engine


def make_sessions(engine: Engine, project: str = DEFAULT_PROJECT) -> Sessions:
    """Return a factory of a project's sessions, whose objects stay usable after a commit."""
    return sessionmaker(engine, expire_on_commit=False, info={INFO: project})


def make_readers(engine: Engine, project: str = DEFAULT_PROJECT) -> Sessions:
    """Return a factory of a project's read-only sessions; on SQLite they never wait for a writer."""
    return make_sessions(engine.execution_options(reading=True), project)
