"""The artifact store: a local directory or an S3 bucket behind the same few verbs."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, S3Store

from app.errors import NoSpace, NotFound
from app.infrastructure.disk import disk_full, sync

CHUNK = 1 << 20
PROBES = "probes"  # where files lie that are there for a moment only


class Stored(NamedTuple):
    """What a listing tells of a file."""

    bytes: int
    modified: float  # seconds since 1970, by the store's clock


class Storage:
    """Files under keys like `datasets/ds_…/arrays.npz`; a put is atomic, a key never comes from a user."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._root: Path | None = None  # of a local store
        if parts.scheme == "file":
            self._root = Path(unquote(parts.path))
            self._store: LocalStore | S3Store = LocalStore(self._root, mkdir=True)
        elif parts.scheme == "s3":
            self._store = S3Store(parts.netloc, prefix=parts.path.strip("/") or None)
        else:
            raise ValueError(f"RECURRA_STORAGE_URL must be file:// or s3://, not {parts.scheme}://")

    def put(self, key: str, path: Path) -> None:
        """Store a file under `key`; raises `NoSpace`. A local file is on the disk when this returns."""
        try:
            self._store.put(key, path)
        except BaseError as error:
            if disk_full(error):
                raise NoSpace from error
            raise
        if self._root is not None:
            sync(self._root / key)
            sync((self._root / key).parent)

    def read(self, key: str) -> Iterator[bytes]:
        """The file in pieces of about a mebibyte; raises `NotFound` before the first piece."""
        try:
            found = self._store.get(key)
        except (NotFoundError, FileNotFoundError):
            raise NotFound(f"Nothing is stored under {key}") from None
        return (bytes(piece) for piece in found.stream(min_chunk_size=CHUNK))

    def files(self, prefix: str) -> dict[str, Stored]:
        """Every file below `prefix`, which is a directory, by its key and in their order."""
        metas = (meta for page in self._store.list(prefix) for meta in page)
        found = ((meta["path"], Stored(meta["size"], meta["last_modified"].timestamp())) for meta in metas)
        return dict(sorted(found))

    def sizes(self, prefix: str) -> dict[str, int]:
        """The bytes of every file below `prefix`, by its key and in their order."""
        return {key: stored.bytes for key, stored in self.files(prefix).items()}

    def keys(self, prefix: str) -> list[str]:
        """All keys below `prefix`, which is a directory."""
        return list(self.sizes(prefix))

    def directories(self, prefix: str) -> list[str]:
        """The names of the directories right below `prefix`."""
        found = self._store.list_with_delimiter(prefix)["common_prefixes"]
        return sorted(PurePosixPath(path).name for path in found)

    def fetch(self, prefix: str, directory: Path) -> Path:
        """Copy everything below `prefix` into `directory`; raises `NotFound` when there is nothing."""
        keys = self.keys(prefix)
        if not keys:
            raise NotFound(f"Nothing is stored under {prefix}")
        for key in keys:
            self.fetch_file(key, directory / PurePosixPath(key).relative_to(prefix))
        return directory

    def fetch_file(self, key: str, path: Path) -> None:
        """Copy one file; raises `NotFound`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.writelines(self.read(key))

    def delete_file(self, key: str) -> None:
        """Delete one file; nothing there is no error."""
        with suppress(NotFoundError, FileNotFoundError):
            self._store.delete(key)

    def delete(self, prefix: str) -> None:
        """Delete everything below `prefix`; nothing there is no error."""
        if keys := self.keys(prefix):
            self._store.delete(keys)

    def now(self) -> float:
        """The clock that `Stored.modified` is told by, as a fresh and empty file shows it."""
        key = f"{PROBES}/{uuid4().hex}"
        self._store.put(key, b"")
        try:
            return self._store.head(key)["last_modified"].timestamp()
        finally:
            self.delete_file(key)

    def half_written(self, before: float) -> list[Path]:
        """What writers of a local store left that were killed before then; no listing shows it."""
        if self._root is None:
            return []
        staged = (path for path in self._root.rglob("*#*") if path.name.rpartition("#")[2].isdigit())
        return sorted(path for path in staged if _modified(path) <= before)

    def prune(self, before: float) -> None:
        """Delete directories of a local store that have been empty since then."""
        if self._root is None:
            return
        for place in sorted(self._root.rglob("*/"), reverse=True):
            if _modified(place) <= before:
                with suppress(OSError):  # it is not empty
                    place.rmdir()


def _modified(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:  # somebody was faster
        return float("inf")
