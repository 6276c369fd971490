"""PostgreSQL behind a network that may fail: nobody waits for long, and nothing stays locked."""

import threading
import time
from collections.abc import Generator
from typing import Any, TypeVar

import psycopg
from sqlalchemy import Engine, create_engine, event

T = TypeVar("T")

PING, SILENCE = 1.0, 12.0  # seconds that a connection may say nothing, at its checkout and in its use
# The server gives up before we do: on a statement, a lock, and on us, lest what we hold stays locked.
SERVER = {"statement_timeout": 10_000, "lock_timeout": 5_000, "idle_in_transaction_session_timeout": 10_000}


class Patient(psycopg.Connection[Any]):
    """A connection that gives up on a server that says nothing: when a network fails, for ever."""

    silence = SILENCE

    def wait(self, gen: Generator[Any, Any, T], *arguments: Any, **named: Any) -> T:
        """What every statement waits in."""
        return super().wait(self._bounded(gen), *arguments, **named)

    def _bounded(self, gen: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        deadline = time.monotonic() + self.silence
        ready = None
        while True:
            try:
                wanted = gen.send(ready)
            except StopIteration as done:
                found: T = done.value
                return found
            ready = yield wanted
            if not ready and time.monotonic() > deadline:
                self.close()
                raise psycopg.OperationalError(f"the server said nothing for {self.silence:g} seconds")


class Door:
    """Opens connections; while the database is away one caller tries at a time, the others fail at once."""

    def __init__(self) -> None:
        self._away = False
        self._trying = threading.Lock()

    def open(self, *arguments: Any, **named: Any) -> Patient:
        """As `connect` of the driver."""
        alone = self._away
        if alone and not self._trying.acquire(blocking=False):
            raise psycopg.OperationalError("the database is away, as somebody has just found out")
        try:
            made = Patient.connect(*arguments, **named)
        except psycopg.OperationalError:
            self._away = True
            raise
        finally:
            if alone:
                self._trying.release()
        self._away = False
        return made


def open_engine(url: str) -> Engine:
    """Connections that give up on a server which says nothing."""
    options = " ".join(f"-c {name}={value}" for name, value in SERVER.items())
    engine = create_engine(
        url,
        pool_pre_ping=True,
        pool_size=20,
        max_overflow=20,
        pool_timeout=5,
        connect_args={"connect_timeout": 2, "options": options},
    )
    door = Door()

    @event.listens_for(engine, "do_connect")
    def _connect(_: object, __: object, arguments: list[Any], named: dict[str, Any]) -> Patient:
        return door.open(*arguments, **named)

    @event.listens_for(engine, "checkin")
    def _checkin(connection: Patient | None, _: object) -> None:
        if connection is not None:
            connection.silence = PING  # which is what comes next

    @event.listens_for(engine, "checkout")
    def _checkout(connection: Patient, _: object, __: object) -> None:
        connection.silence = SILENCE

    return engine
