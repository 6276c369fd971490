"""The parent's side of a supervised process: the child and the two pipes to it."""

import json
import logging
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress

from app.infrastructure.processes import signal_group
from app.typedefs import Json

log = logging.getLogger(__name__)


CHILD_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin take a busy machine half of its speed
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
}


class ChildProcess:
    """The process that does a job's work: receives one JSON request, sends JSON messages."""

    def __init__(self, command: Sequence[str], request: Json) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own command line, no shell
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=os.environ | CHILD_ENVIRONMENT,
        )
        self._messages: queue.SimpleQueue[Json | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read_messages, name="child-reader", daemon=True)
        self._reader.start()
        if self._process.stdin is not None:
            with suppress(OSError):  # it died at once, which the end of its messages will show
                self._process.stdin.write(json.dumps(request) + "\n")
                self._process.stdin.flush()

    def next_message(self, seconds: float) -> Json | None:
        """Return the next message; an empty one when none came within `seconds`, None when it has ended."""
        try:
            return self._messages.get(timeout=seconds)
        except queue.Empty:
            return {}

    def request_stop(self) -> None:
        """Ask it to stop at its next step."""
        self._process.send_signal(signal.SIGTERM)

    def end(self, seconds: float) -> None:
        """Let it exit for `seconds`, then kill it and every process it started."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        signal_group(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join(timeout=5)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _read_messages(self) -> None:
        for line in self._process.stdout or ():
            try:
                self._messages.put(json.loads(line))
            except json.JSONDecodeError:
                log.warning("not a message: %.200s", line)
        self._messages.put(None)
