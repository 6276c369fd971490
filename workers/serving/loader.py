"""A thread that loads model versions, so that the thread that computes never waits for a load."""

import threading
from collections.abc import Callable
from queue import SimpleQueue


class Loader:
    """Loads requested versions, one after another; `on_loaded` is called after each attempt."""

    def __init__(self, load: Callable[[str], None], on_loaded: Callable[[], None]) -> None:
        self._load, self._on_loaded = load, on_loaded
        self._queue: SimpleQueue[str | None] = SimpleQueue()
        self._requested: set[str] = set()  # queued or being loaded
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="loader")

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def request(self, artifact: str) -> None:
        """Load a version as soon as those requested before are done; does nothing if it is queued already."""
        if artifact not in self._requested:
            self._requested.add(artifact)
            self._queue.put(artifact)

    def stop(self) -> None:
        """Load nothing more; returns when a load that has begun is done."""
        self._stopping.set()
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (artifact := self._queue.get()) is not None and not self._stopping.is_set():
            self._load(artifact)
            self._requested.discard(artifact)  # before the call, so that the listener may request it again
            self._on_loaded()
