"""Files by which a health check on the same host knows that a worker lives, without database and Redis.

A worker touches its file when it has reported to the database. The check costs a start of Python and no more,
since it runs every few seconds beside trainings.
"""

import socket
import time
from contextlib import suppress
from pathlib import Path

LIVE_SECONDS = 20.0  # without a report for longer, a worker counts as gone
STALE_FILE_SECONDS = 3600.0  # the file of a worker that was killed


class LivenessFile:
    """The file of one worker."""

    def __init__(self, data_dir: Path, role: str, worker_id: str) -> None:
        self._path = _directory(data_dir) / f"{role}.{worker_id}"

    def touch(self) -> None:
        """Say that the worker lives now, and delete the files of workers long gone."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.touch()
        for other in self._path.parent.iterdir():
            with suppress(FileNotFoundError):  # its worker, or another one, was quicker
                if _age(other) > STALE_FILE_SECONDS:
                    other.unlink()

    def remove(self) -> None:
        """Say that the worker has stopped."""
        self._path.unlink(missing_ok=True)


def lives(data_dir: Path, role: str) -> bool:
    """Return whether a worker of this role on this host, with this data directory, has reported lately."""
    for path in _directory(data_dir).glob(f"{role}.*"):
        with suppress(FileNotFoundError):
            if _age(path) < LIVE_SECONDS:
                return True
    return False


def _directory(data_dir: Path) -> Path:
    return data_dir.resolve() / "workers" / socket.gethostname()


def _age(path: Path) -> float:
    return time.time() - path.stat().st_mtime
