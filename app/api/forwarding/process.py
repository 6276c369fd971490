"""The process that handles large requests: started for the first one, replaced when it has died."""

import asyncio
import logging
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Protocol

from app.errors import Unavailable
from app.infrastructure.processes.managed import is_alive

log = logging.getLogger(__name__)

BACKLOG = 256  # connections that wait while the process starts
MAX_DEATHS, DEATH_SECONDS = 3, 30.0  # in so many seconds, after which a request is refused
STOP_SECONDS = 6.0  # from SIGTERM to SIGKILL: longer than the server takes to end its requests


class RequestServer(Protocol):
    """A server of HTTP on a Unix socket, which may have to be started first."""

    def ensure_running(self) -> str:
        """Start it unless it runs; return the path of its socket, where connections wait for it.

        Raises `Unavailable` where it dies whenever it is started.
        """
        ...

    async def stop(self) -> None:
        """End it, and its requests."""
        ...


class LargeRequestProcess:
    """An API process on a Unix socket, with the settings of this one, which it does not outlive.

    The socket is made here and stays when the process dies: what waits for it is answered by the next one.
    """

    def __init__(self, prefix: str) -> None:
        """`prefix` is how the paths of such sockets begin, before process ids."""
        self._prefix = prefix
        self._listener: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._deaths: list[float] = []  # the newest ones, by time.monotonic

    @property
    def pid(self) -> int | None:
        """The process id; None before the first large request."""
        return self._process.pid if self._process else None

    def ensure_running(self) -> str:
        """See `RequestServer`. Call it in the main thread, whose end is what the process notices."""
        if self._listener is None:
            self._listener = self._listen()
        if self._process is not None and (status := self._process.poll()) is not None:
            log.warning("the process for large requests died (status %s)", status)
            self._died(time.monotonic())
        if self._process is None:
            self._start(self._listener.fileno())
        return str(self._listener.getsockname())

    async def stop(self) -> None:
        """See `RequestServer`."""
        if self._process is not None:
            self._process.terminate()
            try:
                await asyncio.to_thread(self._process.wait, STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                await asyncio.to_thread(self._process.wait)
            self._process = None
        self._close()

    def _close(self) -> None:
        if self._listener is not None:
            Path(self._listener.getsockname()).unlink(missing_ok=True)
            self._listener.close()
            self._listener = None

    def _listen(self) -> socket.socket:
        """A socket that only this user can connect to; those of processes that were killed are deleted."""
        path = Path(f"{self._prefix}{os.getpid()}.sock")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for stale in path.parent.glob(f"{Path(self._prefix).name}*.sock"):
            number = stale.stem.removeprefix(Path(self._prefix).name)
            if stale == path or (number.isdigit() and not is_alive(int(number))):
                stale.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(BACKLOG)
        return listener

    def _died(self, now: float) -> None:
        self._process = None
        self._deaths = [when for when in self._deaths if now - when < DEATH_SECONDS] + [now]
        if len(self._deaths) > MAX_DEATHS:
            raise Unavailable("The process for large requests does not stay alive.")

    def _start(self, descriptor: int) -> None:
        options = ["--fd", str(descriptor), "--large-requests-of", str(os.getpid())]
        self._process = subprocess.Popen(  # noqa: S603 - our own command line, no shell
            [sys.executable, "-m", "app.server", *options], stdin=subprocess.DEVNULL, pass_fds=(descriptor,)
        )
        log.info("process %d handles large requests", self._process.pid)
