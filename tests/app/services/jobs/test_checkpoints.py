"""Checkpoints in the store: the one with most steps comes first, whichever attempt took it."""

from pathlib import Path

import pytest

from app.infrastructure.checkpoint_name import checkpoint_name
from app.infrastructure.storage import Storage
from app.services.jobs import checkpoints
from app.services.jobs.leases import Lease


def store(storage: Storage, directory: Path, attempt: int, step: int, job_id: str = "job_1") -> str:
    path = directory / checkpoint_name(step, f"{attempt:064x}")
    path.write_bytes(b"weights")
    checkpoints.store(storage, Lease(job_id, attempt), path)
    return f"{checkpoints.prefix(job_id)}/{attempt:06d}/{path.name}"


@pytest.mark.parametrize("late", [1, 2])
def test_a_late_checkpoint_of_a_fenced_attempt_counts_by_its_step(
    late: int, storage: Storage, tmp_path: Path
) -> None:
    first = store(storage, tmp_path, late, 90)
    second = store(storage, tmp_path, 3 - late, 100)
    assert list(checkpoints.newest_first(storage, "job_1")) == [second, first]


def test_of_one_step_the_latest_attempt_comes_first(storage: Storage, tmp_path: Path) -> None:
    keys = [store(storage, tmp_path, attempt, 7) for attempt in (9, 10)]
    assert list(checkpoints.newest_first(storage, "job_1")) == keys[::-1]


def test_only_the_newest_of_a_job_are_kept(storage: Storage, tmp_path: Path) -> None:
    other = store(storage, tmp_path, 1, 1, "job_2")
    keys = [store(storage, tmp_path, 2, step) for step in (5, 20, 100)]
    store(storage, tmp_path, 1, 10)  # late, of an attempt that lost its lease
    assert list(checkpoints.newest_first(storage, "job_1")) == [keys[2], keys[1]]
    assert list(checkpoints.newest_first(storage, "job_2")) == [other]
