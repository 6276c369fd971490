"""Disks: when one is full, and when it really has what was written."""

import errno
import os
from pathlib import Path

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def disk_full(error: BaseException) -> bool:
    """Whether there was no room; libraries written in Rust tell an `OSError` in words only."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in FULL
    return any(f"(os error {number})" in str(error) for number in FULL)


def sync(path: Path) -> None:
    """Return when the disk has a file's content, or a directory's names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
