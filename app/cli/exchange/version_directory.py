"""A version as a directory: the files of its artifact, and `version.json` with what its row says.

Whoever made a directory is not trusted: its names are known ones, its files are plain, bounded, and those
whose digests it has, and its graph reads no other file. Nothing of it is executed or unpickled.
"""

import hashlib
import os
import shutil
import stat
import zipfile
from pathlib import Path
from typing import Annotated, Any

import msgspec
import orjson

from app.cli.exchange.graph_files import external_files
from app.infrastructure.artifacts import ARTIFACT_FILES, GRAPH_FILES, MANIFEST, digest_files
from app.tasks import TASKS
from app.typedefs import Json

VERSION_FILE = "version.json"
MAX_VERSION_BYTES = 1 << 20
MAX_MANIFEST_BYTES = 1 << 28  # vocabularies are in it
MAX_ARTIFACT_BYTES = 8 << 30
COPY_CHUNK_BYTES = 1 << 20
DIGEST = r"^[0-9a-f]{64}$"


class BadVersion(Exception):
    """The directory or archive is no version that can be used; the message says why."""


class VersionFacts(msgspec.Struct, forbid_unknown_fields=True):
    """`version.json`: what the row of a version says, beside its files."""

    task: str
    network: Json
    options: Json
    parameters: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    metrics: Json
    baseline: Json
    sha256: Annotated[str, msgspec.Meta(pattern=DIGEST)]
    bytes: Annotated[int, msgspec.Meta(ge=0, le=MAX_ARTIFACT_BYTES)]
    model: str
    version: int
    job: str
    dataset: str
    created_at: str


class _FileFacts(msgspec.Struct):
    sha256: Annotated[str, msgspec.Meta(pattern=DIGEST)]
    bytes: int


class _Manifest(msgspec.Struct):
    format: int
    task: str
    state: Json
    model: Json
    files: dict[str, _FileFacts]


def unpack(archive: Path, directory: Path) -> None:
    """Write the members of a version's zip into a directory; raises `BadVersion` for any other content."""
    try:
        with zipfile.ZipFile(archive) as packed:
            members = packed.infolist()
            names = [member.filename for member in members]
            if len(set(names)) != len(names) or not set(names) <= ARTIFACT_FILES:
                raise BadVersion(f"the archive has other files than {', '.join(sorted(ARTIFACT_FILES))}")
            if sum(member.file_size for member in members) > MAX_ARTIFACT_BYTES:
                raise BadVersion(f"the archive unpacks to more than {MAX_ARTIFACT_BYTES >> 30} GiB")
            for member in members:
                _unpack_member(packed, member, directory / member.filename)
    except zipfile.BadZipFile as error:
        raise BadVersion(f"{archive.name} is no zip file: {error}") from None


def _unpack_member(packed: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    left = member.file_size
    with packed.open(member) as source, path.open("xb") as target:
        while chunk := source.read(min(COPY_CHUNK_BYTES, left + 1)):
            left -= len(chunk)
            if left < 0:
                raise BadVersion(f"{member.filename} is larger than the archive says")
            target.write(chunk)


def copy_files(directory: Path, target: Path) -> None:
    """Copy the plain files of a version into a new directory; raises `BadVersion` for anything else."""
    target.mkdir()
    for path in sorted(directory.iterdir()):
        if path.name not in ARTIFACT_FILES | {VERSION_FILE}:
            raise BadVersion(f"the directory has a file that no version has: {path.name[:100]!r}")
        if _plain_size(path) > MAX_ARTIFACT_BYTES:
            raise BadVersion(f"{path.name} is too large")
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # it may have become a link or a pipe meanwhile
        with os.fdopen(os.open(path, flags), "rb") as source, (target / path.name).open("xb") as copied:
            shutil.copyfileobj(source, copied, COPY_CHUNK_BYTES)


def write_facts(directory: Path, version: Json) -> None:
    """Write `version.json` of a version as the API has represented it."""
    facts = {name: version[name] for name in VersionFacts.__struct_fields__}
    content = orjson.dumps(facts, option=orjson.OPT_INDENT_2)
    (directory / VERSION_FILE).write_bytes(content)


def check(directory: Path) -> VersionFacts:
    """What a directory's version is, if all of it is as it has to be; raises `BadVersion`."""
    sizes = _sizes(directory)
    facts: VersionFacts = _decode(directory / VERSION_FILE, VersionFacts)
    manifest: _Manifest = _decode(directory / MANIFEST, _Manifest)
    if facts.task not in TASKS or manifest.task != facts.task:
        raise BadVersion(f"its task is not one of {', '.join(sorted(TASKS))}, or not that of its manifest")
    if set(manifest.files) | {MANIFEST} != set(sizes):
        raise BadVersion("its files are not those that its manifest lists")
    if sum(sizes.values()) != facts.bytes:
        raise BadVersion("its files have another size than its version had")
    for name, expected in manifest.files.items():
        if _digest(directory / name) != expected.sha256:
            raise BadVersion(f"{name} is not the file that the manifest describes: its sha256 differs")
    if digest_files(directory / name for name in sizes) != facts.sha256:
        raise BadVersion("its files are not those that its training stored: their sha256 differs")
    for name in sorted(GRAPH_FILES & set(sizes)):
        if other := external_files((directory / name).read_bytes()):
            raise BadVersion(f"{name} refers to another file: {other[0][:100]!r}")
    return facts


def _sizes(directory: Path) -> dict[str, int]:
    """The sizes of a version's files by their names, that of `version.json` left out."""
    names = {path.name for path in directory.iterdir()}
    if unknown := sorted(names - ARTIFACT_FILES - {VERSION_FILE}):
        raise BadVersion(f"the directory has a file that no version has: {unknown[0][:100]!r}")
    for name in (VERSION_FILE, MANIFEST):
        if name not in names:
            raise BadVersion(f"{name} is missing")
    sizes = {name: _plain_size(directory / name) for name in names}
    if sizes.pop(VERSION_FILE) > MAX_VERSION_BYTES or sizes[MANIFEST] > MAX_MANIFEST_BYTES:
        raise BadVersion(f"{VERSION_FILE} or {MANIFEST} is too large")
    return sizes


def _plain_size(path: Path) -> int:
    """The size of a file; raises `BadVersion` for a link, a device or a directory."""
    status = os.lstat(path)
    if not stat.S_ISREG(status.st_mode):
        raise BadVersion(f"{path.name} is not a plain file")
    return status.st_size


def _decode(path: Path, kind: Any) -> Any:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as error:
        raise BadVersion(f"{path.name}: {error}") from None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
