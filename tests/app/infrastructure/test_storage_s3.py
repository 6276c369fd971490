"""The artifact store in a bucket of a real S3 server: the same as in a directory, as far as S3 goes."""

import os
from pathlib import Path
from uuid import uuid4

import pytest

from app.errors import NotFound
from app.infrastructure.storage import HOLDS_ROOT, PROBES_ROOT, Storage

PARTS_BYTES = 12 << 20  # more than one part of an upload


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(b"12345")
    return path


def test_a_large_file_comes_back_as_it_was(s3_storage: Storage, tmp_path: Path) -> None:
    content = os.urandom(PARTS_BYTES)
    (tmp_path / "large").write_bytes(content)
    s3_storage.put("artifacts/job_1/1/model.onnx", tmp_path / "large")
    assert b"".join(s3_storage.read("artifacts/job_1/1/model.onnx")) == content
    s3_storage.fetch("artifacts/job_1/1", tmp_path / "fetched")
    assert (tmp_path / "fetched" / "model.onnx").read_bytes() == content


def test_listings_are_by_directory_and_longer_than_a_page(s3_storage: Storage, source: Path) -> None:
    names = [f"{number:04d}" for number in range(1005)]  # a page has a thousand
    for name in names:
        s3_storage.write(f"results/job_1/{name}", name.encode())
    s3_storage.put("results/job_10/0000", source)
    assert s3_storage.keys("results/job_1") == [f"results/job_1/{name}" for name in names]
    assert s3_storage.directories("results") == ["job_1", "job_10"]
    assert s3_storage.sizes("results/job_10") == {"results/job_10/0000": 5}
    s3_storage.delete("results/job_1")
    assert s3_storage.keys("results") == ["results/job_10/0000"]


def test_a_key_is_created_once(s3_storage: Storage) -> None:
    assert s3_storage.create("installation.json", b"1")
    assert not s3_storage.create("installation.json", b"2")
    assert b"".join(s3_storage.read("installation.json")) == b"1"
    s3_storage.write("installation.json", b"3")
    assert b"".join(s3_storage.read("installation.json")) == b"3"


def test_what_is_not_there_is_not_found(s3_storage: Storage, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        s3_storage.read("none")
    with pytest.raises(NotFound):
        s3_storage.fetch("none", tmp_path / "out")
    s3_storage.delete_file("none")
    s3_storage.delete("none")
    assert s3_storage.keys("none") == []


def test_ages_are_by_the_stores_clock(s3_storage: Storage, source: Path) -> None:
    before = s3_storage.now()
    s3_storage.put("datasets/x", source)
    stored = s3_storage.files("datasets")["datasets/x"]
    assert stored.bytes == 5
    assert before <= stored.modified <= s3_storage.now()
    assert s3_storage.keys(PROBES_ROOT) == []


def test_a_hold_keeps_files_there_too(s3_storage: Storage, source: Path) -> None:
    s3_storage.put("datasets/x", source)
    s3_storage.write(hold := f"{HOLDS_ROOT}/{uuid4().hex}", b"")
    s3_storage.delete("datasets")
    s3_storage.delete_file("datasets/x")
    assert s3_storage.keys("datasets") == ["datasets/x"]
    s3_storage.delete_file(hold)
    s3_storage.delete("datasets")
    assert s3_storage.keys("datasets") == []


def test_there_is_nothing_local_to_tidy(s3_storage: Storage) -> None:
    assert s3_storage.unfinished_writes(s3_storage.now()) == []
    s3_storage.prune_directories(s3_storage.now())
