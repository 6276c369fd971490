"""Explanations beside the predictors: a lane of their own, and a process for each one.

Gradients need torch, which predictors on a CPU never import. So the serving worker takes requests for
explanations itself, one at a time, and has each computed by a child that is forked from a process that has
imported torch: its time and its memory are bounded, and its death harms nobody. That process ends when it has
been idle for a while.
"""

import logging
import os
import secrets
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from app.errors import NotFound, Problem
from app.infrastructure.outages import OutageLog
from app.infrastructure.periodic_thread import PeriodicThread
from app.infrastructure.redis_failures import REDIS_FAILURES
from app.infrastructure.storage import Storage
from app.lanes import PredictorPresence, Reply, ReplyStatus, Request, RequestConsumer
from app.typedefs import Json
from workers.inference.artifact_cache import ArtifactCache, DamagedArtifact, FetchFailed
from workers.process.fork_server import IDLE_SECONDS, ForkServer, LaunchStopped
from workers.process.launch import LaunchedProcess, SpawnedProcess
from workers.process.memory import MemoryWatch
from workers.process.parent import ChildProcess
from workers.serving.spec import PRESENCE_SECONDS

logger = logging.getLogger(__name__)

CHILD = "workers.explanation.child"
PRELOADED = ("workers.explanation.explain",)
DEVICE = "cpu"  # where explanations are computed, whatever predicts
CHILD_POLL_SECONDS = 0.1  # between two looks at the deadline, and at the memory of the child
RETRY_SECONDS = 0.5  # while Redis is unreachable
EXIT_SECONDS = 2.0  # for a child that has answered
STOP_SECONDS = 15.0  # for the threads to end
MAX_ATTEMPTS = 2  # of a request whose process dies: it may be the cause
DIED = "The process that explains died on this request twice."
OUT_OF_MEMORY = "This explanation needs more memory than it may have."
FAILED = "The model could not explain this prediction: {}"
AWAY = "The artifact store is unreachable; try again shortly."


class ExplainerSpec(msgspec.Struct, frozen=True):
    """What a serving worker explains, and within which limits."""

    redis_url: str
    storage_url: str
    cache_dir: str
    worker_id: str
    lane: str
    disk_bytes: int = 4 << 30  # model files in the cache directory
    memory_bytes: int = 1 << 30  # of one explanation, beyond what is imported
    max_seconds: float = 60.0  # of one explanation, however late its deadline is
    idle_seconds: float = IDLE_SECONDS  # without an explanation, after which torch is given back
    media_limits: Json = {}


class Explainer:
    """Answers the requests in a lane for explanations, one after the other, from `start` to `stop`."""

    def __init__(self, spec: ExplainerSpec) -> None:
        self._spec = spec
        self._consumer = RequestConsumer(spec.redis_url, spec.lane, spec.worker_id)
        self._artifacts: ArtifactCache | None = None
        self._server = ForkServer(CHILD, PRELOADED, idle_seconds=spec.idle_seconds)
        self._outage = OutageLog(logger, "Redis is unreachable")
        self._instance_id = secrets.token_hex(8)
        self._stopping = threading.Event()
        self._presence = PeriodicThread("explainer-presence", self._announce, PRESENCE_SECONDS, 0.0)
        self._thread = threading.Thread(target=self._serve, name="explainer", daemon=True)

    def start(self) -> None:
        """Start the threads."""
        self._presence.start()
        self._thread.start()

    def request_stop(self) -> None:
        """Take no more requests; the API answers one that is being explained."""
        self._stopping.set()
        self._call(self._consumer.interrupt)

    def stop(self) -> None:
        """Stop, and return when all processes are gone."""
        self.request_stop()
        self._presence.stop(STOP_SECONDS)
        if self._thread.ident is not None:
            self._thread.join(STOP_SECONDS)
        self._call(self._consumer.withdraw)
        self._consumer.close()

    def _serve(self) -> None:
        try:
            while not self._stopping.is_set():
                if not self._call(self._serve_once):
                    self._stopping.wait(RETRY_SECONDS)
        finally:
            self._server.stop()

    def _serve_once(self) -> None:
        for request in self._consumer.receive(1):
            try:
                reply = self._answer(request)
            except Exception as error:
                logger.exception("an explanation of %s failed", request.artifact)
                reply = Reply(request.id, ReplyStatus.ERROR, message=FAILED.format(error))
            if reply is not None:
                self._consumer.send_replies([(request.reply_to, reply)])

    def _answer(self, request: Request) -> Reply | None:
        """The reply to a request; None when the worker stops meanwhile."""
        queued = max(0.0, time.time() - request.sent)
        try:
            directory = self._directory(request.artifact)
        except NotFound as error:
            return Reply(request.id, ReplyStatus.MISSING, message=error.message)
        except FetchFailed:
            return Reply(request.id, ReplyStatus.UNAVAILABLE, message=AWAY)
        except DamagedArtifact as error:
            message = f"This model version cannot be loaded: {error}"
            return Reply(request.id, ReplyStatus.ERROR, message=message)
        end = min(request.deadline, time.time() + self._spec.max_seconds)
        for _ in range(MAX_ATTEMPTS):
            reply = self._run(request, directory, end)
            if reply is not None:
                return msgspec.structs.replace(reply, queue_seconds=queued)
            if self._stopping.is_set():
                return None
            logger.error("a process that explains died on %s", request.artifact)
        return Reply(request.id, ReplyStatus.UNAVAILABLE, message=DIED)

    def _directory(self, artifact: str) -> Path:
        if self._artifacts is None:  # made here: a cache on a disk that is full must not keep the worker down
            fetch = Storage(self._spec.storage_url).fetch
            self._artifacts = ArtifactCache(fetch, Path(self._spec.cache_dir), self._spec.disk_bytes)
        return self._artifacts.directory(artifact)

    def _run(self, request: Request, directory: Path, end: float) -> Reply | None:
        """The reply that a child computes until `end`, by the wall clock; None when it dies."""

        def is_over() -> bool:
            return self._stopping.is_set() or time.time() >= end

        if is_over():
            return Reply(request.id, ReplyStatus.EXPIRED)
        try:
            process = self._launch(is_over)
        except LaunchStopped:
            return Reply(request.id, ReplyStatus.EXPIRED)
        child = ChildProcess(
            process,
            {
                "model_dir": str(directory),
                "body": request.body.decode(),
                "memory_bytes": self._spec.memory_bytes,
                "media_limits": self._spec.media_limits,
            },
        )
        patience = 0.0
        try:
            reply = self._watch(child, request, is_over)
            patience = EXIT_SECONDS if reply is not None and reply.status is ReplyStatus.OK else 0.0
        finally:
            child.end(patience)
        return reply

    def _launch(self, is_over: Callable[[], bool]) -> LaunchedProcess:
        try:
            return self._server.launch(is_over)
        except OSError as error:
            logger.warning("no fork server: %s", error)
            return SpawnedProcess((sys.executable, "-m", CHILD))

    def _watch(self, child: ChildProcess, request: Request, is_over: Callable[[], bool]) -> Reply | None:
        """The reply by a child's last message; None when it ends without one."""
        memory = MemoryWatch(child.pid, None)
        while (message := child.next_message(CHILD_POLL_SECONDS)) is not None:
            if message:
                return _reply_of(request, message)
            if is_over():
                return Reply(request.id, ReplyStatus.EXPIRED)
        return Reply(request.id, ReplyStatus.ERROR, message=OUT_OF_MEMORY) if memory.killed else None

    def _announce(self) -> None:
        spec = self._spec
        presence = PredictorPresence(spec.worker_id, self._instance_id, os.getpid(), DEVICE, spec.lane, [])
        self._call(lambda: self._consumer.announce(presence))

    def _call(self, call: Callable[[], None]) -> bool:
        """Call once; a failure of Redis is only logged, and False."""
        try:
            call()
        except REDIS_FAILURES as error:
            self._outage.failed(error)
            return False
        self._outage.worked()
        return True


def _reply_of(request: Request, message: Json) -> Reply:
    """The reply that the last message of a child means."""
    match message["type"]:
        case "done":
            text, seconds = message["explanation"].encode(), message["seconds"]
            return Reply(request.id, ReplyStatus.OK, compute_seconds=seconds, batch=1, predictions=text)
        case "invalid":
            problems = [Problem(*problem) for problem in message["problems"]]
            return Reply(request.id, ReplyStatus.INVALID, message=message["message"], problems=problems)
    text = FAILED.format(message.get("message", ""))
    is_too_large = message.get("code") == "out_of_memory"
    return Reply(request.id, ReplyStatus.ERROR, message=OUT_OF_MEMORY if is_too_large else text)
