"""The workers' composition root: `python -m workers.main --role train|serve`."""

import argparse
import os
from functools import cache
from pathlib import Path
from typing import Any

from celery import Celery, signals
from sqlalchemy import Engine

from app.database.engine import Sessions, make_engine, make_readers, make_sessions
from app.identifiers import new_id
from app.infrastructure import logs
from app.infrastructure.broker import SERVE, TRAIN, Broker, make_celery
from app.infrastructure.storage import Storage
from app.services.jobs.dispatcher import Dispatcher
from app.services.maintenance.janitor import Janitor
from app.settings import Settings
from workers.jobs import celery_task
from workers.jobs.registration import Presence
from workers.jobs.supervisor import Patience, Supervisor
from workers.serving.processes import ServingConfig, predictor_step
from workers.sweeps.runner import Conductor

WORKER_ID = "RECURRA_WORKER_ID"  # how pool children know whose they are

settings = Settings()
app: Celery = make_celery(settings.redis, settings.redis_prefix)


@cache
def _engine() -> Engine:
    """Built in each process on first use: connections must not be shared with a parent."""
    return make_engine(settings.database)


@cache
def _sessions() -> Sessions:
    return make_sessions(_engine())


@cache
def _supervisor() -> Supervisor:
    return Supervisor(
        sessions=_sessions(),
        storage=Storage(settings.storage),
        work_dir=settings.data_dir.resolve() / "work",
        owner=os.environ[WORKER_ID],
        patience=Patience(settings.lease_seconds, settings.stall_seconds, settings.checkpoint_seconds),
        device=settings.device,
        stopping=celery_task.released.is_set,
        threads=settings.training_threads,
    )


celery_task.register(app, lambda: _supervisor().run())


def _in_pool_child(**_: Any) -> None:
    celery_task.listen_for_release()


def _configure_logs(**_: Any) -> None:
    logs.configure(settings.log_level)


# At import, so that the pool's spawned children, which import this module, do the same.
signals.worker_process_init.connect(_in_pool_child)
signals.setup_logging.connect(_configure_logs)


def devices(wanted: str, predictors: int, cards: Path = Path("/proc/driver/nvidia/gpus")) -> tuple[str, ...]:
    """Of each predictor: one for each GPU, or so many on the CPU; without torch, never imported here."""
    if wanted.startswith("cuda:"):
        return (wanted,)
    found = sorted(cards.glob("*")) if wanted != "cpu" else []
    return tuple(f"cuda:{number}" for number in range(len(found))) or ("cpu",) * predictors


def train(worker_id: str) -> None:
    """Run a training worker until it is told to stop."""
    presence = Presence(_sessions(), worker_id, TRAIN, devices(settings.device, 1)[0], loaded=list)
    dispatcher = Dispatcher(_sessions(), Broker(settings.redis, settings.redis_prefix))
    storage, data_dir = Storage(settings.storage), settings.data_dir.resolve()
    janitor = Janitor(_sessions(), storage, data_dir, settings.sweep_seconds)
    conductor = Conductor(_sessions(), make_readers(_engine()), storage, dispatcher.ring)

    def ready(**_: Any) -> None:
        for part in (presence, dispatcher, janitor, conductor):
            part.start()

    signals.worker_ready.connect(ready, weak=False)
    signals.worker_shutting_down.connect(lambda **_: celery_task.release_children(), weak=False)

    try:
        _run(TRAIN, pool="prefork", worker_id=worker_id)
    finally:
        for part in (conductor, janitor, dispatcher, presence):
            part.stop()


def serve(worker_id: str) -> None:
    """Run a serving worker: predictors beside a Celery worker that starts and stops them."""
    config = ServingConfig(
        redis_url=settings.redis,
        storage_url=settings.storage,
        cache_dir=str(settings.data_dir.resolve() / "cache"),
        worker_id=worker_id,
        devices=devices(settings.device, settings.predictors),
        lane=settings.lane,
        max_batch=settings.max_batch,
    )
    step = predictor_step(config)
    app.steps["worker"].add(step)
    presence = Presence(
        _sessions(), worker_id, SERVE, ",".join(dict.fromkeys(config.devices)), loaded=step.loaded
    )
    signals.worker_ready.connect(lambda **_: presence.start(), weak=False)
    try:
        _run(SERVE, pool="solo", worker_id=worker_id)
    finally:
        presence.stop()


def _run(queue: str, pool: str, worker_id: str) -> None:
    os.environ[WORKER_ID] = worker_id
    command = [
        "worker",
        "--queues",
        queue,
        "--pool",
        pool,
        "--concurrency",
        "1",
        "--hostname",
        f"{worker_id}@%h",
    ]
    app.worker_main([*command, "--loglevel", settings.log_level, "--without-gossip", "--without-mingle"])


def main() -> None:
    """Read the role and run it."""
    parser = argparse.ArgumentParser(prog="python -m workers.main", description="Run one Recurra worker.")
    parser.add_argument("--role", choices=[TRAIN, SERVE], required=True)
    role = parser.parse_args().role
    {TRAIN: train, SERVE: serve}[role](new_id("worker"))


if __name__ == "__main__":
    main()
