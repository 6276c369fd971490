"""Checkpoints of jobs in the artifact store, by job and attempt; the file name holds step and SHA-256.

No row points at a checkpoint, so a worker that lost the database can still store one. Training is
deterministic: a late checkpoint of a fenced attempt has the same content as the one that replaced it.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from app.infrastructure.storage import Storage
from app.services.jobs import batch_predictions
from app.services.jobs.leases import Lease

CHECKPOINTS_ROOT = "checkpoints"
CHECKPOINTS_PER_JOB = 2  # the newest, and the one before it in case the newest is damaged


def prefix(job_id: str) -> str:
    """Return the key prefix of a job's checkpoints."""
    return f"{CHECKPOINTS_ROOT}/{job_id}"


def store(storage: Storage, lease: Lease, path: Path) -> None:
    """Store a checkpoint, then delete all but the newest `CHECKPOINTS_PER_JOB`."""
    storage.put(f"{prefix(lease.job_id)}/{lease.attempt:06d}/{path.name}", path)
    for key in list(newest_first(storage, lease.job_id))[CHECKPOINTS_PER_JOB:]:
        storage.delete_file(key)


def newest_first(storage: Storage, job_id: str) -> Iterator[str]:
    """Yield the keys of a job's checkpoints, highest step first, then latest attempt first."""
    keys = [PurePosixPath(key) for key in storage.keys(prefix(job_id))]
    yield from map(
        str, sorted(keys, key=lambda key: (key.name.partition("-")[0], key.parent.name), reverse=True)
    )


def discard_files(storage: Storage, job_id: str) -> None:
    """Delete the result and the checkpoints of an ended job."""
    for root in (batch_predictions.results_prefix(job_id), prefix(job_id)):
        storage.delete(root)
