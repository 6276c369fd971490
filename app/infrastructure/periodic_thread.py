"""A thread that calls a function at regular intervals."""

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)


class PeriodicThread:
    """Calls `work` every `interval_seconds` in a daemon thread, from `start` to `stop`.

    The first call comes `first_seconds` after the start, by default one interval. An exception is logged, and
    the next call comes in its time: an outage of what `work` needs must not end the thread.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], object],
        interval_seconds: float,
        first_seconds: float | None = None,
    ) -> None:
        self._work, self._interval_seconds = work, interval_seconds
        self._first_seconds = interval_seconds if first_seconds is None else first_seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, max_seconds: float) -> None:
        """Make no more calls, and wait up to `max_seconds` for one in progress; harmless before `start`."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=max_seconds)

    def _run(self) -> None:
        seconds = self._first_seconds
        while not self._stopping.wait(seconds):
            try:
                self._work()
            except Exception:
                log.exception("%s failed", self._thread.name)
            seconds = self._interval_seconds
