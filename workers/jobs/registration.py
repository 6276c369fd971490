"""A worker's row in the database, refreshed every few seconds while the worker lives."""

import logging
import os
import socket
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from app.database.engine import Sessions
from app.database.tables import Worker
from app.infrastructure.liveness import LivenessFile
from app.infrastructure.outages import OutageLog
from app.infrastructure.periodic_thread import PeriodicThread
from app.services.jobs import workers

log = logging.getLogger(__name__)

REPORT_SECONDS = 5.0


class WorkerRegistration:
    """Keeps one worker's row, and its liveness file, fresh from a thread.

    An outage of the database only delays both.
    """

    def __init__(
        self,
        sessions: Sessions,
        worker_id: str,
        role: str,
        device: str,
        loaded: Callable[[], list[str]],
        liveness: LivenessFile,
        memory_bytes: int | None = None,
    ) -> None:
        self._sessions = sessions
        self._worker_id = worker_id
        self._role = role
        self._device = device
        self._loaded = loaded
        self._liveness = liveness
        self._memory_bytes = memory_bytes
        self._outage = OutageLog(log, "refreshing the worker's row")
        self._thread = PeriodicThread("registration", self._report, REPORT_SECONDS, first_seconds=0.0)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and delete the row, so that the worker is gone before the row is stale."""
        self._thread.stop(REPORT_SECONDS)
        self._liveness.remove()
        try:
            with self._sessions.begin() as session:
                workers.remove(session, self._worker_id)
        except SQLAlchemyError as error:
            log.warning("removing the worker's row: %s", error)

    def _report(self) -> None:
        try:
            with self._sessions.begin() as session:
                workers.report_alive(session, self._row())
        except SQLAlchemyError as error:
            self._outage.failed(error)
        else:
            self._outage.worked()
            self._liveness.touch()

    def _row(self) -> Worker:
        return Worker(
            id=self._worker_id,
            role=self._role,
            device=self._device,
            host=socket.gethostname(),
            pid=os.getpid(),
            loaded=self._loaded(),
            memory_bytes=self._memory_bytes,
        )
