"""Descriptors and memory of the processes that last, from their start to their end."""

import os
import statistics
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from benchmarks.chaos.service import LASTING, Process, Service
from benchmarks.serving.processes import PROC

EVERY = 1.0  # seconds
WARM = 15.0  # seconds after a process is first seen that do not count
ENOUGH = 30  # samples of a process that tell something
MORE_FILES, MORE_MEMORY, SOME_MIB = 10, 1.1, 8.0  # that may have been added from first third to last
POOLED = "recurra.db"  # the connections of a pool stay open; how many depends on the load


class Sample(NamedTuple):
    """One look."""

    files: int
    mib: float


@dataclass(frozen=True)
class Growth:
    """Medians of the first and the last third of a process's life."""

    process: Process
    seconds: float
    first: Sample
    last: Sample

    def is_flat(self, pooled: int) -> bool:
        """Whether there is no leak to be seen; so many connections may have been added to a pool."""
        files = self.last.files <= self.first.files + MORE_FILES + pooled
        return files and self.last.mib <= self.first.mib * MORE_MEMORY + SOME_MIB


class Watch:
    """A thread that looks."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._samples: dict[Process, list[Sample]] = {}
        self._first: dict[Process, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch")

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(EVERY):
            now = time.monotonic()
            for process in self._service.processes(*LASTING):
                first = self._first.setdefault(process, now)
                if now - first > WARM and (sample := _look(process.pid)) is not None:
                    self._samples.setdefault(process, []).append(sample)

    def growth(self) -> list[Growth]:
        """Of every process that lived long enough to tell."""
        return [
            Growth(process, EVERY * len(samples), *thirds(samples))
            for process, samples in self._samples.items()
            if len(samples) >= ENOUGH
        ]


def thirds(samples: Sequence[Sample]) -> tuple[Sample, Sample]:
    """Medians of the first and the last third."""
    third = len(samples) // 3
    first, last = (
        Sample(
            round(statistics.median(one.files for one in part)), statistics.median(one.mib for one in part)
        )
        for part in (samples[:third], samples[-third:])
    )
    return first, last


def _look(pid: int) -> Sample | None:
    with suppress(OSError):
        resident = int((PROC / str(pid) / "statm").read_text().split()[1])
        return Sample(_files(pid), resident * os.sysconf("SC_PAGE_SIZE") / 2**20)
    return None


def _files(pid: int) -> int:
    """Its open descriptors, but for those of the database."""
    count = 0
    for entry in (PROC / str(pid) / "fd").iterdir():
        with suppress(FileNotFoundError):
            count += POOLED not in entry.readlink().name
    return count
