"""Disks: recognizing that one is full, and waiting until written data is on it."""

import errno
import os
from pathlib import Path

DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def is_disk_full(error: BaseException) -> bool:
    """Whether an error means that the disk was full; libraries in Rust say so only in their message."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in DISK_FULL
    return any(f"(os error {number})" in str(error) for number in DISK_FULL)


def fsync_path(path: Path) -> None:
    """Flush a file's content, or a directory's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
