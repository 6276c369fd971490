"""Processes of `recurra up` that are started again when they end: at once, or when somebody needs them."""

import select
import socket
from dataclasses import dataclass

from app.infrastructure.processes.managed import ManagedProcess

FIRST_RESTART_SECONDS, MAX_RESTART_SECONDS = 0.5, 4.0  # the delay doubles with each restart
STABLE_SECONDS = 60.0  # after which the delay is reset


@dataclass
class SupervisedProcess:
    """A process that is started again when it ends, after a delay that grows each time."""

    child: ManagedProcess
    delay: float = FIRST_RESTART_SECONDS
    restart_at: float | None = None

    def check(self, now: float) -> str | None:
        """Plan a restart when the process has ended, and restart it in time; returns a message or None."""
        if self.restart_at is not None:
            if now >= self.restart_at:
                self.restart_at = None
                self.child.start()
            return None
        if (status := self.child.poll()) is None:
            return None
        self.child.kill()  # its descendants in the same session
        was_stable = now - self.child.started > STABLE_SECONDS
        wait = FIRST_RESTART_SECONDS if was_stable else self.delay
        self.delay = min(2 * wait, MAX_RESTART_SECONDS)
        self.restart_at = now + wait
        return f"{self.child.name} ended with status {status}; starting it again in {wait:g} s"


@dataclass
class StandbyProcess:
    """A process behind a socket that listens already; it starts when somebody connects there.

    So nobody pays for it before. Connections wait at the socket until the process accepts them.
    """

    child: ManagedProcess
    listener: socket.socket
    delay: float = FIRST_RESTART_SECONDS
    start_after: float = 0.0  # time.monotonic()
    is_started: bool = False

    def check(self, now: float) -> str | None:
        """Start the process if somebody waits for it; returns a message when it has ended, or None."""
        if self.is_started:
            return self._check_end(now)
        if now >= self.start_after and select.select([self.listener], [], [], 0)[0]:
            self.child.start()
            self.is_started = True
        return None

    def _check_end(self, now: float) -> str | None:
        if (status := self.child.poll()) is None:
            return None
        self.child.kill()  # its descendants in the same session
        was_stable = now - self.child.started > STABLE_SECONDS
        wait = FIRST_RESTART_SECONDS if was_stable else self.delay
        self.delay = min(2 * wait, MAX_RESTART_SECONDS)
        self.start_after, self.is_started = now + wait, False
        return f"{self.child.name} ended with status {status}; its next visitor starts it again"
