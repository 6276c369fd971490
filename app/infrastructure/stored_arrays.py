"""The arrays of a data set on this machine's disk, memory-mapped: read as they are used, never as a whole."""

import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from app.arrays import Arrays

COPY_BYTES = 1 << 20


def unpack(stored: Path, directory: Path) -> list[Path]:
    """Write the arrays of an `.npz` file as files that can be memory-mapped; their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    with zipfile.ZipFile(stored) as archive:
        for name in archive.namelist():
            paths.append(directory / Path(name).name)
            with archive.open(name) as packed, paths[-1].open("wb") as file:
                shutil.copyfileobj(packed, file, COPY_BYTES)
    return paths


def unpacked_bytes(stored: Path) -> int:
    """The bytes that `unpack` would write."""
    with zipfile.ZipFile(stored) as archive:
        return sum(member.file_size for member in archive.infolist())


def map_arrays(paths: Sequence[Path]) -> Arrays:
    """The arrays by name, read-only. Mapped anew, the pages that were read before are given back."""
    return {path.stem: np.asarray(np.load(path, mmap_mode="r", allow_pickle=False)) for path in paths}
