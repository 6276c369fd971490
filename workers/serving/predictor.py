"""The predictor process: serves a lane, batch after batch. As a program it runs ONNX Runtime on a CPU."""

import logging
import os
import secrets
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import chain
from math import inf
from pathlib import Path

import msgspec

from app.infrastructure import logs
from app.infrastructure.outages import OutageLog
from app.infrastructure.redis_failures import REDIS_FAILURES
from app.infrastructure.storage import Storage
from app.lanes import PredictorPresence, Request, RequestConsumer
from app.memory import freeze_startup_objects
from workers.inference.artifact_cache import ArtifactCache
from workers.inference.engines import Engine, Engines, LoadError, open_onnx
from workers.process.lifeline import Lifeline
from workers.serving.batching import Replies, answer_requests, expire_requests, refuse_requests
from workers.serving.decode_requests import DecodeRequests
from workers.serving.json_requests import JsonRequests
from workers.serving.large_requests import LargeRequests
from workers.serving.loader import Loader
from workers.serving.spec import PRESENCE_SECONDS, PredictorSpec

logger = logging.getLogger(__name__)

MIN_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS = 0.05, 1.0  # while Redis is unreachable
GRACE_SECONDS = 10.0  # between a request to stop and the forced end
DRAIN_SECONDS = 5.0  # for requests that are in progress when the process is told to stop
HUNG_EXIT_STATUS = 70  # of a process whose loop made no progress


class Predictor:
    """Receives, computes and replies until it is stopped; announces its presence once a second.

    Requests for a version that is not in memory are parked while another thread loads it. Step-by-step
    decoding, and requests of more than a batch, advance between whatever else arrives.
    """

    def __init__(self, spec: PredictorSpec, consumer: RequestConsumer, engines: Engines) -> None:
        self._spec, self._consumer, self._engines = spec, consumer, engines
        self._outage = OutageLog(logger, "Redis is unreachable")
        self._loader = Loader(engines.load, lambda: self._log_failure(consumer.interrupt))
        self._parked: dict[str, list[Request]] = {}  # by artifact
        self._replies: Replies = []  # to be sent when requests are next received
        self._next_deadline = inf  # no later than the earliest deadline of a parked request
        self._instance_id = secrets.token_hex(8)
        self._decoding = DecodeRequests(self._instance_id, self._now)
        self._large = LargeRequests(spec.max_batch, self._now)
        self._stopping, self._ended = threading.Event(), threading.Event()
        self._last_progress = time.monotonic()  # when the loop last began a batch or a call

    def run(self) -> None:
        """Serve until `stop`; the API resends what is not finished soon, as it sees this predictor go."""
        self._retry(self._consumer.check_server)
        presence = threading.Thread(target=self._announce_presence, name="presence")
        presence.start()
        self._loader.start()
        try:
            while not self._stopping.is_set():
                self._retry(self.serve_once)
            self._log_failure(self._drain)
        finally:  # once the loop has ended, nothing may announce that it lives
            self._stopping.set()
            self._log_failure(lambda: self._consumer.send_replies(self._replies))
            self._ended.set()
            presence.join()
            self._loader.stop()
            self._consumer.close()

    def serve_once(self) -> None:
        """Send the last replies, wait for requests, compute those whose version is in memory, and decode.

        There is no wait while requests are being decoded, or large ones computed.
        """
        self._now()
        within, idle = self._next_deadline - time.time(), not self._in_progress
        requests = self._consumer.receive(self._spec.max_batch, within, self._replies, wait=idle)
        for artifact in self._consumer.take_preloads():
            self._loader.request(artifact)
        self._cancel(self._consumer.take_cancellations())
        for request in requests:
            self._parked.setdefault(request.artifact, []).append(request)
            self._next_deadline = min(self._next_deadline, request.deadline)
        self._replies = []
        for artifact in list(self._parked):
            for replies in self._answer_parked(artifact):
                self._consumer.post_replies(self._replies)
                self._replies = replies  # the last ones leave with the next `receive`
        self._replies += self._expire_parked()
        for replies in self._advance():
            self._consumer.post_replies([*self._replies, *replies])
            self._replies = []

    @property
    def _in_progress(self) -> int:
        """How many requests take more than one turn."""
        return len(self._decoding) + len(self._large)

    def _advance(self) -> Iterator[Replies]:
        """Go on for a moment with what takes more than one turn; yields replies that are due."""
        yield from self._decoding.advance()
        yield from self._large.advance()

    def stop(self) -> None:
        """Take no more requests; may be called from any thread."""
        self._stopping.set()

    def presence(self) -> PredictorPresence:
        """What this process announces about itself."""
        spec = self._spec
        return PredictorPresence(
            spec.worker_id, self._instance_id, os.getpid(), spec.device, spec.lane, self._engines.loaded()
        )

    def _answer_parked(self, artifact: str) -> Iterable[Replies]:
        """Replies to the requests parked for a version. If it is not loaded, request that and return none."""
        try:
            engine = self._engines.find(artifact)
        except LoadError as failure:
            return [refuse_requests(self._parked.pop(artifact), failure)]
        if engine is None:
            self._loader.request(artifact)
            return []
        requests = self._parked.pop(artifact)
        stepwise = [request for request in requests if request.decoding]
        if not stepwise:
            return self._answer_at_once(requests, engine)
        single_pass = [request for request in requests if not request.decoding]
        acknowledgements = self._decoding.add(stepwise, engine.decoder)
        return chain([acknowledgements], self._answer_at_once(single_pass, engine))

    def _answer_at_once(self, requests: Sequence[Request], engine: Engine) -> Iterable[Replies]:
        """Replies to requests that need one pass through the network, those with a body among them."""
        requests = self._large.take_from(requests, engine)
        bodies = [request for request in requests if request.body]
        if not bodies or engine.codec is None:
            yield from answer_requests(requests, engine, self._spec.max_batch, self._now)
            return
        with_json = JsonRequests(engine.codec)
        encoded, ended = with_json.encode(bodies, self._now())
        if ended:
            yield ended
        encoded += [request for request in requests if not request.body]
        for replies in answer_requests(encoded, engine, self._spec.max_batch, self._now):
            yield with_json.decode(replies)

    def _cancel(self, cancelled: Collection[tuple[str, int]]) -> None:
        """Drop requests, named by reply list and id, whose client has gone."""
        if cancelled:
            self._decoding.drop(cancelled)
            self._large.drop(cancelled)
            for artifact, requests in list(self._parked.items()):
                self._parked[artifact] = [one for one in requests if (one.reply_to, one.id) not in cancelled]

    def _drain(self) -> None:
        """Finish what takes more than one turn, for some seconds at most."""
        end = time.monotonic() + DRAIN_SECONDS
        while self._in_progress and time.monotonic() < end:
            for replies in self._advance():
                self._consumer.post_replies(replies)

    def _expire_parked(self) -> Replies:
        """Replies to requests whose deadline passed while they were parked."""
        now = time.time()
        if self._parked and now < self._next_deadline:
            return []
        parked = [request for requests in self._parked.values() for request in requests]
        self._parked = {}
        for request in parked:
            if now < request.deadline:
                self._parked.setdefault(request.artifact, []).append(request)
        self._next_deadline = min(
            (request.deadline for request in parked if now < request.deadline), default=inf
        )
        return expire_requests(request for request in parked if now >= request.deadline)

    def _now(self) -> float:
        """The wall clock; read, and so recorded as progress, before anything that might hang."""
        self._last_progress = time.monotonic()
        return time.time()

    def _retry(self, call: Callable[[], None]) -> None:
        """Call until Redis answers or the predictor is stopped, with growing pauses."""
        backoff = MIN_BACKOFF_SECONDS
        while not self._stopping.is_set():
            try:
                call()
            except REDIS_FAILURES as error:
                self._outage.failed(error)
                self._stopping.wait(backoff)
                backoff = min(2 * backoff, MAX_BACKOFF_SECONDS)
            else:
                self._outage.worked()
                return

    def _log_failure(self, call: Callable[[], None]) -> None:
        """Call once; a failure of Redis is only logged."""
        try:
            call()
        except REDIS_FAILURES as error:
            self._outage.failed(error)

    def _announce_presence(self) -> None:
        """Announce the presence and check for a hang every second: until `stop`, and then while it drains."""
        while not self._stopping.is_set():
            self._log_failure(lambda: self._consumer.announce(self.presence()))
            self._stopping.wait(PRESENCE_SECONDS)
            self._exit_if_hung()
        self._log_failure(self._consumer.interrupt)
        while self._in_progress and not self._ended.wait(PRESENCE_SECONDS):
            self._log_failure(lambda: self._consumer.announce(self.presence()))
            self._exit_if_hung()
        self._log_failure(self._consumer.withdraw)

    def _exit_if_hung(self) -> None:
        """End the process if its loop hangs; the parent starts another."""
        idle = time.monotonic() - self._last_progress
        if idle > self._spec.hang_seconds:
            logger.critical("hung for %.0f s in one batch or call; ending the process", idle)
            os._exit(HUNG_EXIT_STATUS)


def main(open_engine: Callable[[Path, str], Engine]) -> None:
    """Serve as configured by the JSON line on stdin until told to stop; exits with status 0."""
    logs.configure_process()
    spec = msgspec.json.decode(sys.stdin.buffer.readline(), type=PredictorSpec)
    consumer = RequestConsumer(spec.redis_url, spec.lane, spec.worker_id)
    artifacts = ArtifactCache(Storage(spec.storage_url).fetch, Path(spec.cache_dir), spec.disk_bytes)
    engines = Engines(artifacts, lambda directory: open_engine(directory, spec.device), spec.memory_bytes)
    predictor = Predictor(spec, consumer, engines)
    lifeline = Lifeline(predictor.stop, GRACE_SECONDS)
    lifeline.start()
    freeze_startup_objects()
    predictor.run()
    lifeline.finish()


if __name__ == "__main__":
    main(open_onnx)
