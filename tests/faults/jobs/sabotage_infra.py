"""Switches off the safeguards against failing servers, disks, clocks and clients; see `sabotage`."""

import asyncio
import importlib
import math
import os
import shutil
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.exc import SQLAlchemyError
from uvicorn.protocols.http.flow_control import FlowControl

from app.api import problems
from app.database import engine, postgresql
from app.database.tables import Job
from app.infrastructure import broker, storage
from app.infrastructure.events import job_events
from app.services import idempotency
from app.services.jobs import checkpoints, dispatcher, leases, reaper
from tests.faults.jobs import sabotage
from tests.faults.jobs.siege import RUNS, WITHOUT
from workers.jobs import heartbeat, kinds


def _of(owner: object) -> Any:
    """Something whose parts are exchanged."""
    return owner


def own_thread() -> None:
    """A request rings the wake-up itself."""
    _of(dispatcher.Dispatcher).notify = lambda self, job_id: self._notify({job_id: "auto"})


def sweep() -> None:
    """Nobody rings again."""
    _of(reaper).unnotified = lambda *_: []


def wake_up() -> None:
    """The message is the job: acknowledged late, and believed."""
    original: Callable[..., Any] = broker.make_celery

    def make(*arguments: Any) -> Any:
        app = original(*arguments)
        app.conf.task_acks_late = True
        return app

    _of(broker).make_celery = make
    sabotage.claim()


def patience() -> None:
    """Whoever waits for the database waits."""
    _of(postgresql).PING_SECONDS = _of(postgresql).SILENCE_SECONDS = math.inf
    postgresql.TimeoutConnection.max_silence = math.inf


def ended_fence() -> None:
    """A job may end more than once."""
    _of(leases)._holds_lease = lambda lease: (Job.id == lease.job_id, Job.attempt == lease.attempt)


def kept_answer() -> None:
    """The answer to a key is not kept."""
    _of(idempotency).finish = lambda *_: None


def key_lock() -> None:
    """Nobody looks whether a key is known."""
    _of(idempotency).begin = lambda *_: None


def readers() -> None:
    """Who reads waits for those who write."""
    _of(engine).make_readers = engine.make_sessions


def away() -> None:
    """A database that is away is a fault like any other."""
    original = problems.as_app_error
    _of(problems).as_app_error = lambda error: None if isinstance(error, SQLAlchemyError) else original(error)


def full() -> None:
    """A full store is an error like any other."""
    _of(storage).is_disk_full = lambda _: False


def optional_checkpoint() -> None:
    """A training without room for its checkpoint ends."""

    def on_message(self: Any, message: dict[str, Any]) -> dict[str, Any]:
        if message.get("type") == "checkpoint":
            checkpoints.store(self._storage, self._lease, self._checkpoints / message.pop("file"))
        return message

    _of(kinds.TrainingJob).on_message = on_message


def clean_up() -> None:
    """What an upload leaves stays."""
    _of(shutil).rmtree = lambda *_, **__: None


def follower() -> None:
    """Each of those who wait for news asks the database himself."""

    async def wait_for_change(*_: object) -> bool:
        await asyncio.sleep(0.2)
        return True

    _of(job_events.JobFollower).wait_for_change = wait_for_change


def backpressure() -> None:
    """Answers are written whether anybody reads them or not."""

    async def drain(_: object) -> None:
        return

    _of(FlowControl).drain = drain


def second_look() -> None:
    """An expired lease is taken at first sight; hearts beat slowly, so that sights are caught between."""
    original = reaper.reap
    _of(reaper).reap = lambda session, _=None: original(session)
    _of(heartbeat).RENEW_SECONDS = 1.0


def database_clock() -> None:
    """Every process believes its own clock."""

    @event.listens_for(Engine, "before_cursor_execute", retval=True)
    def _mine(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> tuple[str, Any]:
        theirs = "(extract(epoch from clock_timestamp())::double precision)"
        return statement.replace(theirs, f"({time.time()}::double precision)"), parameters


SAFEGUARDS = sabotage.SAFEGUARDS | {
    made.__name__: made
    for made in (
        own_thread, sweep, wake_up, patience, ended_fence, kept_answer, key_lock,
        readers, away, full, optional_checkpoint, clean_up, follower, backpressure, second_look,
        database_clock,
    )
}  # fmt: skip


def program() -> Any:
    """The program's module, without the safeguard."""
    SAFEGUARDS[os.environ[WITHOUT]]()
    return importlib.import_module(os.environ[RUNS])


# Also when the pool's spawned children import it.
PROGRAM: Any = program() if __name__ in {"__main__", "__mp_main__"} else None

if __name__ == "__main__":
    PROGRAM.main()
