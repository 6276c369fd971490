"""Ends a child process on request, and when its parent is gone."""

import os
import select
import signal
import sys
import threading
from collections.abc import Callable

from app.infrastructure.processes.managed import die_with_parent


class Lifeline:
    """Calls `on_end` once, from a thread, at SIGTERM, at the end of stdin, or when the parent dies.

    A process that has not called `finish` after `grace_seconds` more is ended by force.
    """

    def __init__(self, on_end: Callable[[], None], grace_seconds: float) -> None:
        self._on_end, self._grace_seconds = on_end, grace_seconds
        self._finished = threading.Event()
        self._wake_reader, self._wake_writer = os.pipe()

    def start(self, parent: int | None = None) -> None:
        """Take over SIGTERM and SIGINT and start the thread; call this from the main thread.

        With the parent's process id, the kernel kills this process when the parent dies, even if it computes
        without ever returning to Python; without the id it is asked to end.
        """
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the parent, which ends this process
        signal.signal(signal.SIGTERM, lambda *_: os.write(self._wake_writer, b"."))
        if parent is None:
            die_with_parent(os.getppid())
        else:
            die_with_parent(parent, signal.SIGKILL)
        threading.Thread(target=self._watch, name="lifeline", daemon=True).start()

    def finish(self) -> None:
        """Record that the process has done its work, so that it is not ended by force."""
        self._finished.set()

    def _watch(self) -> None:
        stdin = sys.stdin.fileno()
        while True:
            ready, _, _ = select.select([stdin, self._wake_reader], [], [])
            if self._wake_reader in ready or not os.read(stdin, 4096):
                break
        self._on_end()
        if not self._finished.wait(self._grace_seconds):
            os._exit(1)
