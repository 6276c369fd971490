"""Compressed files, unpacked as they are read: bounded in size and in their ratio, never written to disk."""

import bz2
import gzip
import io
import lzma
import zlib
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, Protocol

import pyarrow as pa

from app.errors import DatasetInvalid, Problem
from app.ingest.limits import ArchiveLimits
from app.validation.file_kinds import SNIFF_BYTES, compression

DAMAGES = (EOFError, OSError, zlib.error, lzma.LZMAError, pa.ArrowException)


class Unpacker(Protocol):
    """A file-like object that unpacks what it reads."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` unpacked bytes; none at the end."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


def open_content(path: Path, limits: ArchiveLimits = ArchiveLimits()) -> BinaryIO:  # noqa: B008 - it is frozen
    """The content of a file as a stream, unpacked if it is compressed.

    Reading what is compressed raises `DatasetInvalid` where it is damaged or unpacks to too much.
    """
    with path.open("rb") as file:
        method = compression(file.read(SNIFF_BYTES))
    if method is None:
        return path.open("rb")
    return BufferedReader(UnpackedStream(path, method, limits))


class UnpackedStream(io.RawIOBase):
    """The unpacked bytes of a file that is compressed by a method."""

    def __init__(self, path: Path, method: str, limits: ArchiveLimits) -> None:
        super().__init__()
        self._method, self._limits = method, limits
        self._packed_bytes = path.stat().st_size
        self._unpacked_bytes = 0
        self._unpacker: Unpacker = _open_unpacker(path, method)

    def readable(self) -> bool:
        """Whether it can be read: always."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer as far as the content reaches; 0 is its end."""
        try:
            data = self._unpacker.read(len(buffer))
        except DAMAGES:
            self._refuse(f"The {self._method}-compressed file is damaged or cut off")
        self._unpacked_bytes += len(data)
        limits, size = self._limits, self._unpacked_bytes
        if size > limits.total_bytes:
            self._refuse(f"The compressed file unpacks to more than {limits.total_bytes:,} bytes")
        if size > limits.ratio_free_bytes and size > limits.ratio * self._packed_bytes:
            self._refuse(f"The compressed file unpacks to more than {limits.ratio} times its size")
        buffer[: len(data)] = data
        return len(data)

    def _refuse(self, detail: str) -> NoReturn:
        raise DatasetInvalid.of([Problem("/file", f"{detail}.")])

    def close(self) -> None:
        """Close the file too."""
        self._unpacker.close()
        super().close()


def _open_unpacker(path: Path, method: str) -> Unpacker:
    if method == "gzip":
        return gzip.open(path)
    if method == "bzip2":
        return bz2.open(path)
    if method == "xz":
        return lzma.open(path)
    unpacker: Unpacker = pa.CompressedInputStream(pa.OSFile(str(path)), method)
    return unpacker
