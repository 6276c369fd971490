"""The memory that all reading children of this process may take together."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import Unavailable
from app.memory import usable_memory

CHILD_BYTES = 6 << 30  # of address space, that reading one file may take
FIRST_TRIAL_BYTES = 3 << 29  # with which a small file is tried first, so that it seldom waits for a large one
SMALL_FILE_BYTES = 8 << 20
SHARE = 2  # of the memory that there is, one part in so many


class MemoryBudget:
    """Lets children begin as long as their limits add up to no more than the total, for any thread."""

    def __init__(self, total_bytes: int | None = None) -> None:
        self._total_bytes = usable_memory() // SHARE if total_bytes is None else total_bytes
        self._free_bytes = self._total_bytes
        self._changed = threading.Condition()

    def trials(self, file_bytes: int) -> list[int]:
        """Return the limits to try one after the other with a file of this size, until one is enough."""
        largest = min(CHILD_BYTES, self._total_bytes)
        first = [FIRST_TRIAL_BYTES] if file_bytes <= SMALL_FILE_BYTES and largest > FIRST_TRIAL_BYTES else []
        return [*first, largest]

    @contextmanager
    def reserve(self, memory_bytes: int, seconds: float) -> Iterator[None]:
        """Reserve a child's limit while it runs, as soon as others leave so much; raises `Unavailable`."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while self._free_bytes < memory_bytes:
                if not self._changed.wait(deadline - time.monotonic()):
                    raise Unavailable("Other files are being read and take all the memory for it; try again.")
            self._free_bytes -= memory_bytes
        try:
            yield
        finally:
            with self._changed:
                self._free_bytes += memory_bytes
                self._changed.notify_all()
