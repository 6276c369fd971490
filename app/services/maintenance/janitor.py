"""Runs a cleanup at regular intervals, in a thread of its own, and the small tasks of each minute in another.

Every training worker runs a janitor. What one has deleted the others do not find, so several do no harm.
"""

import logging
from pathlib import Path

from app.database.engine import Sessions
from app.infrastructure.periodic_thread import PeriodicThread
from app.infrastructure.storage import Storage
from app.services.maintenance import cleanup, ownership
from app.services.maintenance.ownership import Owner

log = logging.getLogger(__name__)

FIRST_WAIT_SECONDS = 300.0  # before the first cleanup: a worker that starts has better things to do
MAX_STOP_SECONDS = 2.0  # that `stop` waits for a cleanup; the next one finishes one that is cut short


class Janitor:
    """Cleans up every `interval_seconds`; an error is logged, and the next cleanup tries again."""

    def __init__(
        self,
        sessions: Sessions,
        storage: Storage,
        data_dir: Path,
        interval_seconds: float,
        grace_seconds: float = cleanup.GRACE_SECONDS,
    ) -> None:
        self._sessions, self._storage, self._data_dir = sessions, storage, data_dir
        self._grace_seconds = grace_seconds
        self._owner = Owner.THIS  # of the store, when it was last looked at
        first_seconds = min(FIRST_WAIT_SECONDS, interval_seconds)
        self._thread = PeriodicThread("janitor", self._clean_up, interval_seconds, first_seconds)
        self._minutes = PeriodicThread("janitor-minute", self._every_minute, ownership.RENEW_SECONDS, 0.0)

    def start(self) -> None:
        """Start the thread; the first cleanup is some minutes later."""
        self._minutes.start()
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        for thread in (self._minutes, self._thread):
            thread.stop(MAX_STOP_SECONDS)

    def _every_minute(self) -> None:
        self._renew_mark()
        try:
            with self._sessions() as session:
                dead = cleanup.find_dead_work(session, self._data_dir)
            cleanup.delete_paths(dead)
        except Exception as error:  # noqa: BLE001 - whatever database and file system raise
            log.warning("working directories: %s", error)

    def _renew_mark(self) -> None:
        try:
            owner = cleanup.renew_mark(self._sessions, self._storage)
        except Exception as error:  # noqa: BLE001 - whatever database and store raise
            log.warning("the store's mark: %s", error)
            return
        if owner is not Owner.THIS and owner is not self._owner:
            with self._sessions() as session:
                log.error("%s", ownership.describe_foreign(session, self._storage))
        self._owner = owner

    def _clean_up(self) -> None:
        try:
            result = cleanup.clean_up(self._sessions, self._storage, self._data_dir, self._grace_seconds)
        except Exception as error:  # noqa: BLE001 - whatever database, store and file system raise
            log.warning("cleanup: %s", error)
            return
        if result.groups or result.leftovers:
            log.info(
                "cleanup: deleted %d groups of stored files (%d bytes) and %d local leftovers",
                result.groups,
                result.bytes,
                result.leftovers,
            )
