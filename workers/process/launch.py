"""Processes that a supervisor starts: what it holds of each, and how a fresh interpreter is one."""

import os
import signal
import subprocess
from collections.abc import Sequence
from typing import IO, Protocol, cast

from app.infrastructure.processes.managed import computing_environment

CHILD_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin take a busy machine half of its speed
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
}


class LaunchedProcess(Protocol):
    """A running process that leads a group of its own, and the pipes to its stdin and stdout."""

    pid: int
    parent_pid: int  # of the process whose death must end it
    stdin: IO[str]
    stdout: IO[str]
    stderr: IO[str] | None  # None: it writes where this process does

    def request_stop(self) -> None:
        """Send SIGTERM; nothing happens when it has ended."""
        ...

    def wait(self, seconds: float | None = None) -> bool:
        """Return whether it ended within `seconds`; None waits as long as it takes."""
        ...


class SpawnedProcess:
    """A program that a fresh interpreter runs; a `LaunchedProcess`, if `logged` with a pipe from stderr."""

    def __init__(self, command: Sequence[str], *, logged: bool = False) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own command line, no shell
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if logged else None,
            text=True,
            errors="replace",
            start_new_session=True,
            env=computing_environment() | CHILD_ENVIRONMENT,
        )
        self.pid, self.parent_pid = self._process.pid, os.getpid()
        self.stdin, self.stdout = cast("IO[str]", self._process.stdin), cast("IO[str]", self._process.stdout)
        self.stderr: IO[str] | None = self._process.stderr

    def request_stop(self) -> None:
        """See `LaunchedProcess`."""
        self._process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float | None = None) -> bool:
        """See `LaunchedProcess`."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True
