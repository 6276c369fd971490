"""The predictor process: drains a lane, batch after batch. As a program it runs ONNX Runtime on a CPU."""

import logging
import os
import secrets
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable
from itertools import chain
from math import inf
from pathlib import Path

import msgspec

from app.infrastructure.storage import Storage
from app.lanes import Inbox, Presence, Reply, Request
from app.lanes.links import FAILURES
from workers.inference.artifact_cache import ArtifactCache
from workers.inference.engines import Broken, Engine, Engines, open_onnx
from workers.process.lifeline import Lifeline
from workers.serving.batching import answer, expire, refuse
from workers.serving.decode_requests import Sessions
from workers.serving.loader import Loader
from workers.serving.spec import PredictorSpec

logger = logging.getLogger(__name__)

BEAT_SECONDS = 1.0
FIRST_BACKOFF, LAST_BACKOFF = 0.05, 1.0
GRACE_SECONDS = 10.0
DRAIN_SECONDS = 5.0  # for what is being decoded when it is told to stop
HUNG = 70  # exit status of a process whose loop stood still


class Predictor:
    """Receives, computes and replies until it is told to stop; says once a second that it lives.

    Requests of a version that is not in memory are parked while another thread loads it. What is decoded step
    by step goes on between whatever else comes.
    """

    def __init__(self, spec: PredictorSpec, inbox: Inbox, engines: Engines) -> None:
        self._spec, self._inbox, self._engines = spec, inbox, engines
        self._loader = Loader(engines.load, lambda: _attempt(inbox.interrupt))
        self._parked: dict[str, list[Request]] = {}  # by artifact
        self._answers: list[tuple[str, Reply]] = []  # to be sent with the next wait
        self._soonest = inf  # when the first of them expires, or earlier
        self._boot = secrets.token_hex(8)
        self._sessions = Sessions(self._boot, self._now)
        self._stopping, self._ended = threading.Event(), threading.Event()
        self._moved = time.monotonic()  # when the loop last began anything

    def run(self) -> None:
        """Serve until `stop`; what is not done soon is sent again by the API, which sees this one go."""
        self._patiently(self._inbox.check)
        beats = threading.Thread(target=self._beat, name="presence")
        beats.start()
        self._loader.start()
        try:
            while not self._stopping.is_set():
                self._patiently(self.step)
            _attempt(self._drain)
        finally:  # nothing may say that a loop lives which has ended
            self._stopping.set()
            _attempt(lambda: self._inbox.reply(self._answers))
            self._ended.set()
            beats.join()
            self._loader.stop()
            self._inbox.close()

    def step(self) -> None:
        """Send the last answers, wait for requests, compute all whose version is in memory, and decode.

        While something is decoded it does not wait.
        """
        self._now()
        within, idle = self._soonest - time.time(), not self._sessions
        requests = self._inbox.receive(self._spec.max_batch, within, self._answers, wait=idle)
        for artifact in self._inbox.orders():
            self._loader.want(artifact)
        self._drop(self._inbox.drops())
        for request in requests:
            self._parked.setdefault(request.artifact, []).append(request)
            self._soonest = min(self._soonest, request.deadline)
        self._answers = []
        for artifact in list(self._parked):
            for replies in self._settle(artifact):
                self._inbox.post(self._answers)  # the last ones leave with the next wait
                self._answers = replies
        self._answers += self._sweep()
        for replies in self._sessions.turn():
            self._inbox.post([*self._answers, *replies])
            self._answers = []

    def stop(self) -> None:
        """Take no more requests; from any thread."""
        self._stopping.set()

    def presence(self) -> Presence:
        """What this process says about itself."""
        spec = self._spec
        return Presence(
            spec.worker_id, self._boot, os.getpid(), spec.device, spec.lane, self._engines.loaded()
        )

    def _settle(self, artifact: str) -> Iterable[list[tuple[str, Reply]]]:
        """Answer what is parked for a version, or want the version."""
        try:
            engine = self._engines.find(artifact)
        except Broken as failure:
            return [refuse(self._parked.pop(artifact), failure)]
        if engine is None:
            self._loader.want(artifact)
            return []
        requests = self._parked.pop(artifact)
        searches = [request for request in requests if request.search]
        if not searches:
            return answer(requests, engine, self._spec.max_batch, self._now)
        plain = [request for request in requests if not request.search]
        taken = self._sessions.add(searches, engine.decoder)
        return chain([taken], answer(plain, engine, self._spec.max_batch, self._now))

    def _drop(self, gone: Collection[tuple[str, int]]) -> None:
        """Nobody waits for these requests any more."""
        if gone:
            self._sessions.drop(gone)
            for artifact, requests in list(self._parked.items()):
                self._parked[artifact] = [one for one in requests if (one.reply, one.id) not in gone]

    def _drain(self) -> None:
        """Finish what is being decoded, as far as it is done soon."""
        until = time.monotonic() + DRAIN_SECONDS
        while self._sessions and time.monotonic() < until:
            for replies in self._sessions.turn():
                self._inbox.post(replies)

    def _sweep(self) -> list[tuple[str, Reply]]:
        """Answer what has expired while it was parked."""
        now = time.time()
        if self._parked and now < self._soonest:
            return []
        parked = [request for requests in self._parked.values() for request in requests]
        self._parked = {}
        for request in parked:
            if now < request.deadline:
                self._parked.setdefault(request.artifact, []).append(request)
        self._soonest = min((request.deadline for request in parked if now < request.deadline), default=inf)
        return expire(request for request in parked if now >= request.deadline)

    def _now(self) -> float:
        """The wall clock; asked before whatever may hang."""
        self._moved = time.monotonic()
        return time.time()

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
            self._watch()
        _attempt(self._inbox.interrupt)
        while self._sessions and not self._ended.wait(BEAT_SECONDS):
            _attempt(lambda: self._inbox.announce(self.presence()))
            self._watch()
        _attempt(self._inbox.withdraw)

    def _watch(self) -> None:
        """End a process whose loop hangs; its keeper starts another."""
        still = time.monotonic() - self._moved
        if still > self._spec.hang_seconds:
            logger.critical("hung for %.0f s in one batch or call; ending", still)
            os._exit(HUNG)


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
