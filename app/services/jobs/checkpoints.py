"""Checkpoints in the artifact store, by job and attempt; a file's name tells its step and proves its content.

Nothing in the database points at them: a worker that lost the database can still leave one. Training is
deterministic, so a late one of a fenced attempt is as good as any.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from app.infrastructure.storage import Storage
from app.services.jobs.leases import Lease

CHECKPOINTS = "checkpoints"
KEPT = 2  # the newest, and the one before in case that is damaged


def prefix(job_id: str) -> str:
    """Where a job's checkpoints lie in the store."""
    return f"{CHECKPOINTS}/{job_id}"


def keep(storage: Storage, lease: Lease, path: Path) -> None:
    """Store a checkpoint, then delete all but the newest two."""
    storage.put(f"{prefix(lease.job_id)}/{lease.attempt:06d}/{path.name}", path)
    for key in list(newest(storage, lease.job_id))[KEPT:]:
        storage.delete_file(key)


def newest(storage: Storage, job_id: str) -> Iterator[str]:
    """Keys of a job's checkpoints, the furthest first and of equals the latest."""
    keys = [PurePosixPath(key) for key in storage.keys(prefix(job_id))]
    yield from map(
        str, sorted(keys, key=lambda key: (key.name.partition("-")[0], key.parent.name), reverse=True)
    )
