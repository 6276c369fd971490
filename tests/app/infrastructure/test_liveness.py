"""Liveness files: of this host, of a role, and no older than a worker may be silent."""

import os
import time
from pathlib import Path

import pytest

from app.infrastructure.liveness import LIVE_SECONDS, STALE_FILE_SECONDS, LivenessFile, lives


def age(directory: Path, seconds: float) -> None:
    then = time.time() - seconds
    for path in directory.rglob("train.*"):
        os.utime(path, (then, then))


def test_a_worker_lives_as_long_as_its_reports_are_fresh(tmp_path: Path) -> None:
    assert not lives(tmp_path / "none", "train")
    one = LivenessFile(tmp_path, "train", "worker_1")
    one.touch()
    assert lives(tmp_path, "train")
    age(tmp_path, LIVE_SECONDS + 1)
    assert not lives(tmp_path, "train")
    one.touch()
    assert lives(tmp_path, "train")
    one.remove()
    one.remove()
    assert not lives(tmp_path, "train")


def test_another_host_with_the_same_directory_is_not_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    LivenessFile(tmp_path, "train", "worker_1").touch()
    monkeypatch.setattr("socket.gethostname", lambda: "another")
    assert not lives(tmp_path, "train")


def test_files_of_killed_workers_are_deleted_by_the_next(tmp_path: Path) -> None:
    LivenessFile(tmp_path, "train", "killed").touch()
    age(tmp_path, STALE_FILE_SECONDS + 1)
    LivenessFile(tmp_path, "serve", "worker_2").touch()
    assert [path.name for path in tmp_path.rglob("*.*") if path.is_file()] == ["serve.worker_2"]
