"""The artifact store."""

from pathlib import Path

import pytest

from app.errors import NotFound
from app.infrastructure.storage import Storage


def put(storage: Storage, tmp_path: Path, key: str, data: bytes) -> None:
    (tmp_path / "source").write_bytes(data)
    storage.put(key, tmp_path / "source")


def test_what_is_put_can_be_read_and_listed(storage: Storage, tmp_path: Path) -> None:
    data = bytes(range(256)) * 10_000
    put(storage, tmp_path, "a/1/content", data)
    put(storage, tmp_path, "a/2/content", b"")
    assert b"".join(storage.read("a/1/content")) == data
    assert storage.keys("a") == ["a/1/content", "a/2/content"]
    assert storage.keys("a/1") == ["a/1/content"]


def test_a_prefix_is_a_directory_and_not_the_start_of_a_name(storage: Storage, tmp_path: Path) -> None:
    put(storage, tmp_path, "jobs/1/x", b"1")
    put(storage, tmp_path, "jobs/10/x", b"10")
    storage.delete("jobs/1")
    assert storage.keys("jobs") == ["jobs/10/x"]


def test_fetch_copies_everything_below_a_prefix(storage: Storage, tmp_path: Path) -> None:
    put(storage, tmp_path, "m/1/manifest.json", b"{}")
    put(storage, tmp_path, "m/1/deep/file", b"deep")
    directory = storage.fetch("m/1", tmp_path / "out")
    assert (directory / "manifest.json").read_bytes() == b"{}"
    assert (directory / "deep" / "file").read_bytes() == b"deep"


def test_a_missing_key_is_not_found(storage: Storage, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        storage.read("none")
    with pytest.raises(NotFound):
        storage.fetch("none", tmp_path / "out")
    storage.delete("none")


def test_only_known_schemes_are_opened() -> None:
    with pytest.raises(ValueError, match="file:// or s3://"):
        Storage("ftp://host/x")


def test_sizes_and_directories_are_listed_without_reading(storage: Storage, tmp_path: Path) -> None:
    assert storage.sizes("jobs") == {}
    assert storage.directories("jobs") == []
    for key, data in (("jobs/2/b", b"12345"), ("jobs/2/a", b""), ("jobs/10/deep/c", b"1"), ("other/x", b"1")):
        put(storage, tmp_path, key, data)
    assert list(storage.sizes("jobs/2").items()) == [("jobs/2/a", 0), ("jobs/2/b", 5)]
    assert storage.directories("jobs") == ["10", "2"]
