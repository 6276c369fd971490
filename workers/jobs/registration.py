"""Tells the database every few seconds that this worker lives."""

import logging
import os
import socket
import threading
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from app.database.engine import Sessions
from app.database.tables import Worker
from app.services.jobs import workers

log = logging.getLogger(__name__)

BEAT = 5.0


class Presence:
    """One worker's row, kept fresh by a thread; an outage of the database only makes it late."""

    def __init__(
        self, sessions: Sessions, worker_id: str, role: str, device: str, loaded: Callable[[], list[str]]
    ) -> None:
        self._sessions = sessions
        self._worker_id = worker_id
        self._role = role
        self._device = device
        self._loaded = loaded
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="presence", daemon=True)

    def start(self) -> None:
        """Be seen."""
        self._thread.start()

    def stop(self) -> None:
        """Be gone at once, not only when the row is stale."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=BEAT)
        try:
            with self._sessions.begin() as session:
                workers.leave(session, self._worker_id)
        except SQLAlchemyError as error:
            log.warning("leave: %s", error)

    def _run(self) -> None:
        while True:
            try:
                with self._sessions.begin() as session:
                    workers.seen(session, self._row())
            except SQLAlchemyError as error:
                log.warning("presence: %s", error)
            if self._stop.wait(BEAT):
                return

    def _row(self) -> Worker:
        return Worker(
            id=self._worker_id,
            role=self._role,
            device=self._device,
            host=socket.gethostname(),
            pid=os.getpid(),
            loaded=self._loaded(),
        )
