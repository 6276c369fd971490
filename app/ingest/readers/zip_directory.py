"""The central directory of a zip archive, read strictly: no two programs may read it differently.

Sizes are those that the archive claims; `zip_member` counts the bytes that really come out. The structures
are those of APPNOTE.TXT 6.3.10, sections 4.3.7, 4.3.12 to 4.3.16 and 4.5.3.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

from app.errors import DatasetInvalid, Problem
from app.media.sniffing import HEAD_BYTES, describe_content

END = struct.Struct("<4s4H2IH")  # signature, 2 disks, 2 counts of entries, size, offset, comment's length
END64 = struct.Struct("<4sQ2H2I4Q")  # signature, own size, 2 versions, then as in `END`
LOCATOR64 = struct.Struct("<4sIQI")  # signature, disk, offset of END64, disks
ENTRY = struct.Struct("<4s6H3I5H2I")
LOCAL = struct.Struct("<4s5H3I2H")
EXTRA_HEADER = struct.Struct("<2H")
NUMBER64 = struct.Struct("<Q")
EXTRA_ZIP64 = 0x0001
IN_EXTRA = 0xFFFFFFFF  # stands for a number that is in the ZIP64 extra field
MAX_COMMENT_BYTES = 0xFFFF
MAX_DIRECTORY_BYTES = 64 << 20
UTF8_FLAG = 0x0800


@dataclass(frozen=True)
class ZipEntry:
    """One member as the directory describes it."""

    name: str
    raw_name: bytes
    flags: int
    method: int
    crc: int
    packed: int  # bytes in the archive
    size: int  # bytes, unpacked
    mode: int  # as Unix has it; 0 where the archive was made elsewhere
    offset: int  # of the local header
    end: int = 0  # offset of the next member, or of the directory

    @property
    def label(self) -> str:
        """The name for a message: in quotes, not too long, control characters escaped."""
        return repr(self.name[:80])


def invalid_archive(detail: str) -> DatasetInvalid:
    """The error for an archive that is refused as a whole."""
    return DatasetInvalid.of([Problem("/file", detail)])


def not_an_archive(head: bytes) -> DatasetInvalid:
    """The error for a file without a directory, by its first bytes."""
    if head.startswith(b"PK"):
        return invalid_archive("This is not a complete zip archive: its directory is missing.")
    needed = "Files come in an archive, with a manifest.jsonl that says what each of them is."
    return invalid_archive(f"This is not a zip archive: it is {describe_content(head)}. {needed}")


def read_entries(file: BinaryIO, max_members: int) -> list[ZipEntry]:
    """The members and folders of an archive in its order; raises `DatasetInvalid`."""
    data, start = _read_directory(file, max_members)
    entries = list(_parse_entries(data))
    in_file = sorted(range(len(entries)), key=lambda index: entries[index].offset)
    ends = [entries[index].offset for index in in_file[1:]] + [start]
    if entries[in_file[0]].offset:
        raise invalid_archive("The zip archive has other data in front of its members.")
    for index, end in zip(in_file, ends, strict=True):
        entry = entries[index]
        if entry.offset + LOCAL.size + len(entry.raw_name) + entry.packed > end:
            raise invalid_archive(f"The member {entry.label} overlaps with what follows in the archive.")
        entries[index] = replace(entry, end=end)
    return entries


def _read_directory(file: BinaryIO, max_members: int) -> tuple[bytes, int]:
    """The bytes of the central directory, and where it begins."""
    end, count, length, start = _find_end(file)
    if count > max_members:
        raise invalid_archive(f"The archive has {count:,} members; at most {max_members:,} are read.")
    if length > MAX_DIRECTORY_BYTES:
        raise invalid_archive(f"The archive's directory is larger than {MAX_DIRECTORY_BYTES >> 20} MiB.")
    if start + length != end:
        raise invalid_archive("The zip archive is damaged, or has other data before or behind its members.")
    if not count:
        raise invalid_archive("The archive has no members.")
    data = _read_at(file, start, length)
    # Counted before any entry becomes an object: the number above is only what the archive claims.
    if sum(1 for _ in _entry_offsets(data)) != count:
        raise invalid_archive("The zip archive is damaged: its directory has another number of members.")
    return data, start


def _find_end(file: BinaryIO) -> tuple[int, int, int, int]:
    """What the archive's last record says of the directory: its end, its entries, its bytes, its start."""
    size = file.seek(0, 2)
    tail_start = max(0, size - END.size - MAX_COMMENT_BYTES)
    tail = _read_at(file, tail_start, size - tail_start)
    at = tail.rfind(b"PK\x05\x06", 0, max(0, len(tail) - END.size + 4))
    while at >= 0 and at + END.size + END.unpack_from(tail, at)[-1] != len(tail):
        at = tail.rfind(b"PK\x05\x06", 0, at)
    if at < 0:
        raise not_an_archive(_read_at(file, 0, HEAD_BYTES))
    end = tail_start + at
    _, *disks, _, count, length, start, _ = END.unpack_from(tail, at)
    locator = _read_at(file, end - LOCATOR64.size, LOCATOR64.size) if end >= LOCATOR64.size else b""
    if locator.startswith(b"PK\x06\x07"):
        end = LOCATOR64.unpack(locator)[2]
        record = _read_at(file, min(end, size), END64.size)
        if len(record) < END64.size or not record.startswith(b"PK\x06\x06"):
            raise invalid_archive("The zip archive is damaged: its ZIP64 record is missing.")
        _, _, _, _, *disks, _, count, length, start = END64.unpack(record)
    if any(disks):
        raise invalid_archive("The zip archive is one part of several; upload a single file.")
    return end, count, length, start


def _entry_offsets(data: bytes) -> Iterator[int]:
    """Where each entry of the directory begins."""
    at = 0
    while at < len(data):
        if at + ENTRY.size > len(data) or not data.startswith(b"PK\x01\x02", at):
            raise invalid_archive("The zip archive is damaged: its directory cannot be read.")
        yield at
        at += ENTRY.size + sum(struct.unpack_from("<3H", data, at + 28))  # name, extra fields, comment
    if at > len(data):
        raise invalid_archive("The zip archive is damaged: its directory cannot be read.")


def _parse_entries(data: bytes) -> Iterator[ZipEntry]:
    for at in _entry_offsets(data):
        fields = ENTRY.unpack_from(data, at)
        flags, method = fields[3:5]
        crc, packed, size, name_length, extra_length = fields[7:12]
        name_at = at + ENTRY.size
        raw_name = data[name_at : name_at + name_length]
        name = _decode_name(raw_name, flags)
        extra = data[name_at + name_length : name_at + name_length + extra_length]
        try:
            size, packed, offset = _resolve_zip64(extra, (size, packed, fields[16]))
        except struct.error:
            raise invalid_archive(f"The sizes of the member {name[:80]!r} are missing.") from None
        yield ZipEntry(name, raw_name, flags, method, crc, packed, size, fields[15] >> 16, offset)


def _decode_name(raw: bytes, flags: int) -> str:
    """A name as text: UTF-8, which many programs write without the flag that says so, else code page 437."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode(errors="replace") if flags & UTF8_FLAG else raw.decode("cp437")


def _resolve_zip64(extra: bytes, numbers: tuple[int, ...]) -> list[int]:
    """Numbers of an entry; those that do not fit into 32 bits are in the ZIP64 extra field, in this order."""
    if IN_EXTRA not in numbers:
        return list(numbers)
    field = b""
    while len(extra) >= EXTRA_HEADER.size:
        kind, length = EXTRA_HEADER.unpack_from(extra)
        if kind == EXTRA_ZIP64:
            field = extra[EXTRA_HEADER.size : EXTRA_HEADER.size + length]
        extra = extra[EXTRA_HEADER.size + length :]
    resolved = []
    for number in numbers:
        if number == IN_EXTRA:
            resolved.append(NUMBER64.unpack_from(field)[0])
            field = field[NUMBER64.size :]
        else:
            resolved.append(number)
    return resolved


def _read_at(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)
