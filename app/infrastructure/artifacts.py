"""Artifacts of model versions: the name by which a predictor is asked for one, and the digest of its files.

A manifest beside the files cannot vouch for them: who can alter a file can alter the manifest too. The digest
of all files stands in the version's row, so it travels with the artifact's name to whoever loads it.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from app.errors import ModelDamaged, NotFound
from app.infrastructure.storage import Storage

MANIFEST = "manifest.json"
GRAPH_FILES = frozenset({"model.onnx", "decoder.onnx"})
ARTIFACT_FILES = GRAPH_FILES | {MANIFEST, "model.safetensors"}  # that a version may have
SEPARATOR = "@"  # neither a prefix in the store nor a digest has it
READ_BYTES = 1 << 20
ALTERED = "its files are not those that its training stored"


class ArtifactReference(NamedTuple):
    """Where the files of a version are in the store, and the digest that its row has of them."""

    prefix: str
    sha256: str | None  # None: only the manifest vouches for the files

    @classmethod
    def parse(cls, text: str) -> "ArtifactReference":
        """Return the reference that `str` has written."""
        prefix, _, sha256 = text.partition(SEPARATOR)
        return cls(prefix, sha256 or None)

    def __str__(self) -> str:
        return self.prefix if self.sha256 is None else f"{self.prefix}{SEPARATOR}{self.sha256}"


def digest_files(paths: Iterable[Path]) -> str:
    """Return the SHA-256 of the contents of local files, one after the other by name."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        with path.open("rb") as file:
            while chunk := file.read(READ_BYTES):
                digest.update(chunk)
    return digest.hexdigest()


def digest_stored(storage: Storage, prefix: str) -> str:
    """Return the same digest of the files below a prefix of the store; raises `NotFound`."""
    return _read(storage, prefix)[0]


def read_manifest(storage: Storage, prefix: str, sha256: str) -> bytes:
    """Return a version's manifest if all its files have this digest; raises `NotFound`, `ModelDamaged`."""
    digest, manifest = _read(storage, prefix)
    if digest != sha256:
        raise ModelDamaged(f"This model version cannot be used: {ALTERED}")
    return manifest


def _read(storage: Storage, prefix: str) -> tuple[str, bytes]:
    """Return the digest of the files and the content of the manifest, without the others in memory."""
    keys, digest, manifest = storage.keys(prefix), hashlib.sha256(), b""
    if not keys:
        raise NotFound(f"Nothing is stored under {prefix}")
    for key in keys:
        chunks = storage.read(key)
        if PurePosixPath(key).name == MANIFEST:
            chunks = iter([manifest := b"".join(chunks)])
        for chunk in chunks:
            digest.update(chunk)
    return digest.hexdigest(), manifest
