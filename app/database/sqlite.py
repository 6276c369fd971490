"""SQLite shared by several processes: writers take turns, readers never wait for them."""

import random
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url

BUSY = 5.0  # seconds that a writer waits for SQLite's other writers
NAP = 0.0002, 0.001  # seconds between two tries


class Turn:
    """Who of a process asks for SQLite's write lock: one at a time, again and again after a short nap.

    SQLite's own waiting naps ever longer, up to a tenth of a second, and whoever has just come takes the lock
    meanwhile: under many writers some wait for seconds and then fail.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def take(self, connection: Connection) -> None:
        """Begin to write; raises `OperationalError` when the lock was not free for too long."""
        deadline = time.monotonic() + BUSY
        first = self._lock.acquire(timeout=BUSY)
        try:
            self._begin(connection, deadline if first else 0.0)
        finally:
            if first:
                self._lock.release()

    def _begin(self, connection: Connection, deadline: float) -> None:
        connection.exec_driver_sql("PRAGMA busy_timeout = 0")
        try:
            while time.monotonic() < deadline:
                try:
                    connection.connection.cursor().execute("BEGIN IMMEDIATE")
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                        raise
                    time.sleep(random.uniform(*NAP))  # noqa: S311 - no secret
                else:
                    return
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        finally:
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {round(1000 * BUSY)}")


def open_engine(url: str) -> Engine:
    """Connections in WAL mode whose transactions, unless they only read, begin with the write lock."""
    database, pool = make_url(url).database, dict[str, Any]()
    if database and database != ":memory:":
        Path(database).parent.mkdir(parents=True, exist_ok=True)
        # One for every thread that answers requests: who reads does not wait behind those who cannot write.
        pool = {"pool_size": 20, "max_overflow": 40, "pool_timeout": 5}
    engine = create_engine(url, connect_args={"timeout": BUSY}, **pool)
    turn = Turn()

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _: object) -> None:
        connection.isolation_level = None  # the driver must not start transactions behind our back
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        # A deferred transaction that turns into a writer fails at once instead of waiting its turn.
        if connection.get_execution_options().get("reading", False):
            connection.exec_driver_sql("BEGIN")
        else:
            turn.take(connection)

    return engine
