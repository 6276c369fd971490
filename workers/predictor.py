"""The predictor process: drains a lane, batch after batch. As a program it runs ONNX Runtime on a CPU."""

import logging
import os
import secrets
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from app.lanes import Inbox, Presence
from app.lanes.links import FAILURES
from app.storage import Storage
from workers.artifacts import ArtifactCache
from workers.batching import answer
from workers.engines import Engine, Engines, open_onnx
from workers.lifeline import Lifeline
from workers.spec import PredictorSpec

logger = logging.getLogger(__name__)

BEAT_SECONDS = 1.0
FIRST_BACKOFF, LAST_BACKOFF = 0.05, 1.0
GRACE_SECONDS = 10.0


class Predictor:
    """Receives, computes and replies until it is told to stop; says once a second that it lives."""

    def __init__(self, spec: PredictorSpec, inbox: Inbox, engines: Engines) -> None:
        self._spec, self._inbox, self._engines = spec, inbox, engines
        self._boot = secrets.token_hex(8)
        self._stopping = threading.Event()

    def run(self) -> None:
        """Serve; what was received when `stop` came is still answered."""
        self._patiently(self._inbox.check)
        beats = threading.Thread(target=self._beat, name="presence")
        beats.start()
        while not self._stopping.is_set():
            self._patiently(self.step)
        beats.join()
        self._inbox.close()

    def step(self) -> None:
        """Wait for requests, answer them all in one pipeline."""
        requests = self._inbox.receive(self._spec.max_batch)
        self._inbox.reply(answer(requests, self._engines.get, self._spec.max_batch))

    def stop(self) -> None:
        """Take no more requests; from any thread."""
        self._stopping.set()

    def presence(self) -> Presence:
        """What this process says about itself."""
        spec = self._spec
        return Presence(
            spec.worker_id, self._boot, os.getpid(), spec.device, spec.lane, self._engines.loaded()
        )

    def _patiently(self, call: Callable[[], None]) -> None:
        """Call until Redis answers or `stop`."""
        backoff = FIRST_BACKOFF
        while not self._stopping.is_set():
            try:
                call()
            except FAILURES as error:
                logger.warning("the lane is away: %s", error)
                self._stopping.wait(backoff)
                backoff = min(2 * backoff, LAST_BACKOFF)
            else:
                return

    def _beat(self) -> None:
        while not self._stopping.is_set():
            _attempt(lambda: self._inbox.announce(self.presence()))
            self._stopping.wait(BEAT_SECONDS)
        _attempt(self._inbox.withdraw)
        _attempt(self._inbox.interrupt)


def _attempt(call: Callable[[], None]) -> None:
    try:
        call()
    except FAILURES as error:
        logger.warning("no presence: %s", error)


def main(open_engine: Callable[[Path, str], Engine]) -> None:
    """Serve what the JSON line on stdin says until told to stop; ends with status 0."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    spec = msgspec.json.decode(sys.stdin.buffer.readline(), type=PredictorSpec)
    inbox = Inbox(spec.redis_url, spec.lane, spec.worker_id)
    artifacts = ArtifactCache(Storage(spec.storage_url).fetch, Path(spec.cache_dir), spec.disk_bytes)
    engines = Engines(artifacts, lambda directory: open_engine(directory, spec.device), spec.memory_bytes)
    predictor = Predictor(spec, inbox, engines)
    lifeline = Lifeline(predictor.stop, GRACE_SECONDS)
    lifeline.start()
    predictor.run()
    lifeline.finish()


if __name__ == "__main__":
    main(open_onnx)
