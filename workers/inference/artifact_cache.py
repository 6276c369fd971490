"""Artifacts of versions on this machine's disk: fetched once, verified at each use, bounded in size."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from app.errors import NotFound
from app.infrastructure.artifacts import ALTERED, ArtifactReference, digest_files

SCRATCH_PREFIX = ".new-"
SCRATCH_SECONDS = 3600.0  # a scratch directory this old was left by a process that died


class DamagedArtifact(Exception):
    """A file is missing, or differs from its hash in the manifest or from the digest in the database."""


class FetchFailed(Exception):
    """The store could not be read now; it may be later."""


class ArtifactCache:
    """Directories by artifact; several processes may share one cache, since each appears by a rename."""

    def __init__(self, fetch: Callable[[str, Path], Path], root: Path, max_bytes: int) -> None:
        self._fetch, self._root, self._max_bytes = fetch, root, max_bytes
        root.mkdir(parents=True, exist_ok=True)
        for scratch in root.glob(f"{SCRATCH_PREFIX}*"):
            if time.time() - scratch.stat().st_mtime > SCRATCH_SECONDS:
                shutil.rmtree(scratch, ignore_errors=True)

    def directory(self, artifact: str) -> Path:
        """The directory of the files of an `ArtifactReference`.

        Raises `DamagedArtifact`, `NotFound` or `FetchFailed`.
        """
        directory = self._root / hashlib.sha256(artifact.encode()).hexdigest()[:32]
        if directory.is_dir():
            try:
                verify_artifact(directory, ArtifactReference.parse(artifact).sha256)
            except DamagedArtifact:
                shutil.rmtree(directory, ignore_errors=True)
        if not directory.is_dir():
            self._fetch_into(artifact, directory)
        now = time.time_ns()
        os.utime(directory, ns=(now, now))  # the file system's own clock is too coarse to order two uses
        return directory

    def _fetch_into(self, artifact: str, directory: Path) -> None:
        prefix, sha256 = ArtifactReference.parse(artifact)
        with TemporaryDirectory(prefix=SCRATCH_PREFIX, dir=self._root) as scratch:
            fetched = self._fetch_to(prefix, Path(scratch) / "artifact")
            verify_artifact(fetched, sha256)
            self._prune(directory_bytes(fetched))
            try:
                fetched.rename(directory)
            except OSError:  # another process was faster
                if not directory.is_dir():
                    raise

    def _fetch_to(self, prefix: str, directory: Path) -> Path:
        try:
            return self._fetch(prefix, directory)
        except NotFound:
            raise
        except Exception as error:
            raise FetchFailed(f"the store failed: {error}") from error

    def _prune(self, coming: int) -> None:
        """Delete the least recently used artifacts until `coming` more bytes fit."""
        directories = [
            directory for directory in self._root.iterdir() if not directory.name.startswith(SCRATCH_PREFIX)
        ]
        sizes = {
            directory: directory_bytes(directory)
            for directory in sorted(directories, key=lambda directory: directory.stat().st_mtime)
        }
        total = sum(sizes.values()) + coming
        for directory, bytes_taken in sizes.items():
            if total <= self._max_bytes:
                return
            shutil.rmtree(directory, ignore_errors=True)
            total -= bytes_taken


def directory_bytes(directory: Path) -> int:
    """The bytes of the files in a directory."""
    return sum(file.stat().st_size for file in directory.iterdir())


def verify_artifact(directory: Path, sha256: str | None) -> None:
    """Compare the files with `manifest.json`, if there is one, and with their digest in the database.

    Raises `DamagedArtifact`. Without the digest, None, only the manifest vouches for the files.
    """
    _compare_with_manifest(directory)
    if sha256 is not None and digest_files(directory.iterdir()) != sha256:
        raise DamagedArtifact(f"{ALTERED}: their sha256 is not the database's")


def _compare_with_manifest(directory: Path) -> None:
    manifest = directory / "manifest.json"
    if not manifest.is_file():
        return
    try:
        files = dict(json.loads(manifest.read_bytes()).get("files", {}))
    except (ValueError, AttributeError) as error:
        raise DamagedArtifact("manifest.json is not a manifest") from error
    for name, facts in files.items():
        path = directory / Path(name).name
        if not path.is_file():
            raise DamagedArtifact(f"{name} is missing")
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != facts["sha256"]:
                raise DamagedArtifact(f"{name} does not match its sha256")
