"""The thread that loads model versions, so that whoever computes never waits for a load."""

import threading
from collections.abc import Callable
from queue import SimpleQueue


class Loader:
    """Loads what is wanted, one version after another, and says `ready` after each."""

    def __init__(self, load: Callable[[str], None], ready: Callable[[], None]) -> None:
        self._load, self._ready = load, ready
        self._queue: SimpleQueue[str | None] = SimpleQueue()
        self._wanted: set[str] = set()  # queued or being loaded
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="loader")

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def want(self, artifact: str) -> None:
        """Load a version as soon as those that were wanted before are done; asking twice does no harm."""
        if artifact not in self._wanted:
            self._wanted.add(artifact)
            self._queue.put(artifact)

    def stop(self) -> None:
        """Load nothing more; returns when a load that has begun is done."""
        self._stopping.set()
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (artifact := self._queue.get()) is not None and not self._stopping.is_set():
            self._load(artifact)
            self._wanted.discard(artifact)  # before `ready`: who looks in vain then may want it again
            self._ready()
