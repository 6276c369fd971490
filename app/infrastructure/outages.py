"""Warnings about something that is away: the first at once, the next ones ever more rarely."""

import logging
import threading
import time
from collections.abc import Callable

FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 4.0, 300.0  # between two warnings; doubled each time


class OutageLog:
    """Logs the failures of one thing that is tried again and again, and that it works again.

    May be used by several threads.
    """

    def __init__(
        self, log: logging.Logger, subject: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log, self._subject, self._clock = log, subject, clock
        self._lock = threading.Lock()
        self._began = self._next = self._pause = 0.0
        self._failures = 0  # since it last worked

    def failed(self, error: object) -> None:
        """Record a failure; it is logged if it is the first, or the last warning is long enough ago."""
        with self._lock:
            now = self._clock()
            if not self._failures:
                self._began, self._next, self._pause = now, now, FIRST_PAUSE_SECONDS
            self._failures += 1
            if now < self._next:
                return
            self._next, self._pause = now + self._pause, min(2 * self._pause, MAX_PAUSE_SECONDS)
            count, seconds = self._failures, now - self._began
        if count == 1:
            self._log.warning("%s: %s", self._subject, error)
        else:
            self._log.warning("%s: %s (%d times in %.0f s)", self._subject, error, count, seconds)

    def worked(self) -> None:
        """Record a success; the end of an outage is logged."""
        if not self._failures:  # without the lock: this is called all the time
            return
        with self._lock:
            count, self._failures = self._failures, 0
            seconds = self._clock() - self._began
        if count > 1:
            self._log.info("%s: no more, after %d times in %.0f s", self._subject, count, seconds)
