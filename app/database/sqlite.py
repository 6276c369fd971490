"""SQLite shared by several processes: writers take turns, readers never wait for them."""

import random
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url

BUSY_SECONDS = 5.0  # that a writer waits for SQLite's other writers
RETRY_SECONDS = 0.0002, 0.001  # least and longest pause between two tries


class WriteLock:
    """Takes SQLite's write lock for one thread of the process at a time, retrying after short pauses.

    SQLite's own waiting pauses ever longer, up to a tenth of a second, and newcomers take the lock meanwhile:
    with many writers some wait for seconds and then fail.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def begin(self, connection: Connection) -> None:
        """Begin a write transaction; raises `OperationalError` when the lock was not free for too long."""
        deadline = time.monotonic() + BUSY_SECONDS
        acquired = self._lock.acquire(timeout=BUSY_SECONDS)
        try:
            self._begin(connection, deadline if acquired else 0.0)
        finally:
            if acquired:
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
                    time.sleep(random.uniform(*RETRY_SECONDS))  # noqa: S311 - no secret
                else:
                    return
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        finally:
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {round(1000 * BUSY_SECONDS)}")


def open_engine(url: str) -> Engine:
    """Return an engine in WAL mode whose transactions, unless read-only, begin with the write lock."""
    database, pool = make_url(url).database, dict[str, Any]()
    if database and database != ":memory:":
        Path(database).parent.mkdir(parents=True, exist_ok=True)
        # One for every thread that answers requests: readers do not wait behind writers that have to wait.
        pool = {"pool_size": 20, "max_overflow": 40, "pool_timeout": 5}
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS}, **pool)
    write_lock = WriteLock()

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _: object) -> None:
        connection.isolation_level = None  # the driver must not start transactions itself
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        # A deferred transaction that becomes a writer fails at once instead of waiting for the lock.
        if connection.get_execution_options().get("reading", False):
            connection.exec_driver_sql("BEGIN")
        else:
            write_lock.begin(connection)

    return engine
