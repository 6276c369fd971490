"""Predictor processes beside a Celery worker: started with it, restarted when they die, stopped with it."""

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar

import msgspec
from celery import bootsteps

from app.lanes import Inbox, Presence
from app.lanes.links import FAILURES
from workers.serving.spec import PredictorSpec

logger = logging.getLogger(__name__)

MODULES = {"cpu": "workers.serving.predictor", "cuda": "workers.serving.predictor_cuda"}
FIRST_DELAY, LAST_DELAY = 0.1, 10.0  # before a restart
STEADY_SECONDS = 10.0  # a process that lived this long did not die of how it was started
GRACE_SECONDS = 15.0
LOOK_SECONDS = 1.0  # between two looks at whether a process still says that it lives
AHEAD = 64  # versions, of those a dead process had in memory, that the next one loads at once


@dataclass(frozen=True)
class ServingConfig:
    """The predictors of one worker, one for each of `devices`: ("cpu", "cpu"), ("cuda:0",)."""

    redis_url: str
    storage_url: str
    cache_dir: str
    worker_id: str
    devices: tuple[str, ...] = ("cpu",)
    lane: str = "default"
    max_batch: int = 64
    memory_bytes: int = 1 << 30
    disk_bytes: int = 4 << 30

    def specs(self) -> list[PredictorSpec]:
        """What to tell each predictor; ids are the worker's with a number."""
        return [
            PredictorSpec(
                redis_url=self.redis_url,
                storage_url=self.storage_url,
                cache_dir=self.cache_dir,
                worker_id=f"{self.worker_id}:{number}",
                device=device,
                lane=self.lane,
                max_batch=self.max_batch,
                memory_bytes=self.memory_bytes,
                disk_bytes=self.disk_bytes,
            )
            for number, device in enumerate(self.devices)
        ]


class PredictorProcess:
    """One predictor, kept alive by a thread until `stop`."""

    def __init__(self, spec: PredictorSpec) -> None:
        self._spec = spec
        self._command = [sys.executable, "-m", MODULES[spec.device.partition(":")[0]]]
        self._inbox = Inbox(spec.redis_url, spec.lane, spec.worker_id)
        self._inbox_lock = threading.Lock()
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._known: list[str] = []  # versions it last said it has in memory
        self._changing = threading.Lock()  # of the process
        self._keeper = threading.Thread(target=self._keep, name=f"keeper-{spec.worker_id}", daemon=True)

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def start(self) -> None:
        """Start the process and its keeper."""
        self._keeper.start()

    def alive(self) -> bool:
        """Whether the process runs; between a death and the restart it does not."""
        return self.pid is not None

    def presence(self) -> Presence | None:
        """What the predictor last said about itself; None when it is silent or Redis is away."""
        try:
            with self._inbox_lock:
                return self._inbox.presence()
        except (*FAILURES, msgspec.MsgspecError):
            return None

    def loaded(self) -> list[str]:
        """Artifacts the predictor has in memory."""
        presence = self.presence()
        return presence.versions if presence is not None else []

    def ask(self) -> None:
        """Ask the process to finish what it has and end; it is not started again."""
        self._stopping.set()
        with self._changing:
            if self._process is not None:
                self._process.terminate()

    def stop(self) -> None:
        """The same, and return when it is gone; by force after some seconds."""
        self.ask()
        if self._keeper.ident is not None:
            self._keeper.join(GRACE_SECONDS)
        if self._keeper.is_alive() and self._process is not None:
            self._process.kill()
            self._keeper.join()
        with self._inbox_lock:
            self._inbox.close()

    def _keep(self) -> None:
        delay = FIRST_DELAY
        while (process := self._spawn()) is not None:
            begun = time.monotonic()
            status = self._watch(process)
            if process.stdin is not None:
                process.stdin.close()
            if self._stopping.is_set():
                return
            if time.monotonic() - begun > STEADY_SECONDS:
                delay = FIRST_DELAY
                self._tell(lambda: self._inbox.order(reversed(self._known[-AHEAD:])))
            logger.error("predictor %s ended with %s; again in %.1f s", self._spec.worker_id, status, delay)
            if delay > 1:  # say that nobody serves under this id, sooner than its presence expires
                self._tell(self._inbox.withdraw)
            self._stopping.wait(delay)
            delay = min(2 * delay, LAST_DELAY)

    def _watch(self, process: subprocess.Popen[bytes]) -> int:
        """The exit status; a process that is silent for too long, while Redis answers, is killed."""
        patience, heard = self._spec.start_seconds, time.monotonic()
        while True:
            with suppress(subprocess.TimeoutExpired):
                return process.wait(LOOK_SECONDS)
            try:
                with self._inbox_lock:
                    presence = self._inbox.presence()
            except (*FAILURES, msgspec.MsgspecError):  # nobody can be heard now
                heard = time.monotonic()
                continue
            if presence is not None and presence.pid == process.pid:
                self._known = presence.versions
                patience, heard = self._spec.silent_seconds, time.monotonic()
            elif time.monotonic() - heard > patience:
                logger.error("predictor %s is silent; killing it", self._spec.worker_id)
                process.kill()

    def _spawn(self) -> subprocess.Popen[bytes] | None:
        with self._changing:
            if self._stopping.is_set():
                return None
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, env=environment)  # noqa: S603
        process = self._process
        with suppress(BrokenPipeError):  # it died at once, which the keeper is about to see
            if process.stdin is not None:
                process.stdin.write(msgspec.json.encode(self._spec) + b"\n")
                process.stdin.flush()  # it stays open: its end tells the child that this process is gone
        return process

    def _tell(self, call: Callable[[], None]) -> None:
        try:
            with self._inbox_lock:
                call()
        except FAILURES as error:
            logger.warning("predictor %s: %s", self._spec.worker_id, error)


class PredictorStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Runs the predictors as long as the Celery worker runs; made for a configuration by `predictor_step`."""

    requires = ("celery.worker.components:Pool",)
    config: ClassVar[ServingConfig]
    predictors: ClassVar[list[PredictorProcess]]

    @classmethod
    def loaded(cls) -> list[str]:
        """Artifacts that at least one predictor has in memory; from any thread."""
        return sorted({artifact for predictor in list(cls.predictors) for artifact in predictor.loaded()})

    def start(self, _worker: object) -> None:
        """Start one process for each device."""
        self.predictors.extend(PredictorProcess(spec) for spec in self.config.specs())
        for predictor in self.predictors:
            predictor.start()

    def stop(self, _worker: object) -> None:
        """Stop them together; nothing is left when this returns."""
        for predictor in self.predictors:
            predictor.ask()
        while self.predictors:
            self.predictors.pop().stop()

    terminate = stop


def predictor_step(config: ServingConfig) -> type[PredictorStep]:
    """The step for `app.steps["worker"].add(…)`; one class, and so one set of predictors, for each call."""
    return type("ConfiguredPredictorStep", (PredictorStep,), {"config": config, "predictors": []})
