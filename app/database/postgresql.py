"""PostgreSQL over a network that may fail: every wait is bounded, and no lock outlives its client."""

import threading
import time
from collections.abc import Generator
from typing import Any, TypeVar

import psycopg
from sqlalchemy import Engine, create_engine, event

T = TypeVar("T")

PING_SECONDS = 1.0  # that the server may be silent when a connection is checked out and tested
SILENCE_SECONDS = 12.0  # that the server may be silent during a statement
# Server-side timeouts, shorter than ours, so that a client that vanished does not keep its locks.
SERVER_TIMEOUTS_MS = {
    "statement_timeout": 10_000,
    "lock_timeout": 5_000,
    "idle_in_transaction_session_timeout": 10_000,
}


class TimeoutConnection(psycopg.Connection[Any]):
    """A connection that fails when the server is silent for too long; a broken network is silent for ever."""

    max_silence = SILENCE_SECONDS

    def wait(self, gen: Generator[Any, Any, T], *arguments: Any, **keywords: Any) -> T:
        """Wait for the server, as every statement does; raises `OperationalError` after `max_silence`."""
        return super().wait(self._bounded(gen), *arguments, **keywords)

    def _bounded(self, gen: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        deadline = time.monotonic() + self.max_silence
        ready = None
        while True:
            try:
                needed = gen.send(ready)
            except StopIteration as done:
                result: T = done.value
                return result
            ready = yield needed
            if not ready and time.monotonic() > deadline:
                self.close()
                raise psycopg.OperationalError(f"the server was silent for {self.max_silence:g} seconds")


class ConnectGuard:
    """Opens connections. While the database is unavailable only one thread tries; the others fail at once."""

    def __init__(self) -> None:
        self._unavailable = False
        self._trying = threading.Lock()

    def connect(self, *arguments: Any, **keywords: Any) -> TimeoutConnection:
        """Open a connection with the arguments of `psycopg.connect`; raises `OperationalError`."""
        exclusive = self._unavailable
        if exclusive and not self._trying.acquire(blocking=False):
            raise psycopg.OperationalError("database unavailable (another connection attempt is in progress)")
        try:
            connection = TimeoutConnection.connect(*arguments, **keywords)
        except psycopg.OperationalError:
            self._unavailable = True
            raise
        finally:
            if exclusive:
                self._trying.release()
        self._unavailable = False
        return connection


def open_engine(url: str) -> Engine:
    """Return an engine whose connections give up on a server that is silent."""
    options = " ".join(f"-c {name}={value}" for name, value in SERVER_TIMEOUTS_MS.items())
    engine = create_engine(
        url,
        pool_pre_ping=True,
        pool_size=20,
        max_overflow=20,
        pool_timeout=5,
        connect_args={"connect_timeout": 2, "options": options},
    )
    guard = ConnectGuard()

    @event.listens_for(engine, "do_connect")
    def _connect(_: object, __: object, arguments: list[Any], keywords: dict[str, Any]) -> TimeoutConnection:
        return guard.connect(*arguments, **keywords)

    @event.listens_for(engine, "checkin")
    def _checkin(connection: TimeoutConnection | None, _: object) -> None:
        if connection is not None:
            connection.max_silence = PING_SECONDS  # the ping at the next checkout comes before that event

    @event.listens_for(engine, "checkout")
    def _checkout(connection: TimeoutConnection, _: object, __: object) -> None:
        connection.max_silence = SILENCE_SECONDS

    return engine
