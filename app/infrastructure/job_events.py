"""Job events: append them in the writer's transaction, follow them from the API."""

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
from app.typedefs import Json

log = logging.getLogger(__name__)

TICK = 0.2  # seconds between looks at the rows somebody waits for


def append(session: Session, job_id: str, events: Sequence[tuple[str, Json]]) -> None:
    """Add events to a job's history; the row's own counter numbers them without gaps."""
    newest = session.execute(
        update(Job)
        .where(Job.id == job_id)
        .values(events=Job.events + len(events), revision=Job.revision + 1, updated_at=db_now())
        .returning(Job.events)
        .execution_options(synchronize_session=False)
    ).scalar_one()
    first = newest - len(events) + 1
    session.add_all(
        JobEvent(job_id=job_id, seq=seq, type=type_, data=data)
        for seq, (type_, data) in enumerate(events, first)
    )
    session.flush()


class Follower:
    """Wakes coroutines when a job's row changes: one query a tick for all who wait, none for nobody."""

    def __init__(self, sessions: Sessions, run: Callable[..., Any] = asyncio.to_thread) -> None:
        self._sessions = sessions
        self._run = run
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._seen: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None
        self.closed = False

    async def changed(self, job_id: str, revision: int, seconds: float) -> bool:
        """Wait until the job's revision is not `revision` any more; False when the time ran out."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        async with self._watch(job_id) as woken:
            while not self.closed and (left := deadline - loop.time()) > 0:
                woken.clear()
                if self._seen.get(job_id, revision) != revision:
                    return True
                try:
                    await asyncio.wait_for(woken.wait(), left)
                except TimeoutError:
                    return False
        return False

    @property
    def watched(self) -> frozenset[str]:
        """Jobs that somebody waits for."""
        return frozenset(self._waiting)

    async def close(self) -> None:
        """Let everyone who waits go."""
        self.closed = True
        for events in self._waiting.values():
            for event in events:
                event.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @asynccontextmanager
    async def _watch(self, job_id: str) -> AsyncIterator[asyncio.Event]:
        woken = asyncio.Event()
        self._waiting.setdefault(job_id, set()).add(woken)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._look())
        try:
            yield woken
        finally:
            self._waiting[job_id].discard(woken)
            if not self._waiting[job_id]:
                del self._waiting[job_id]
                self._seen.pop(job_id, None)

    async def _look(self) -> None:
        while self._waiting:
            try:
                found = await self._run(self._revisions, list(self._waiting))
            except SQLAlchemyError as error:
                log.warning("follow: %s", error)
                found = {}  # the database is away: those who wait run into their own time limits
            for job_id in list(self._waiting):
                if job_id in found and self._seen.get(job_id) != found[job_id]:
                    self._seen[job_id] = found[job_id]
                    for event in self._waiting[job_id]:
                        event.set()
            await asyncio.sleep(TICK)

    def _revisions(self, ids: list[str]) -> dict[str, int]:
        with self._sessions() as session:
            query = select(Job.id, Job.revision).where(Job.id.in_(ids))
            return dict(session.execute(query).all())
