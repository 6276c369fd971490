"""Job events: appended in the writer's transaction, and awaited by the API."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.database.engine import Sessions, db_now
from app.database.tables import Job, JobEvent
from app.errors import QueueFull
from app.infrastructure.events.webhook_events import enqueue_status
from app.infrastructure.outages import OutageLog
from app.thread_pools import JOB_READS
from app.typedefs import Json

log = logging.getLogger(__name__)

MAX_WAITERS = 1024  # requests of one process that wait for jobs
POLL_SECONDS = 0.2  # between two queries for the jobs that somebody waits for


def append_events(session: Session, job_id: str, events: Sequence[tuple[str, Json]]) -> None:
    """Add events (type, data) to a job's history, numbered without gaps by the row's own counter.

    A new status is announced to the project's webhooks, too.
    """
    last, project = session.execute(
        update(Job)
        .where(Job.id == job_id)
        .values(events=Job.events + len(events), revision=Job.revision + 1, updated_at=db_now())
        .returning(Job.events, Job.project)
        .execution_options(synchronize_session=False)
    ).one()
    first = last - len(events) + 1
    session.add_all(
        JobEvent(job_id=job_id, seq=seq, type=type_, data=data)
        for seq, (type_, data) in enumerate(events, first)
    )
    session.flush()
    for type_, data in events:
        if type_ == "status":
            enqueue_status(session, project, job_id, data["status"])


class JobFollower:
    """Wakes coroutines when a job's row changes: one query per poll for all jobs, none while nobody waits."""

    def __init__(self, sessions: Sessions, run: Callable[..., Any] = JOB_READS.run) -> None:
        self._sessions = sessions
        self._run = run
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._waiters = 0
        self._revisions: dict[str, int] = {}  # as last queried
        self._task: asyncio.Task[None] | None = None
        self._outage = OutageLog(log, "polling job revisions")
        self.closed = False

    def check_room(self) -> None:
        """Raise `QueueFull` where as many wait for jobs as may."""
        if self._waiters >= MAX_WAITERS:
            raise QueueFull(f"{MAX_WAITERS} requests already follow jobs here; poll without waiting.")

    async def wait_for_change(self, job_id: str, revision: int, seconds: float) -> bool:
        """Wait until the job's revision is not `revision` any more; False when `seconds` ran out first."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        async with self._watch(job_id) as changed:
            while not self.closed and (left := deadline - loop.time()) > 0:
                changed.clear()
                if self._revisions.get(job_id, revision) != revision:
                    return True
                try:
                    await asyncio.wait_for(changed.wait(), left)
                except TimeoutError:
                    return False
        return False

    @property
    def watched(self) -> frozenset[str]:
        """The ids of jobs that somebody waits for."""
        return frozenset(self._waiting)

    def release(self) -> None:
        """Have nobody wait any more, now and from now on."""
        self.closed = True
        for events in self._waiting.values():
            for event in events:
                event.set()

    async def close(self) -> None:
        """Wake everyone who waits and stop polling."""
        self.release()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @asynccontextmanager
    async def _watch(self, job_id: str) -> AsyncIterator[asyncio.Event]:
        changed = asyncio.Event()
        self._waiters += 1
        self._waiting.setdefault(job_id, set()).add(changed)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._poll())
        try:
            yield changed
        finally:
            self._waiters -= 1
            self._waiting[job_id].discard(changed)
            if not self._waiting[job_id]:
                del self._waiting[job_id]
                self._revisions.pop(job_id, None)

    async def _poll(self) -> None:
        while self._waiting:
            try:
                revisions = await self._run(self._query, list(self._waiting))
            except (SQLAlchemyError, QueueFull) as error:
                self._outage.failed(error)
                revisions = {}  # the database is unavailable: whoever waits runs into the time limit
            else:
                self._outage.worked()
            for job_id in list(self._waiting):
                if job_id in revisions and self._revisions.get(job_id) != revisions[job_id]:
                    self._revisions[job_id] = revisions[job_id]
                    for event in self._waiting[job_id]:
                        event.set()
            await asyncio.sleep(POLL_SECONDS)

    def _query(self, ids: list[str]) -> dict[str, int]:
        with self._sessions() as session:
            query = select(Job.id, Job.revision).where(Job.id.in_(ids))
            return dict(session.execute(query).all())
