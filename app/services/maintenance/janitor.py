"""Sweeps away what nobody needs any more, now and then, in a thread of its own.

Every training worker runs one. What one has removed the others do not find, so several do no harm.
"""

import logging
import threading
from pathlib import Path

from app.database.engine import Sessions
from app.infrastructure.storage import Storage
from app.services.maintenance import cleanup

log = logging.getLogger(__name__)

SETTLED = 300.0  # seconds after the start before the first sweep: a start has better things to do
LEAVE = 2.0  # seconds that stopping waits for a sweep to end; one that is cut short is done by the next


class Janitor:
    """A sweep every so many seconds; what goes wrong is logged, and tried again the next time."""

    def __init__(
        self,
        sessions: Sessions,
        storage: Storage,
        data_dir: Path,
        every: float,
        grace: float = cleanup.GRACE,
    ) -> None:
        self._sessions, self._storage, self._data_dir = sessions, storage, data_dir
        self._every, self._grace = every, grace
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="janitor", daemon=True)

    def start(self) -> None:
        """Begin, but not at once."""
        self._thread.start()

    def stop(self) -> None:
        """Sweep no more."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=LEAVE)

    def _run(self) -> None:
        wait = min(SETTLED, self._every)
        while not self._stop.wait(wait):
            self._sweep()
            wait = self._every

    def _sweep(self) -> None:
        try:
            done = cleanup.sweep(self._sessions, self._storage, self._data_dir, self._grace)
        except Exception as error:  # noqa: BLE001 - whatever database, store and file system raise
            log.warning("sweep: %s", error)
            return
        if done.places or done.leftovers:
            log.info("swept %d places (%d bytes), %d leftovers", done.places, done.bytes, done.leftovers)
