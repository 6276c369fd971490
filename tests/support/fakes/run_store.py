"""An experiment tracker in memory."""

import threading
from collections.abc import Mapping
from typing import Any

from workers.tracking.runs import TrackedJob


class FakeStore:
    """Runs in memory; it may fail, or hang."""

    def __init__(self) -> None:
        self.entries: list[Any] = []
        self.failures = 0  # of the next calls
        self.go = threading.Event()
        self.go.set()

    def _enter(self) -> None:
        self.go.wait(60)
        if self.failures:
            self.failures -= 1
            raise ConnectionError("https://me:secret@tracker.example is away")

    def open(self, job: TrackedJob) -> str:
        self._enter()
        self.entries.append(("open", job.id))
        return f"run of {job.id}"

    def log(self, run: str, figures: Mapping[str, float], step: int, at: float) -> None:
        self._enter()
        self.entries.append((run, dict(figures), step))

    def close(self, run: str, status: str | None) -> None:
        self._enter()
        self.entries.append((run, status))
