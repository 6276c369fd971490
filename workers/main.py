"""The workers' composition root: `python -m workers.main --role train|serve`."""

import argparse
import logging
import os
import sys
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from celery import Celery, signals
from sqlalchemy import Engine

from app.database.engine import Sessions, make_engine, make_readers, make_sessions
from app.database.projects import ALL_PROJECTS
from app.identifiers import new_id
from app.infrastructure import logs
from app.infrastructure.broker import SERVE, TRAIN, Broker, make_celery, queue_of
from app.infrastructure.liveness import LivenessFile
from app.infrastructure.processes.managed import keep_files_private
from app.infrastructure.storage import Storage
from app.media.limits import MediaLimits
from app.services.jobs.devices import CPU, accepted
from app.services.jobs.dispatcher import Dispatcher
from app.services.maintenance.janitor import Janitor
from app.settings import Settings
from workers.jobs import celery_task
from workers.jobs.machine import ConfiguredDeviceMissing, worker_devices
from workers.jobs.registration import WorkerRegistration
from workers.jobs.supervisor import Supervisor, Timeouts
from workers.serving.processes import ServingConfig, predictor_step
from workers.sweeps.runner import SweepRunner
from workers.tracking.runs import RunStore
from workers.tracking.tracker import Tracker

MLFLOW, MLFLOW_RUNS = "mlflow", "workers.tracking.mlflow_runs"  # of the extra `tracking`
WORKER_ID = "RECURRA_WORKER_ID"  # environment variable through which pool children know their worker

log = logging.getLogger(__name__)

settings = Settings()
app: Celery = make_celery(settings.redis, settings.redis_prefix)


@cache
def _engine() -> Engine:
    """Return this process's engine, made on first use: connections must not be shared with a parent."""
    return make_engine(settings.database)


@cache
def _sessions() -> Sessions:
    return make_sessions(_engine(), ALL_PROJECTS)


@cache
def _supervisor() -> Supervisor:
    return Supervisor(
        sessions=_sessions(),
        storage=Storage(settings.storage),
        work_dir=settings.data_dir.resolve() / "work",
        owner=os.environ[WORKER_ID],
        timeouts=Timeouts(settings.lease_seconds, settings.stall_seconds, settings.checkpoint_seconds),
        devices=worker_devices(settings.device),
        stopping=celery_task.released.is_set,
        threads=settings.training_threads,
        memory_bytes=settings.training_memory_bytes,
        media_limits=MediaLimits(**settings.limits("media")),
        tracker=Tracker(_connect_tracker if _is_tracked() else None),
    )


def _connect_tracker() -> RunStore:
    """The runs of MLflow, whose client is imported by the tracker's thread and takes a while."""
    store: RunStore = import_module(MLFLOW_RUNS).MlflowRuns(settings.mlflow_uri)
    return store


def _is_tracked() -> bool:
    """Whether there is a tracking server to tell of trainings, and a client for it."""
    return bool(settings.mlflow_uri) and find_spec(MLFLOW) is not None


def _liveness(role: str, worker_id: str) -> LivenessFile:
    return LivenessFile(settings.data_dir, role, worker_id)


celery_task.register(app, lambda: _supervisor().run())


def _in_pool_child(**_: Any) -> None:
    celery_task.listen_for_release()


def _silence_pool(**_: Any) -> None:
    celery_task.silence_pool()


def _configure_logs(**_: Any) -> None:
    logs.configure_process(settings.log_level)


# At import, so that the pool's spawned children, which import this module, do the same.
signals.worker_process_init.connect(_in_pool_child)
signals.setup_logging.connect(_configure_logs)
signals.celeryd_after_setup.connect(_silence_pool)


def predictor_devices(devices: tuple[str, ...], predictors: int) -> tuple[str, ...]:
    """Return each predictor's device: one predictor a GPU, or `predictors` on the CPU."""
    return devices * predictors if devices == (CPU,) else devices


def train(worker_id: str) -> None:
    """Run a training worker until a signal stops it."""
    if settings.mlflow_uri and not _is_tracked():
        log.warning(
            "RECURRA_MLFLOW_URI is set, but trainings are not tracked: "
            "install the client with pip install 'recurra-server[tracking]'"
        )
    devices = worker_devices(settings.device)
    liveness = _liveness(TRAIN, worker_id)
    memory = settings.training_memory_bytes
    registration = WorkerRegistration(
        _sessions(), worker_id, TRAIN, ",".join(devices), list, liveness, memory
    )
    dispatcher = Dispatcher(_sessions(), Broker(settings.redis, settings.redis_prefix))
    storage, data_dir = Storage(settings.storage), settings.data_dir.resolve()
    janitor = Janitor(_sessions(), storage, data_dir, settings.cleanup_seconds)
    sweeps = SweepRunner(_sessions(), make_readers(_engine(), ALL_PROJECTS), storage, dispatcher.notify)

    def on_ready(**_: Any) -> None:
        for part in (registration, dispatcher, janitor, sweeps):
            part.start()

    signals.worker_ready.connect(on_ready, weak=False)
    signals.worker_shutting_down.connect(lambda **_: celery_task.release_children(), weak=False)

    try:
        queues = list(dict.fromkeys(queue_of(device) for device in accepted(devices)))
        _run(queues, pool="prefork", worker_id=worker_id)
    finally:
        for part in (sweeps, janitor, dispatcher, registration):
            part.stop()


def serve(worker_id: str) -> None:
    """Run a serving worker: predictor processes, started and stopped by a Celery worker."""
    config = ServingConfig(
        redis_url=settings.redis,
        storage_url=settings.storage,
        cache_dir=str(settings.data_dir.resolve() / "cache"),
        worker_id=worker_id,
        devices=predictor_devices(worker_devices(settings.device), settings.predictors),
        lane=settings.lane,
        max_batch=settings.max_batch,
        media_limits=settings.limits("media"),
    )
    step = predictor_step(config)
    app.steps["worker"].add(step)
    device = ",".join(dict.fromkeys(config.devices))
    liveness = _liveness(SERVE, worker_id)
    registration = WorkerRegistration(_sessions(), worker_id, SERVE, device, step.loaded_artifacts, liveness)
    signals.worker_ready.connect(lambda **_: registration.start(), weak=False)
    try:
        _run([SERVE], pool="solo", worker_id=worker_id)
    finally:
        registration.stop()


def _run(queues: list[str], pool: str, worker_id: str) -> None:
    os.environ[WORKER_ID] = worker_id
    command = [
        "worker",
        "--queues",
        ",".join(queues),
        "--pool",
        pool,
        "--concurrency",
        "1",
        "--hostname",
        f"{worker_id}@%h",
    ]
    options = ["--loglevel", settings.log_level, "--without-gossip", "--without-mingle"]
    app.worker_main(["--quiet", *command, *options])  # without the banner, which is no line of a log


def main() -> None:
    """Run the worker whose role the command line names."""
    parser = argparse.ArgumentParser(prog="python -m workers.main", description="Run one Recurra worker.")
    parser.add_argument("--role", choices=[TRAIN, SERVE], required=True)
    role = parser.parse_args().role
    logs.configure_process(settings.log_level)
    keep_files_private()
    celery_task.log_shutdown()
    try:
        {TRAIN: train, SERVE: serve}[role](new_id("worker"))
    except ConfiguredDeviceMissing as error:
        log.critical("%s", error)
        sys.exit(1)


if __name__ == "__main__":
    main()
