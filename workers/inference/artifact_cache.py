"""Artifacts of model versions on this machine's disk: fetched once, checked at each use, bounded."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from app.errors import NotFound

SCRATCH = ".new-"
SCRATCH_SECONDS = 3600.0  # a scratch directory this old was left by a process that died


class Damaged(Exception):
    """A file differs from what the manifest says, or is not there."""


class Unreachable(Exception):
    """The store did not give the files now; it may a little later."""


class ArtifactCache:
    """Directories by artifact; several processes may share one cache, since each appears by a rename."""

    def __init__(self, fetch: Callable[[str, Path], Path], root: Path, max_bytes: int) -> None:
        self._fetch, self._root, self._max_bytes = fetch, root, max_bytes
        root.mkdir(parents=True, exist_ok=True)
        for scratch in root.glob(f"{SCRATCH}*"):
            if time.time() - scratch.stat().st_mtime > SCRATCH_SECONDS:
                shutil.rmtree(scratch, ignore_errors=True)

    def directory(self, artifact: str) -> Path:
        """Where the artifact's files are; raises `Damaged`, `NotFound` or `Unreachable`."""
        place = self._root / hashlib.sha256(artifact.encode()).hexdigest()[:32]
        if place.is_dir():
            try:
                check(place)
            except Damaged:
                shutil.rmtree(place, ignore_errors=True)
        if not place.is_dir():
            self._bring(artifact, place)
        now = time.time_ns()
        os.utime(place, ns=(now, now))  # the file system's own clock is too coarse to order two uses
        return place

    def _bring(self, artifact: str, place: Path) -> None:
        with TemporaryDirectory(prefix=SCRATCH, dir=self._root) as scratch:
            fetched = self._obtain(artifact, Path(scratch) / "artifact")
            check(fetched)
            self._prune(size(fetched))
            try:
                fetched.rename(place)
            except OSError:  # another process was faster
                if not place.is_dir():
                    raise

    def _obtain(self, artifact: str, directory: Path) -> Path:
        try:
            return self._fetch(artifact, directory)
        except NotFound:
            raise
        except Exception as error:
            raise Unreachable(f"the store failed: {error}") from error

    def _prune(self, coming: int) -> None:
        """Drop what was not used for longest until `coming` bytes more fit."""
        places = [place for place in self._root.iterdir() if not place.name.startswith(SCRATCH)]
        sizes = {place: size(place) for place in sorted(places, key=lambda place: place.stat().st_mtime)}
        total = sum(sizes.values()) + coming
        for place, taken in sizes.items():
            if total <= self._max_bytes:
                return
            shutil.rmtree(place, ignore_errors=True)
            total -= taken


def size(directory: Path) -> int:
    """Bytes of the files in a directory."""
    return sum(file.stat().st_size for file in directory.iterdir())


def check(directory: Path) -> None:
    """Compare each file with its sha256 in `manifest.json`, if there is one; raises `Damaged`."""
    manifest = directory / "manifest.json"
    if not manifest.is_file():
        return
    try:
        files = dict(json.loads(manifest.read_bytes()).get("files", {}))
    except (ValueError, AttributeError) as error:
        raise Damaged("manifest.json is not a manifest") from error
    for name, facts in files.items():
        path = directory / Path(name).name
        if not path.is_file():
            raise Damaged(f"{name} is missing")
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != facts["sha256"]:
                raise Damaged(f"{name} does not match its sha256")
