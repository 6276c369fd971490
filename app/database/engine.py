"""Engine, session and clock: the same SQLAlchemy code on SQLite and PostgreSQL."""

import importlib
from typing import Any

from sqlalchemy import Double, Engine, MetaData
from sqlalchemy.engine import make_url
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker
from sqlalchemy.sql.functions import FunctionElement

Sessions = sessionmaker[Session]


class Base(DeclarativeBase):
    """Root of all tables; named constraints let SQLite's batch migrations drop them."""

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
    """The database's clock in seconds since 1970; leases never trust a worker's own clock."""

    type = Double()
    inherit_cache = True


@compiles(db_now, "sqlite")
def _sqlite_now(*_: Any, **__: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(db_now, "postgresql")
def _postgresql_now(*_: Any, **__: Any) -> str:
    return "(extract(epoch from clock_timestamp())::double precision)"


def make_engine(url: str) -> Engine:
    """Open a database; `postgresql://` is psycopg 3, a SQLite file is created with its directory."""
    # Only the driver in use is imported: PostgreSQL's alone costs ten megabytes.
    name = (
        "app.database.sqlite" if make_url(url).get_backend_name() == "sqlite" else "app.database.postgresql"
    )
    engine: Engine = importlib.import_module(name).open_engine(url)
    return engine


def make_sessions(engine: Engine) -> Sessions:
    """A factory of sessions that keep their objects usable after commit."""
    return sessionmaker(engine, expire_on_commit=False)


def make_readers(engine: Engine) -> Sessions:
    """A factory of sessions that only read: on SQLite they never wait for a writer."""
    return sessionmaker(engine.execution_options(reading=True), expire_on_commit=False)
