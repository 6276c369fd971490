"""What Celery does here: it carries wake-ups to worker processes and runs the worker's process and pool.

The only task is the wake-up, and its message holds no work: it says that some job was queued, and the worker
that receives it claims the next job from the table. The job's row is the truth, so a message may be lost,
doubled or late. No result is stored and nothing is called remotely through Celery. In exchange Celery gives
the worker process: its start and warm shutdown, the connection to Redis with reconnects, and one pool child
that runs the supervisor and is replaced when it dies.
"""

import logging
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

from billiard.process import active_children
from celery import Celery
from celery.apps import worker as worker_program

from app.infrastructure import logs
from app.infrastructure.broker import WAKE_UP_TASK

# Sent to the pool children when the worker stops. Not SIGUSR1, which is the pool's own soft time limit.
RELEASE_SIGNAL = signal.SIGUSR2

log = logging.getLogger(__name__)

released = threading.Event()


def register(app: Celery, run: Callable[[], None]) -> None:
    """Register the wake-up task; `run` claims and runs the next job.

    The message names the job that was queued, for the log only. Which job is next is decided by the table: a
    job that was interrupted must not wait behind all that were submitted since.
    """

    def wake_up(job_id: str) -> None:
        log.info("woken up for %s", job_id)
        run()

    app.task(wake_up, name=WAKE_UP_TASK, bind=False)


def log_shutdown() -> None:
    """Have what Celery prints in its signal handlers written as lines of the log."""
    worker_program.safe_say = lambda message, *_: logs.write_line(message.strip(), worker_program.__name__)


def silence_pool() -> None:
    """Keep the pool's processes from logging in words before, or without, configuring their logs.

    Its tracker of semaphores, which only warns of those that a killed worker has left, never configures any.
    """
    os.environ.pop("_MP_FORK_LOGLEVEL_", None)
    filters = (os.environ.get("PYTHONWARNINGS"), "ignore::UserWarning:billiard.semaphore_tracker")
    os.environ["PYTHONWARNINGS"] = ",".join(filter(None, filters))


def listen_for_release() -> None:
    """Have `released` set when the worker stops; call this from a pool child's main thread."""

    def on_signal(_signum: int, _frame: FrameType | None) -> None:
        released.set()

    signal.signal(RELEASE_SIGNAL, on_signal)


def release_children() -> None:
    """Tell every pool child that the worker stops, so that its job goes back to the queue."""
    for child in active_children():
        with suppress(ProcessLookupError):
            os.kill(child.pid, RELEASE_SIGNAL)
