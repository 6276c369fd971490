"""Disks: recognizing that one is full, or nearly, and waiting until written data is on it."""

import errno
import os
import shutil
from pathlib import Path

from app.errors import NoSpace

RESERVE_BYTES = 64 << 20  # disk space that is left
DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def is_disk_full(error: BaseException) -> bool:
    """Whether an error means that the disk was full; libraries in Rust say so only in their message."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in DISK_FULL
    return any(f"(os error {number})" in str(error) for number in DISK_FULL)


def check_free(directory: Path, size: int) -> None:
    """Raise `NoSpace` where a directory's disk has no room for so many bytes more."""
    if shutil.disk_usage(directory).free < size + RESERVE_BYTES:
        raise NoSpace


def fsync_path(path: Path) -> None:
    """Flush a file's content, or a directory's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
