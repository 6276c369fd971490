"""The doorbell's task: look at the job it names."""

import logging
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

from billiard.process import active_children
from celery import Celery

from app.infrastructure.broker import TRAIN_JOB

# Tells the pool children that the worker stops. Not USR1, which is the pool's own soft time limit.
RELEASE = signal.SIGUSR2

log = logging.getLogger(__name__)

released = threading.Event()


def register(app: Celery, run: Callable[[], None]) -> None:
    """Give the application its one task.

    The message says which job was queued, and by that that one was. Whose turn it is the table says: a job
    that was interrupted must not wait behind all that were submitted since.
    """

    def train(job_id: str) -> None:
        log.info("rung for %s", job_id)
        run()

    app.task(train, name=TRAIN_JOB, bind=False)


def listen_for_release() -> None:
    """Note in a pool child's main thread when the worker stops: its job goes back to the queue."""

    def tell(_signum: int, _frame: FrameType | None) -> None:
        released.set()

    signal.signal(RELEASE, tell)


def release_children() -> None:
    """Tell every pool child that the worker stops."""
    for child in active_children():
        with suppress(ProcessLookupError):
            os.kill(child.pid, RELEASE)
