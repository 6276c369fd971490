"""Owns a job's child: watches it while the heart beats, passes its news on, and ends the job.

The child may hang, crash or run out of memory; the truth in the database does not go with it.
"""

import logging
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from sqlalchemy.exc import DataError, IntegrityError, ProgrammingError, SQLAlchemyError
from sqlalchemy.orm import Session

from app.database.engine import Sessions
from app.database.tables import Job
from app.errors import AppError, NoSpace
from app.infrastructure.disk import disk_full
from app.infrastructure.storage import Storage
from app.services.jobs import leases
from app.services.jobs.leases import Lease
from app.states import LIVE, Status
from app.typedefs import Json
from workers.jobs.heartbeat import Heart, Order
from workers.jobs.kinds import KINDS, Assignment, Unready
from workers.process.parent import Child

log = logging.getLogger(__name__)

T = TypeVar("T")

LOOK = 0.1  # seconds between two looks at what the heart was told
CANCEL_GRACE = 1.2  # seconds a child has to come to a step boundary when nobody wants its work any more
STOP_GRACE = 15.0  # and to write a checkpoint when somebody does
EXIT_GRACE = 1.0  # from its last message to its end
GAP = 5.0  # seconds between two looks: this process was frozen, and the child perhaps with it
FIRST_BACKOFF, LAST_BACKOFF = 0.2, 1.0
GRACE = {Order.CANCELLED: CANCEL_GRACE, Order.TAKEN: 0.0}
AGAIN = {"internal", "storage"}  # failures that may not come again


@dataclass(frozen=True)
class Ending:
    """How the child ended: its last message, or none when it died, and why it was stopped, if it was."""

    message: Json
    order: Order | None = None
    stalled: bool = False


@dataclass(frozen=True)
class Patience:
    """In seconds."""

    lease: float = 60.0  # how long a lease lasts without a beat
    stall: float = 600.0  # how long a child may say nothing
    checkpoint: float = 30.0  # from one checkpoint to the next, within an epoch


class Supervisor:
    """Runs one job from claim to end."""

    def __init__(
        self,
        sessions: Sessions,
        storage: Storage,
        work_dir: Path,
        owner: str,
        patience: Patience,
        device: str,
        stopping: Callable[[], bool],
        command: Sequence[str] = (),  # instead of the program that the kind of job has
        threads: int = 1,  # that a training may take
    ) -> None:
        self._sessions = sessions
        self._storage = storage
        self._work_dir = work_dir
        self._owner = owner
        self._patience = patience
        self._device = device
        self._stopping = stopping
        self._command = command
        self._threads = threads

    def run(self) -> None:
        """Claim the job whose turn it is and see it through; without one there is nothing to do."""
        try:
            job = self._claim()
        except SQLAlchemyError as error:
            log.warning("claim: %s", error)  # the doorbell is rung again
            return
        if job is None:
            return
        lease = Lease(job.id, job.attempt)
        heart = Heart(self._sessions, lease, self._patience.lease, self._stopping)
        directory = self._work_dir / f"{job.id}-{job.attempt}-{secrets.token_hex(4)}"
        work = KINDS[job.kind](self._sessions, self._storage, self._device, job)
        heart.start()
        try:
            self._run(work, heart, directory)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
            heart.stop()
        self._tidy(work, job.id)

    def _claim(self) -> Job | None:
        while not self._stopping():
            with self._sessions.begin() as session:
                job_id = leases.oldest(session)
                if job_id is None:
                    return None
                if (job := leases.claim(session, job_id, self._owner, self._patience.lease)) is not None:
                    return job
        return None

    def _run(self, work: Assignment, heart: Heart, directory: Path) -> None:
        try:
            directory.mkdir(mode=0o700, parents=True)
            request = work.prepare(directory, heart.note)
        except Unready as error:
            self._fail(heart, error.code, str(error))
            return
        except SQLAlchemyError as error:  # charges nothing: the job is queued again once the database is back
            log.warning("prepare: %s", error)
            self._tell(heart, partial(leases.give_back, lease=heart.lease, crashed=False))
            return
        except Exception as error:  # noqa: BLE001 - whatever a store raises
            self._stumble(heart, error)
            return
        request |= {
            "parent": os.getpid(),
            "threads": self._threads,
            "checkpoint_seconds": self._patience.checkpoint,
        }
        child = Child(self._command or (sys.executable, "-m", work.module), request)
        grace = 0.0
        try:
            ending = self._watch(child, work, heart)
            grace = 0.0 if ending.stalled or ending.order in GRACE else EXIT_GRACE
        except Exception as error:  # noqa: BLE001 - a part could not be stored
            ending = Ending(_storage_failure(error))
        finally:
            child.end(grace)
        self._conclude(work, heart, ending)

    def _watch(self, child: Child, work: Assignment, heart: Heart) -> Ending:
        last: Json = {}
        order: Order | None = None
        heard = looked = time.monotonic()
        deadline = float("inf")
        while time.monotonic() < deadline and (message := child.message(LOOK)) is not None:
            now = time.monotonic()
            if message or now - looked > GAP:
                heard = now
            looked = now
            if message.get("type") in {"done", "failed", "stopped"}:
                last = message
            elif message:
                heart.note(work.take(message))
            elif now - heard > self._patience.stall:
                return Ending(last, stalled=True)
            if (wanted := heart.order) is not None and order is None and not last:
                order, deadline = wanted, now + GRACE.get(wanted, STOP_GRACE)
                child.ask_to_stop()
            elif heart.order is Order.TAKEN:
                return Ending(last, Order.TAKEN)
        return Ending(last, order)

    def _conclude(self, work: Assignment, heart: Heart, ending: Ending) -> None:
        lease, kind = heart.lease, ending.message.get("type")
        if ending.order is Order.TAKEN:
            return
        if ending.stalled:
            text = f"The training made no step for {self._patience.stall:g} seconds and was ended"
            self._fail(heart, "stalled", text)
        elif ending.order is Order.CANCELLED:
            self._tell(heart, lambda session: leases.end(session, lease, Status.CANCELLED))
        elif kind == "done":
            self._finish(work, heart, ending.message)
        elif kind == "failed":
            self._fail(heart, ending.message["code"], ending.message["message"])
        else:
            crashed = ending.order is None
            self._tell(heart, lambda session: leases.give_back(session, lease, crashed=crashed))

    def _finish(self, work: Assignment, heart: Heart, message: Json) -> None:
        try:
            publish = work.finish(heart.lease, message)
        except Exception as error:  # noqa: BLE001 - whatever a store raises
            self._stumble(heart, error)
            return
        if self._tell(heart, publish) is False:  # cancelled meanwhile, or taken away
            self._tell(heart, partial(leases.give_back, lease=heart.lease, crashed=False))

    def _stumble(self, heart: Heart, error: Exception) -> None:
        message = _storage_failure(error)
        self._fail(heart, message["code"], message["message"])

    def _fail(self, heart: Heart, code: str, message: str) -> None:
        lease = heart.lease
        if code in AGAIN:
            self._tell(heart, lambda session: leases.retry(session, lease, code, message))
        else:
            end = partial(leases.end, lease=lease, status=Status.FAILED, code=code, message=message)
            self._tell(heart, end)

    def _tell(self, heart: Heart, change: Callable[[Session], T]) -> T | None:
        """Change the row, as often as it takes: the attempt fences it, and doing it twice changes nothing.

        What the child said comes first. A worker that stops gives up after some seconds; its lease expires.
        """
        backoff, deadline = FIRST_BACKOFF, float("inf")
        while True:
            try:
                if heart.beat():
                    with self._sessions.begin() as session:
                        return change(session)
            except (DataError, IntegrityError, ProgrammingError):
                raise  # will not heal; the lease expires
            except SQLAlchemyError as error:
                log.warning("the database is away: %s", error)
            if self._stopping():
                deadline = min(deadline, time.monotonic() + STOP_GRACE)
            if time.monotonic() > deadline:
                return None
            time.sleep(backoff)
            backoff = min(2 * backoff, LAST_BACKOFF)

    def _tidy(self, work: Assignment, job_id: str) -> None:
        """Delete what nobody needs once the job has ended; what is left, the sweep finds."""
        try:
            with self._sessions() as session:
                job = session.get(Job, job_id)
            if job is None or job.status not in LIVE:
                work.discard(None if job is None else job.status)
        except Exception as error:  # noqa: BLE001 - whatever database and store raise
            log.warning("tidy: %s", error, extra={"job_id": job_id})


def _storage_failure(error: Exception) -> Json:
    log.exception("storage")
    if isinstance(error, NoSpace):
        return {"type": "failed", "code": "no_space", "message": "The artifact store is full"}
    if disk_full(error):
        return {"type": "failed", "code": "no_space", "message": "The worker's disk is full"}
    if isinstance(error, AppError):
        return {"type": "failed", "code": "storage", "message": error.message}
    text = f"The artifact store failed: {type(error).__name__}: {error}"
    return {"type": "failed", "code": "storage", "message": text[:500]}
