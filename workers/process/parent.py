"""The parent's side of a supervised process: the child and the two pipes to it."""

import json
import logging
import queue
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import IO

from app.infrastructure.processes.managed import signal_group
from app.typedefs import Json
from workers.process.launch import LaunchedProcess

log = logging.getLogger(__name__)

KILL_SECONDS = 10.0  # for the kernel to end what was killed
READ_SECONDS = 5.0  # for the last messages and lines of a child that has ended
MAX_LINE_CHARS = 1 << 16  # of what a child writes without a line break


class ChildProcess:
    """The process that does a job's work: receives one JSON request, sends JSON messages."""

    def __init__(
        self, process: LaunchedProcess, request: Json, on_line: Callable[[str], None] = lambda _: None
    ) -> None:
        """`on_line` gets each line of a logged process's stderr, in a thread."""
        self._process, self._on_line = process, on_line
        self._messages: queue.SimpleQueue[Json | None] = queue.SimpleQueue()
        self._readers = [threading.Thread(target=self._read_messages, name="child-reader", daemon=True)]
        if process.stderr is not None:
            read = (process.stderr,)
            self._readers.append(
                threading.Thread(target=self._read_lines, args=read, name="child-log", daemon=True)
            )
        for reader in self._readers:
            reader.start()
        with suppress(OSError):  # it died at once, which the end of its messages will show
            process.stdin.write(json.dumps(request | {"parent": process.parent_pid}) + "\n")
            process.stdin.flush()

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    def next_message(self, seconds: float) -> Json | None:
        """Return the next message; an empty one when none came within `seconds`, None when it has ended."""
        try:
            return self._messages.get(timeout=seconds)
        except queue.Empty:
            return {}

    def request_stop(self) -> None:
        """Ask it to stop at its next step."""
        self._process.request_stop()

    def end(self, seconds: float) -> None:
        """Let it exit for `seconds`, then kill it and every process it started."""
        self._process.wait(seconds)
        signal_group(self._process.pid, signal.SIGKILL)
        self._process.wait(KILL_SECONDS)
        for reader in self._readers:
            reader.join(READ_SECONDS)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            with suppress(OSError):  # what it never read
                if pipe is not None:
                    pipe.close()

    def _read_messages(self) -> None:
        for line in self._process.stdout:
            try:
                self._messages.put(json.loads(line))
            except json.JSONDecodeError:
                log.warning("not a message: %.200s", line)
        self._messages.put(None)

    def _read_lines(self, stderr: IO[str]) -> None:
        while line := stderr.readline(MAX_LINE_CHARS):
            self._on_line(line)
