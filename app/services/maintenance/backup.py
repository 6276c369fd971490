"""Copies database and store of a running installation into a directory, as they are at one moment.

First deletions in the store are held, then the rows are read in one snapshot, then the files that these rows
need are copied. Files are stored before the row that names them and are never changed, so all are there.
"""

import fcntl
import hashlib
import os
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path, PurePosixPath

import msgspec
from sqlalchemy import Connection, Engine, text

from app.database.migrate import NotMigrated, current_revision
from app.database.rows import read_rows, reflect_tables, snapshot
from app.errors import NotFound
from app.identifiers import new_id
from app.infrastructure.artifacts import ALTERED, digest_files
from app.infrastructure.checkpoint_name import sha256_of
from app.infrastructure.deletion_hold import DeletionHold
from app.infrastructure.disk import fsync_path
from app.infrastructure.storage import PROBES_ROOT, Storage
from app.services.jobs.checkpoints import CHECKPOINTS_ROOT
from app.services.maintenance import backup_directory
from app.services.maintenance.backup_directory import FileIndex, IndexedFile, Manifest, TableContent
from app.services.maintenance.cleanup import GROUP_PATTERNS
from app.times import rfc3339

COPY_THREADS = 4  # a store over a network answers several at a time
LEFT_OUT = {"workers"}  # tables of processes that live now


class TargetNotEmpty(Exception):
    """There is something already where a backup or a restored installation is to be."""


@dataclass
class _Needed:
    """What the rows of the snapshot need of the store."""

    owners: set[str] = field(default_factory=set)  # ids of data sets and jobs
    artifacts: dict[str, tuple[str, str]] = field(
        default_factory=dict
    )  # a version's name and digest, by prefix
    uploads: dict[str, str] = field(default_factory=dict)  # digest of each data set's file, by its key

    @classmethod
    def read(cls, connection: Connection) -> "_Needed":
        versions = connection.execute(text("select artifact, model, version, sha256 from model_versions"))
        artifacts = {row[0]: (f"{row[1]}/{row[2]}", row[3]) for row in versions}
        uploads = {row[0]: row[1] for row in connection.execute(text("select id, sha256 from datasets"))}
        jobs = set(connection.execute(text("select id from jobs")).scalars())
        contents = {f"datasets/{dataset_id}/content": sha256 for dataset_id, sha256 in uploads.items()}
        return cls(jobs | set(uploads), artifacts, contents)

    def has(self, root: str, key: str) -> bool:
        """Whether a file is needed; those of an attempt that failed are copied as well."""
        match = GROUP_PATTERNS[root].match(key)
        return match is not None and (match["id"] in self.owners or match[0] in self.artifacts)


def back_up(engine: Engine, storage: Storage, target: Path) -> Manifest:
    """Make a backup in `target`, a directory that is not there yet or empty; what it consists of.

    Raises `TargetNotEmpty`, `NotMigrated` and `HoldLapsed`, and what database, store and disk raise.
    """
    target = target.absolute()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise TargetNotEmpty(f"{target} is not empty")
    with _unfinished_directory(target) as directory:
        with DeletionHold(storage) as hold:
            revision, installation, tables, needed = _copy_database(engine, directory)
            files = _copy_files(storage, needed, directory)
            hold.check()
        _, index_sha256 = backup_directory.write_lines(
            directory / backup_directory.INDEX_FILE, map(msgspec.structs.asdict, files)
        )
        manifest = Manifest(
            format=backup_directory.BACKUP_FORMAT, id=new_id("bkp"), version=version("recurra-server"),
            created_at=rfc3339(time.time()),
            revision=revision, installation=installation, tables=tables,
            files=FileIndex(len(files), sum(file.bytes for file in files), index_sha256),
            problems=_find_problems(directory, needed, files),
        )  # fmt: skip
        backup_directory.write_manifest(directory, manifest)
        _flush_directories(directory)
        if target.exists():
            target.rmdir()
        directory.rename(target)
    fsync_path(target.parent)
    return manifest


@contextmanager
def _unfinished_directory(target: Path) -> Iterator[Path]:
    """A directory beside the target, without what a killed backup left; rename it when it is whole."""
    directory = target.with_name(f".{target.name}.unfinished")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TargetNotEmpty(f"Another backup is being made in {target}") from None
        for path in directory.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)  # unless it was renamed
        os.close(descriptor)


def _copy_database(
    engine: Engine, directory: Path
) -> tuple[str, str | None, dict[str, TableContent], _Needed]:
    (directory / backup_directory.DATABASE_DIRECTORY).mkdir()
    tables: dict[str, TableContent] = {}
    with snapshot(engine) as connection:
        if (revision := current_revision(connection)) is None:
            raise NotMigrated("The database has no tables yet: there is nothing to back up")
        for table in reflect_tables(connection):
            if table.name not in LEFT_OUT:
                path = backup_directory.table_path(directory, table.name)
                count, sha256 = backup_directory.write_lines(path, read_rows(connection, table))
                columns = [
                    str(column.name) for column in table.columns
                ]  # without the type of names with quotes
                tables[str(table.name)] = TableContent(columns, count, sha256)
        needed = _Needed.read(connection)
        installation = None
        if "installation" in tables:
            installation = connection.scalar(text("select id from installation"))
    return revision, installation, tables, needed


def _copy_files(storage: Storage, needed: _Needed, directory: Path) -> list[IndexedFile]:
    roots = [root for root in GROUP_PATTERNS if root != PROBES_ROOT]
    keys = [key for root in roots for key in storage.keys(root) if needed.has(root, key)]
    with ThreadPoolExecutor(COPY_THREADS, "backup") as pool:
        copied = pool.map(lambda key: _copy_file(storage, key, directory), keys)
        return [file for file in copied if file is not None]


def _copy_file(storage: Storage, key: str, directory: Path) -> IndexedFile | None:
    """Copy a file; None if it was deleted by somebody who had begun before the hold: no row needs it."""
    path, digest, size = backup_directory.stored_path(directory, key), hashlib.sha256(), 0
    try:
        chunks = storage.read(key)
    except NotFound:
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for chunk in chunks:
            digest.update(chunk)
            size += file.write(chunk)
    fsync_path(path)
    return IndexedFile(key, size, digest.hexdigest())


def _find_problems(directory: Path, needed: _Needed, files: list[IndexedFile]) -> list[str]:
    """Return a sentence for each version, data set or checkpoint whose files are not what they should be."""
    digests = {file.key: file.sha256 for file in files}
    by_prefix: defaultdict[str, list[Path]] = defaultdict(list)
    problems = []
    for file in files:
        key = PurePosixPath(file.key)
        by_prefix[str(key.parent)].append(backup_directory.stored_path(directory, file.key))
        if key.parts[0] == CHECKPOINTS_ROOT and sha256_of(key.name) not in (None, file.sha256):
            problems.append(f"the checkpoint {file.key} does not match its sha256")
    for upload, sha256 in needed.uploads.items():
        if digests.get(upload) != sha256:
            problems.append(
                f"the data set's file {upload} is {'damaged' if upload in digests else 'missing'}"
            )
    for prefix, (name, sha256) in needed.artifacts.items():
        if not by_prefix[prefix]:
            problems.append(f"the version {name} has no files")
        elif digest_files(by_prefix[prefix]) != sha256:
            problems.append(f"the version {name} is damaged: {ALTERED}")
    return problems


def _flush_directories(directory: Path) -> None:
    for path in (*directory.rglob("*/"), directory):
        fsync_path(path)
