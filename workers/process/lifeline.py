"""A child process that ends when it is told to, and never outlives its parent."""

import os
import select
import signal
import sys
import threading
from collections.abc import Callable

from app.infrastructure.processes import die_with_parent


class Lifeline:
    """Calls `on_end` once, from a thread, at SIGTERM, at the end of stdin, or when the parent dies.

    Whatever still runs `grace` seconds later is ended by force.
    """

    def __init__(self, on_end: Callable[[], None], grace: float) -> None:
        self._on_end, self._grace = on_end, grace
        self._finished = threading.Event()
        self._signals, self._wake = os.pipe()

    def start(self, parent: int | None = None) -> None:
        """Take over SIGTERM and SIGINT; call this from the main thread.

        With the number of the parent this process is killed when that dies, even if it computes without
        ever coming back to Python; otherwise it is asked to end.
        """
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the parent, which ends this
        signal.signal(signal.SIGTERM, lambda *_: os.write(self._wake, b"."))
        if parent is None:
            die_with_parent(os.getppid())
        else:
            die_with_parent(parent, signal.SIGKILL)
        threading.Thread(target=self._watch, name="lifeline", daemon=True).start()

    def finish(self) -> None:
        """The process has done what it had to do."""
        self._finished.set()

    def _watch(self) -> None:
        stdin = sys.stdin.fileno()
        while True:
            ready, _, _ = select.select([stdin, self._signals], [], [])
            if self._signals in ready or not os.read(stdin, 4096):
                break
        self._on_end()
        if not self._finished.wait(self._grace):
            os._exit(1)
