"""The artifact store: a local directory or an S3 bucket behind the same interface."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError
from obstore.store import LocalStore, S3Store

from app.errors import NoSpace, NotFound, Unavailable
from app.infrastructure.disk import fsync_path, is_disk_full

log = logging.getLogger(__name__)

STORE_AWAY = "The artifact store cannot be reached, or refuses; try again shortly."
MAX_LOGGED_CHARS = 500  # of the store's answer in a log
CHUNK_BYTES = 1 << 20
# Whoever has nothing better to do asks S3 again for so long; a try that hangs takes 30 s and may be the last.
PATIENT_SECONDS = 180.0
MAX_RETRIES = 20
PROBES_ROOT = "probes"  # key prefix of files that exist for a moment only
HOLDS_ROOT = "holds"  # key prefix of files during whose life nothing else is deleted
HOLD_SECONDS = 300.0  # that a hold lasts after it was written, unless it is deleted


class StoredFile(NamedTuple):
    """A file's size and age in a listing."""

    bytes: int
    modified: float  # seconds since 1970, by the store's clock


class Storage:
    """Files under keys like `datasets/ds_…/arrays.npz`; a put is atomic, a key never comes from a user."""

    def __init__(self, url: str, retry_seconds: float = PATIENT_SECONDS) -> None:
        parts = urlsplit(url)
        self._root: Path | None = None  # of a local store; None for S3
        if parts.scheme == "file":
            self._root = Path(unquote(parts.path))
            self._store: LocalStore | S3Store = LocalStore(self._root, mkdir=True)
        elif parts.scheme == "s3":
            prefix = parts.path.strip("/") or None
            self._store = S3Store(parts.netloc, prefix=prefix, retry_config=_retries(retry_seconds))
        else:
            raise ValueError(f"RECURRA_STORAGE_URL must be file:// or s3://, not {parts.scheme}://")

    def put(self, key: str, path: Path) -> None:
        """Store a file under `key`; a local file is on the disk on return. Raises `NoSpace`."""
        with self._errors():
            self._store.put(key, path)
        if self._root is not None:
            fsync_path(self._root / key)
            fsync_path((self._root / key).parent)

    def write(self, key: str, content: bytes) -> None:
        """Store a small content under `key`, in place of what is there."""
        with self._errors():
            self._store.put(key, content)

    def create(self, key: str, content: bytes) -> bool:
        """Store a small content under `key` unless there is one; return whether it was stored."""
        try:
            with self._errors():
                self._store.put(key, content, mode="create")
        except AlreadyExistsError:
            return False
        return True

    def read(self, key: str) -> Iterator[bytes]:
        """Return a file's chunks of about `CHUNK_BYTES`; raises `NotFound` at once."""
        try:
            with self._errors():
                result = self._store.get(key)
        except (NotFoundError, FileNotFoundError):
            raise NotFound(f"Nothing is stored under {key}") from None
        return self._chunks(result)

    def _chunks(self, result: Any) -> Iterator[bytes]:
        with self._errors():
            for chunk in result.stream(min_chunk_size=CHUNK_BYTES):
                yield bytes(chunk)

    def files(self, prefix: str) -> dict[str, StoredFile]:
        """Return every file below the directory `prefix`, by key in ascending order."""
        metas = (meta for page in self._store.list(prefix) for meta in page)
        files = (
            (meta["path"], StoredFile(meta["size"], meta["last_modified"].timestamp())) for meta in metas
        )
        with self._errors():
            return dict(sorted(files))

    def sizes(self, prefix: str) -> dict[str, int]:
        """Return the size in bytes of every file below `prefix`, by key in ascending order."""
        return {key: file.bytes for key, file in self.files(prefix).items()}

    def keys(self, prefix: str) -> list[str]:
        """Return all keys below the directory `prefix`, in ascending order."""
        return list(self.sizes(prefix))

    def directories(self, prefix: str) -> list[str]:
        """Return the names of the directories directly below `prefix`, sorted."""
        with self._errors():
            paths = self._store.list_with_delimiter(prefix)["common_prefixes"]
        return sorted(PurePosixPath(path).name for path in paths)

    def fetch(self, prefix: str, directory: Path) -> Path:
        """Copy every file below `prefix` into `directory`; raises `NotFound` when there is none."""
        keys = self.keys(prefix)
        if not keys:
            raise NotFound(f"Nothing is stored under {prefix}")
        for key in keys:
            self.fetch_file(key, directory / PurePosixPath(key).relative_to(prefix))
        return directory

    def fetch_file(self, key: str, path: Path) -> None:
        """Copy one file to `path`; raises `NotFound`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.writelines(self.read(key))

    def delete_file(self, key: str) -> None:
        """Delete one file, unless deletions are held; a file that does not exist is no error."""
        if not key.startswith((f"{PROBES_ROOT}/", f"{HOLDS_ROOT}/")) and self.is_held():
            log.info("a backup is being made: %s is left to the next cleanup", key)
            return
        with suppress(NotFoundError, FileNotFoundError), self._errors():
            self._store.delete(key)

    def delete(self, prefix: str) -> None:
        """Delete every file below `prefix`, unless deletions are held; it is no error when there is none."""
        if not (keys := self.keys(prefix)):
            return
        if self.is_held():
            log.info("a backup is being made: %s is left to the next cleanup", prefix)
            return
        with self._errors():
            self._store.delete(keys)

    def is_held(self) -> bool:
        """Whether somebody needs every file to stay: see `app.infrastructure.deletion_hold`."""
        holds = self.files(HOLDS_ROOT)
        return bool(holds) and self.now() - max(hold.modified for hold in holds.values()) < HOLD_SECONDS

    def now(self) -> float:
        """Return the time by the store's clock, that of `StoredFile.modified`, from a new empty file."""
        key = f"{PROBES_ROOT}/{uuid4().hex}"
        self.write(key, b"")
        try:
            with self._errors():
                return self._store.head(key)["last_modified"].timestamp()
        finally:
            self.delete_file(key)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Raise `NoSpace` for a full disk, and `Unavailable` for S3 that does not do what it is asked."""
        try:
            yield
        except (NotFoundError, AlreadyExistsError):
            raise
        except BaseError as error:
            if is_disk_full(error):
                raise NoSpace from error
            if self._root is None:
                log.warning("the artifact store: %s", str(error)[:MAX_LOGGED_CHARS])
                raise Unavailable(STORE_AWAY) from error
            raise

    def unfinished_writes(self, before: float) -> list[Path]:
        """Return a local store's temporary files last written before `before`; no listing has them."""
        if self._root is None:
            return []
        staged = (path for path in self._root.rglob("*#*") if path.name.rpartition("#")[2].isdigit())
        return sorted(path for path in staged if _modified(path) <= before)

    def prune_directories(self, before: float) -> None:
        """Delete directories of a local store that have been empty since `before`."""
        if self._root is None:
            return
        for directory in sorted(self._root.rglob("*/"), reverse=True):
            if _modified(directory) <= before:
                with suppress(OSError):  # it is not empty
                    directory.rmdir()


def _retries(seconds: float) -> Any:
    """Return a `RetryConfig`, a type that the library has for type checkers only."""
    first, longest = timedelta(seconds=0.1), timedelta(seconds=min(15.0, seconds / 5))
    backoff = {"init_backoff": first, "max_backoff": longest, "base": 2}
    return {"max_retries": MAX_RETRIES, "retry_timeout": timedelta(seconds=seconds), "backoff": backoff}


def _modified(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:  # another process deleted it first
        return float("inf")
