"""Zip archives: named members, and a manifest.jsonl that says what they are. Nothing is unpacked to disk."""

import re
from collections.abc import Collection, Iterator
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from app.ingest.limits import ArchiveLimits
from app.ingest.readers.chunks import as_chunks
from app.ingest.readers.jsonlines import ObjectParser
from app.ingest.readers.lines import read_lines
from app.ingest.readers.mapping import Mapping
from app.ingest.readers.zip_directory import UTF8_FLAG, ZipEntry, invalid_archive, read_entries
from app.ingest.readers.zip_member import DEFLATED, STORED, MemberStream
from app.tasks.source import MANIFEST, Chunk, Faults, Member
from app.typedefs import Json

ENCRYPTED_FLAGS = 0x2041  # encrypted, strongly encrypted, directory encrypted
AES = 99  # a method that stands for encryption
METHODS = {9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard", 95: "xz", 98: "PPMd"}
TYPE_MASK, REGULAR, FOLDER, LINK = 0o170000, 0o100000, 0o040000, 0o120000
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
DRIVE = re.compile(r"[A-Za-z]:")


class Archive:
    """A zip archive whose directory has been checked; members are unpacked when they are read.

    Making one raises `DatasetInvalid` where the archive is damaged, too large, or has members that are
    refused: encrypted ones, links, and names that could lead out of a folder.
    """

    separator: str | None = None

    def __init__(
        self, path: Path, format_: str, mapping: Mapping, faults: Faults, limits: ArchiveLimits
    ) -> None:
        self.format = format_
        self._path = path
        self._faults = faults
        self._limits = limits
        self._parser = ObjectParser(mapping, faults)
        self._entries = self._check_entries()
        self.has_manifest = MANIFEST in self._entries
        self._check_sizes()

    def _check_entries(self) -> dict[str, ZipEntry]:
        """The archive's files by name, in its order; each fault names its member."""
        files: dict[str, ZipEntry] = {}
        with self._path.open("rb") as file:
            entries = read_entries(file, self._limits.members)
        names = set[str]()
        for entry in entries:
            reason = _refuse_name(entry, self._limits) or _refuse_content(entry, self._limits)
            if entry.name in names:
                reason = "is in the archive twice"
            if reason:
                detail = f"The member {entry.label} {reason}."
                self._faults.add(detail, member=entry.name[: self._limits.name_bytes])
            names.add(entry.name)
            if not entry.name.endswith("/"):
                files[entry.name] = entry
        self._faults.check()
        return files

    def _check_sizes(self) -> None:
        limits, entries = self._limits, self._entries.values()
        total, packed = sum(entry.size for entry in entries), sum(entry.packed for entry in entries)
        if total > limits.total_bytes:
            raise invalid_archive(
                f"The archive unpacks to {total:,} bytes; at most {limits.total_bytes:,} are read."
            )
        if total > limits.ratio_free_bytes and total > limits.ratio * packed:
            raise invalid_archive(f"The archive unpacks to more than {limits.ratio} times its size.")
        if self.has_manifest and self._entries[MANIFEST].size > limits.manifest_bytes:
            detail = f"The manifest is larger than {limits.manifest_bytes:,} bytes."
            self._faults.add(detail, member=MANIFEST)
        if not self._entries.keys() - {MANIFEST}:
            raise invalid_archive("The archive has no members beside its manifest.")
        self._faults.check()

    def members(self) -> Iterator[Member]:
        """Yield the archive's files in its order, without folders and the manifest."""
        return (Member(name, entry.size) for name, entry in self._entries.items() if name != MANIFEST)

    def open_member(self, name: str) -> BinaryIO:
        """The bytes of a member as a stream; raises `KeyError` where there is none of this name.

        The stream cannot seek, and reading it raises `DatasetInvalid` where the content is damaged.
        """
        return BufferedReader(MemberStream(self._path, self._entries[name]))

    def manifest(self) -> Iterator[tuple[int, Json]]:
        """Yield the objects of manifest.jsonl with their line numbers; none where there is no manifest."""
        if not self.has_manifest:
            return
        empty = True
        with self.open_member(MANIFEST) as file:
            lines = read_lines(file, self._faults, self._limits.manifest_line_bytes)
            for number, record in self._parser.parse_lines(lines):
                empty = False
                yield number, record
        if empty:
            self._faults.add("The manifest names no members.", member=MANIFEST)

    def records(self) -> Iterator[tuple[int, Json]]:
        """Yield what `manifest` does."""
        return self.manifest()

    def chunks(self) -> Iterator[Chunk]:
        """Yield some objects of the manifest at a time as columns of their values."""
        return as_chunks(self.manifest())

    def unlisted(self, names: Collection[str]) -> list[str]:
        """The names of members that are not among `names`, in the archive's order."""
        listed = set(names)
        return [member.name for member in self.members() if member.name not in listed]


def _refuse_name(entry: ZipEntry, limits: ArchiveLimits) -> str:
    """Why a member's name is refused, or nothing."""
    name = entry.name
    reasons = (
        (not name, "has no name"),
        (len(entry.raw_name) > limits.name_bytes, f"has a name of more than {limits.name_bytes} bytes"),
        (entry.flags & UTF8_FLAG and "\ufffd" in name, "has a name that is not UTF-8"),
        (CONTROLS.search(name), "has control characters in its name"),
        ("\\" in name, "has a backslash in its name; folders are separated by /"),
        (name.startswith("/") or DRIVE.match(name), "has an absolute path for a name"),
        (".." in name.split("/"), "leads out of the archive by its name"),
    )
    return next((reason for refused, reason in reasons if refused), "")


def _refuse_content(entry: ZipEntry, limits: ArchiveLimits) -> str:
    """Why a member's content is refused, by what the directory says of it, or nothing."""
    kind, folder = entry.mode & TYPE_MASK, entry.name.endswith("/")
    method = METHODS.get(entry.method, f"method {entry.method}")
    large = entry.size > limits.ratio_free_bytes
    reasons = (
        (entry.flags & ENCRYPTED_FLAGS or entry.method == AES, "is encrypted"),
        (kind == LINK, "is a link"),
        (kind not in (0, REGULAR, FOLDER), "is neither a file nor a folder"),
        (folder and entry.size, "is a folder with content"),
        (entry.method not in (STORED, DEFLATED), f"is compressed by {method}; write it stored or deflated"),
        (
            entry.size > limits.member_bytes,
            f"unpacks to {entry.size:,} bytes; at most {limits.member_bytes:,} are read",
        ),
        (
            large and entry.size > limits.ratio * entry.packed,
            f"unpacks to more than {limits.ratio} times its size",
        ),
    )
    return next((reason for refused, reason in reasons if refused), "")
