"""Predictor processes beside a Celery worker: started with it, restarted when they die, stopped with it."""

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import msgspec
from celery import bootsteps

from app.infrastructure.artifacts import ArtifactReference
from app.infrastructure.redis_failures import REDIS_FAILURES
from app.lanes import PredictorPresence, RequestConsumer, explanation_lane
from app.typedefs import Json
from workers.serving.explainer import Explainer, ExplainerSpec
from workers.serving.spec import PredictorSpec

logger = logging.getLogger(__name__)

MODULES = {"cpu": "workers.serving.predictor", "cuda": "workers.serving.predictor_cuda"}
MIN_RESTART_SECONDS, MAX_RESTART_SECONDS = 0.1, 10.0  # before a restart, doubled while starts fail
HEALTHY_SECONDS = 10.0  # a process that lived this long did not fail to start
GRACE_SECONDS = 15.0  # between a request to stop and the forced end
CHECK_SECONDS = 1.0  # between two checks of a process's presence
MAX_PRELOADS = 64  # versions, of those a dead process had in memory, that the next one loads at once


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
    media_limits: Json = field(default_factory=dict)  # of what explanations decode

    def explainer(self) -> ExplainerSpec:
        """The configuration of what explains predictions beside the predictors."""
        return ExplainerSpec(
            redis_url=self.redis_url,
            storage_url=self.storage_url,
            cache_dir=self.cache_dir,
            worker_id=f"{self.worker_id}:explainer",
            lane=explanation_lane(self.lane),
            disk_bytes=self.disk_bytes,
            media_limits=self.media_limits,
        )

    def specs(self) -> list[PredictorSpec]:
        """The configuration of each predictor; its worker id is this one with a number."""
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
    """One predictor process, kept running by a thread until `stop`."""

    def __init__(self, spec: PredictorSpec) -> None:
        self._spec = spec
        self._command = [sys.executable, "-m", MODULES[spec.device.partition(":")[0]]]
        self._consumer = RequestConsumer(spec.redis_url, spec.lane, spec.worker_id)
        self._consumer_lock = threading.Lock()
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._last_loaded: list[str] = []  # versions in its memory, by its last presence
        self._process_lock = threading.Lock()
        self._keeper = threading.Thread(
            target=self._keep_running, name=f"keeper-{spec.worker_id}", daemon=True
        )

    @property
    def pid(self) -> int | None:
        """Id of the running process, if there is one."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def start(self) -> None:
        """Start the thread, which starts the process."""
        self._keeper.start()

    def alive(self) -> bool:
        """Whether the process runs; between a death and the restart it does not."""
        return self.pid is not None

    def read_presence(self) -> PredictorPresence | None:
        """What the predictor last announced; None when it is silent or Redis is unreachable."""
        try:
            with self._consumer_lock:
                return self._consumer.read_presence()
        except (*REDIS_FAILURES, msgspec.MsgspecError):
            return None

    def loaded_artifacts(self) -> list[str]:
        """Artifacts the predictor has in memory."""
        presence = self.read_presence()
        return presence.versions if presence is not None else []

    def request_stop(self) -> None:
        """Ask the process to finish its work and end; it is not started again."""
        self._stopping.set()
        with self._process_lock:
            if self._process is not None:
                self._process.terminate()

    def stop(self) -> None:
        """Stop the process and return when it is gone; it is killed if that takes too long."""
        self.request_stop()
        if self._keeper.ident is not None:
            self._keeper.join(GRACE_SECONDS)
        if self._keeper.is_alive() and self._process is not None:
            self._process.kill()
            self._keeper.join()
        with self._consumer_lock:
            self._consumer.close()

    def _keep_running(self) -> None:
        delay = MIN_RESTART_SECONDS
        while (process := self._spawn()) is not None:
            begun = time.monotonic()
            status = self._wait(process)
            if process.stdin is not None:
                process.stdin.close()
            if self._stopping.is_set():
                return
            if time.monotonic() - begun > HEALTHY_SECONDS:
                delay = MIN_RESTART_SECONDS
                preloads = reversed(self._last_loaded[-MAX_PRELOADS:])
                self._log_failure(partial(self._consumer.send_control, preloads))
            logger.error("predictor %s ended with %s; again in %.1f s", self._spec.worker_id, status, delay)
            if delay > 1:  # then it is gone for longer than its presence takes to expire
                self._log_failure(self._consumer.withdraw)
            self._stopping.wait(delay)
            delay = min(2 * delay, MAX_RESTART_SECONDS)

    def _wait(self, process: subprocess.Popen[bytes]) -> int:
        """Wait for the exit status; kills a process that is silent for too long while Redis answers."""
        max_silence, last_presence = self._spec.start_seconds, time.monotonic()
        while True:
            with suppress(subprocess.TimeoutExpired):
                return process.wait(CHECK_SECONDS)
            try:
                with self._consumer_lock:
                    presence = self._consumer.read_presence()
            except (*REDIS_FAILURES, msgspec.MsgspecError):  # no process could announce itself now
                last_presence = time.monotonic()
                continue
            if presence is not None and presence.pid == process.pid:
                self._last_loaded = presence.versions
                max_silence, last_presence = self._spec.silent_seconds, time.monotonic()
            elif time.monotonic() - last_presence > max_silence:
                logger.error("predictor %s is silent; killing it", self._spec.worker_id)
                process.kill()

    def _spawn(self) -> subprocess.Popen[bytes] | None:
        """Start a process, unless the predictor is being stopped."""
        with self._process_lock:
            if self._stopping.is_set():
                return None
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, env=environment)  # noqa: S603
        process = self._process
        with suppress(BrokenPipeError):  # it died at once, which `_wait` is about to notice
            if process.stdin is not None:
                process.stdin.write(msgspec.json.encode(self._spec) + b"\n")
                process.stdin.flush()  # stdin stays open: its end tells the child that this process is gone
        return process

    def _log_failure(self, call: Callable[[], None]) -> None:
        """Call once; a failure of Redis is only logged."""
        try:
            with self._consumer_lock:
                call()
        except REDIS_FAILURES as error:
            logger.warning("predictor %s: %s", self._spec.worker_id, error)


class PredictorStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Runs the predictors as long as the Celery worker runs; made for a configuration by `predictor_step`."""

    requires = ("celery.worker.components:Pool",)
    config: ClassVar[ServingConfig]
    predictors: ClassVar[list[PredictorProcess]]
    explainers: ClassVar[list[Explainer]]  # one, while the worker runs

    @classmethod
    def loaded_artifacts(cls) -> list[str]:
        """Prefixes of the artifacts that some predictor has in memory; may be called from any thread."""
        names = {name for predictor in list(cls.predictors) for name in predictor.loaded_artifacts()}
        return sorted({ArtifactReference.parse(name).prefix for name in names})

    def start(self, _worker: object) -> None:
        """Start one process for each device, and what explains predictions."""
        self.predictors.extend(PredictorProcess(spec) for spec in self.config.specs())
        self.explainers.append(Explainer(self.config.explainer()))
        for predictor in self.predictors:
            predictor.start()
        for explainer in self.explainers:
            explainer.start()

    def stop(self, _worker: object) -> None:
        """Stop all processes at the same time, and return when they are gone."""
        for predictor in self.predictors:
            predictor.request_stop()
        while self.explainers:
            self.explainers.pop().stop()
        while self.predictors:
            self.predictors.pop().stop()

    terminate = stop


def predictor_step(config: ServingConfig) -> type[PredictorStep]:
    """The step for `app.steps["worker"].add(…)`; one class, and so one set of predictors, for each call."""
    own = {"config": config, "predictors": [], "explainers": []}
    return type("ConfiguredPredictorStep", (PredictorStep,), own)
