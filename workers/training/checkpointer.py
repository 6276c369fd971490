"""Decides when checkpoints are taken, and writes them in a thread beside the training."""

import logging
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path

from app.infrastructure.disk import is_disk_full
from app.typedefs import Json
from workers.training.checkpoint import write
from workers.training.snapshot import Snapshot

log = logging.getLogger(__name__)


MAX_TIME_SHARE = 0.01  # of the time since the training began that checkpoints may take


class Checkpointer:
    """Takes a checkpoint at the end of each epoch and every so many seconds, as far as they are cheap.

    Training goes on while a file is written. A checkpoint that cannot be written is a warning: the one
    before it is still there.
    """

    def __init__(self, directory: Path, seconds: float, on: Callable[[Json], None]) -> None:
        self._directory, self._seconds, self._on = directory, seconds, on
        self._began = self._last = time.monotonic()
        self._cost = self._spent = 0.0  # seconds of the last checkpoint, and of all
        self._queue: queue.Queue[tuple[int, Snapshot, float] | None] = queue.Queue(maxsize=1)
        self._thread = threading.Thread(target=self._run, name="checkpointer", daemon=True)
        self._idle = threading.Event()
        self._idle.set()
        directory.mkdir(parents=True, exist_ok=True)
        self._thread.start()

    def due(self, *, epoch_ended: bool) -> bool:
        """Whether a checkpoint should be taken after this step."""
        if not self._idle.is_set():
            return False
        now = time.monotonic()
        if not epoch_ended and now - self._last < self._seconds:
            return False
        return self._spent + self._cost <= MAX_TIME_SHARE * (now - self._began)

    def save(self, step: int, take: Callable[[], Snapshot], *, wait: bool = False) -> None:
        """Take a checkpoint after `step` steps; with `wait`, return when it is written."""
        if wait:
            self._idle.wait()
        begun = time.monotonic()
        snapshot = take()
        self._idle.clear()
        self._last = time.monotonic()
        self._queue.put((step, snapshot, self._last - begun))
        if wait:
            self._idle.wait()

    def close(self) -> None:
        """End the thread once the last checkpoint is written."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            self._write(*item)
            self._idle.set()

    def _write(self, step: int, snapshot: Snapshot, taken: float) -> None:
        # Hashing and copying cost the training a processor at worst; waiting for the disk does not.
        begun = time.thread_time()
        try:
            path = write(self._directory, step, snapshot)
        except OSError as error:
            log.warning("checkpoint: %s", error)
            why = "the worker's disk is full" if is_disk_full(error) else str(error)
            self._on({"type": "warning", "message": f"A checkpoint could not be written: {why}"})
        else:
            facts = snapshot.facts
            where: Json = {name: facts[name] for name in ("phase", "stage", "epoch") if name in facts}
            size = path.stat().st_size
            self._on({"type": "checkpoint", "step": step, **where, "bytes": size, "file": path.name})
        self._cost = taken + time.thread_time() - begun
        self._spent += self._cost
