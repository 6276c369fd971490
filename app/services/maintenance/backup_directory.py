"""What a backup is on the disk, and whether it is whole.

    backup.json           what there is; written last
    database/jobs.jsonl   the rows of each table, each a JSON array
    files.jsonl           key, size and SHA-256 of each file of the store
    store/…               these files, under their keys

It is neutral: it goes into SQLite or PostgreSQL, a directory or S3, from whichever it came.
"""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import orjson

from app.infrastructure.disk import fsync_path
from app.services.maintenance.cleanup import GROUP_PATTERNS

BACKUP_FORMAT = 1
MANIFEST_FILE, INDEX_FILE = "backup.json", "files.jsonl"
DATABASE_DIRECTORY, STORE_DIRECTORY = "database", "store"


class BackupDamaged(Exception):
    """The directory is no whole backup, or not what was written."""


class TableContent(msgspec.Struct, frozen=True):
    """The rows of one table."""

    columns: list[str]
    rows: int
    sha256: str  # of its file


class FileIndex(msgspec.Struct, frozen=True):
    """The files of the store."""

    count: int
    bytes: int
    sha256: str  # of `files.jsonl`


class Manifest(msgspec.Struct, frozen=True):
    """What a backup consists of."""

    format: int
    id: str
    version: str  # of the release that made it
    created_at: str
    revision: str  # of the database's schema
    installation: str | None
    tables: dict[str, TableContent]
    files: FileIndex
    problems: list[str]  # files that were damaged or missing already when it was made


class IndexedFile(msgspec.Struct, frozen=True):
    """A file of the store in a backup."""

    key: str
    bytes: int
    sha256: str


def write_lines(path: Path, lines: Iterable[Any]) -> tuple[int, str]:
    """Write each value as a line of JSON; returns how many there were and the file's SHA-256."""
    digest, count = hashlib.sha256(), 0
    with path.open("wb") as file:
        for value in lines:
            line = orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)
            digest.update(line)
            file.write(line)
            count += 1
    fsync_path(path)
    return count, digest.hexdigest()


def table_path(directory: Path, table: str) -> Path:
    """Return the file of a table's rows."""
    return directory / DATABASE_DIRECTORY / f"{table}.jsonl"


def stored_path(directory: Path, key: str) -> Path:
    """Return the copy of a file of the store."""
    return directory / STORE_DIRECTORY / key


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Make a backup whole."""
    path = directory / MANIFEST_FILE
    path.write_bytes(msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
    fsync_path(path)


def read_manifest(directory: Path) -> Manifest:
    """Return what a backup consists of; raises `BackupDamaged`."""
    try:
        manifest = msgspec.json.decode((directory / MANIFEST_FILE).read_bytes(), type=Manifest)
    except OSError:
        reason = f"has no {MANIFEST_FILE}: it is no backup, or one that was not finished"
        raise BackupDamaged(f"{directory} {reason}") from None
    except msgspec.MsgspecError as error:
        raise BackupDamaged(f"{MANIFEST_FILE} cannot be read: {error}") from None
    if manifest.format != BACKUP_FORMAT:
        raise BackupDamaged(f"The backup has format {manifest.format}; this release reads {BACKUP_FORMAT}")
    return manifest


def read_files(directory: Path) -> Iterator[IndexedFile]:
    """Yield the files of the store in a backup; raises `BackupDamaged`."""
    decoder = msgspec.json.Decoder(IndexedFile)
    with (directory / INDEX_FILE).open("rb") as lines:
        for line in lines:
            try:
                file = decoder.decode(line)
            except msgspec.MsgspecError as error:
                raise BackupDamaged(f"{INDEX_FILE} cannot be read: {error}") from None
            if not is_stored_key(file.key):
                raise BackupDamaged(f"{INDEX_FILE} has {file.key!r}, which is no key of the store")
            yield file


def is_stored_key(key: str) -> bool:
    """Whether it is a key of the store that this service gives."""
    known = any(pattern.match(key) for pattern in GROUP_PATTERNS.values())
    return known and not {"", ".", ".."} & set(key.split("/"))


def read_table(directory: Path, table: str) -> Iterator[list[Any]]:
    """Yield the rows of a table."""
    with table_path(directory, table).open("rb") as lines:
        for line in lines:
            yield orjson.loads(line)


def verify(directory: Path) -> Manifest:
    """Return what a backup consists of if all of it is there and unaltered; raises `BackupDamaged`."""
    manifest = read_manifest(directory)
    for name, table in manifest.tables.items():
        check_digest(table_path(directory, name), table.sha256)
    check_digest(directory / INDEX_FILE, manifest.files.sha256)
    for file in read_files(directory):
        check_digest(stored_path(directory, file.key), file.sha256)
    return manifest


def check_digest(path: Path, sha256: str) -> None:
    """Raise `BackupDamaged` unless the file has this digest."""
    try:
        with path.open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BackupDamaged(f"{path} cannot be read: {error.strerror or error}") from None
    if actual != sha256:
        raise BackupDamaged(f"{path} is not what the backup wrote: its sha256 differs")
