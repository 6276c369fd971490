"""The artifact store: a local directory or an S3 bucket behind the same few verbs."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from obstore.exceptions import NotFoundError
from obstore.store import LocalStore, S3Store

from app.errors import NotFound

CHUNK = 1 << 20


class Storage:
    """Files under keys like `datasets/ds_…/arrays.npz`; a put is atomic, a key never comes from a user."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme == "file":
            self._store: LocalStore | S3Store = LocalStore(Path(unquote(parts.path)), mkdir=True)
        elif parts.scheme == "s3":
            self._store = S3Store(parts.netloc, prefix=parts.path.strip("/") or None)
        else:
            raise ValueError(f"RECURRA_STORAGE_URL must be file:// or s3://, not {parts.scheme}://")

    def put(self, key: str, path: Path) -> None:
        """Store a file under `key`."""
        self._store.put(key, path)

    def read(self, key: str) -> Iterator[bytes]:
        """The file in pieces of about a mebibyte; raises `NotFound` before the first piece."""
        try:
            found = self._store.get(key)
        except (NotFoundError, FileNotFoundError):
            raise NotFound(f"Nothing is stored under {key}") from None
        return (bytes(piece) for piece in found.stream(min_chunk_size=CHUNK))

    def sizes(self, prefix: str) -> dict[str, int]:
        """The bytes of every file below `prefix`, which is a directory, by its key and in their order."""
        found = ((meta["path"], meta["size"]) for page in self._store.list(prefix) for meta in page)
        return dict(sorted(found))

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
            target = directory / PurePosixPath(key).relative_to(prefix)
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                file.writelines(self.read(key))
        return directory

    def delete(self, prefix: str) -> None:
        """Delete everything below `prefix`; nothing there is no error."""
        if keys := self.keys(prefix):
            self._store.delete(keys)
