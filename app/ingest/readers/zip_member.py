"""The content of a zip archive's member, unpacked as it is read."""

import io
import zlib
from pathlib import Path
from typing import Any, NoReturn

from app.errors import DatasetInvalid, Problem, pointer
from app.ingest.readers.zip_directory import LOCAL, ZipEntry

STORED, DEFLATED = 0, 8
READ_BYTES = 64 << 10
RAW_DEFLATE = -15  # window bits of a stream without a header


class MemberStream(io.RawIOBase):
    """The bytes of a member; memory and bytes are bounded by what is read, whatever the archive claims.

    Reading raises `DatasetInvalid` where the content is damaged or not of the size that the archive claims.
    """

    def __init__(self, path: Path, entry: ZipEntry) -> None:
        super().__init__()
        self._entry = entry
        self._file = path.open("rb")
        self._packed_left = entry.packed
        self._size, self._crc, self._ended = 0, 0, False
        self._inflater = zlib.decompressobj(RAW_DEFLATE)
        self._read_content = self._inflate if entry.method == DEFLATED else self._read_packed
        try:
            self._file.seek(self._content_offset())
        except BaseException:
            self._file.close()
            raise

    def _content_offset(self) -> int:
        """Where the content begins; the local header must agree with the directory."""
        entry = self._entry
        self._file.seek(entry.offset)
        header = self._file.read(LOCAL.size)
        if len(header) < LOCAL.size or not header.startswith(b"PK\x03\x04"):
            self._refuse("has no header in the archive")
        fields = LOCAL.unpack(header)
        offset: int = (
            entry.offset + LOCAL.size + fields[9] + fields[10]
        )  # lengths of the name, of extra fields
        if self._file.read(fields[9]) != entry.raw_name or fields[3] != entry.method:
            self._refuse("is described differently in the archive's directory and at its content")
        if offset + entry.packed > entry.end:
            self._refuse("overlaps with what follows in the archive")
        return offset

    def readable(self) -> bool:
        """Whether it can be read: always."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer as far as the content reaches; 0 is its end."""
        if self._ended or not len(buffer):
            return 0
        try:
            data = self._read_content(len(buffer))
        except zlib.error:
            self._refuse("is damaged: its compressed data cannot be read")
        self._size += len(data)
        self._crc = zlib.crc32(data, self._crc)
        if self._size > self._entry.size:
            self._refuse(f"unpacks to more than the {self._entry.size:,} bytes that the archive claims")
        if not data:
            self._check_end()
        buffer[: len(data)] = data
        return len(data)

    def _read_packed(self, size: int) -> bytes:
        data = self._file.read(min(size, self._packed_left))
        self._packed_left -= len(data)
        return data

    def _inflate(self, size: int) -> bytes:
        """Up to `size` unpacked bytes; none at the end."""
        inflater = self._inflater
        while not inflater.eof:
            packed = inflater.unconsumed_tail or self._read_packed(READ_BYTES)
            data = inflater.decompress(packed, size)
            if data or not packed:
                return data
        return b""

    def _check_end(self) -> None:
        self._ended = True
        inflater = self._inflater
        whole = self._entry.method == STORED or (inflater.eof and not inflater.unused_data)
        if self._packed_left or not whole or self._size < self._entry.size:
            self._refuse("is damaged: it does not end where the archive claims")
        if self._crc != self._entry.crc:
            self._refuse("is damaged: its checksum is wrong")

    def _refuse(self, what: str) -> NoReturn:
        detail = f"The member {self._entry.label} {what}."
        problem = Problem(pointer("file", "member", self._entry.name), detail)
        raise DatasetInvalid.of([problem])

    def close(self) -> None:
        """Close the archive's file too."""
        self._file.close()
        super().close()
