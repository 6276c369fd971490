"""The child's side of a supervised process: one JSON request on stdin, JSON messages a line on stdout.

However the work ends, a last message says so. SIGTERM asks the child to stop at the next step. When the
supervisor dies, the child is killed, since nobody would store what it makes.
"""

import json
import logging
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

from app.errors import AppError
from app.infrastructure import logs
from app.infrastructure.disk import is_disk_full
from app.media.decoder import limit_decoding
from app.media.limits import MediaLimits
from app.memory import become_expendable, limit_growth
from app.typedefs import Json
from workers.process.lifeline import Lifeline

# Arguments: the request, what sends a message, what says whether to stop. Result: the last message.
WorkFunction = Callable[[Json, Callable[[Json], None], Callable[[], bool]], Json]

log = logging.getLogger(__name__)

ALLOCATION_FAILED = ("can't allocate memory", "Cannot allocate memory", "bad_alloc", "can't start new thread")
REPORT_SECONDS = 0.25  # between two reports of progress
NICENESS = 5  # more than the worker's: where cores are short, predictions come first
GRACE_SECONDS = 30.0  # from the request to stop to the forced end; a supervisor that lives is quicker


class MessageWriter:
    """Sends messages to the supervisor, one JSON object a line, never interleaved."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._lock = threading.Lock()

    def send(self, message: Json) -> None:
        """Send one message."""
        with self._lock:
            self._file.write(json.dumps(message, allow_nan=False) + "\n")
            self._file.flush()


def log_message(message: Json) -> None:
    """Log a message for the supervisor in a sentence, as far as it is of interest to the job's owner."""
    match message:
        case {"type": "epoch", "epoch": epoch}:
            names = ("train_loss", "valid_loss", "learning_rate", "seconds")
            figures = [f"{name} {message[name]:.4g}" for name in names if message.get(name) is not None]
            log.info("%s", ", ".join([f"epoch {epoch}", *figures]))
        case {"type": "checkpoint", "step": step}:
            log.info("checkpoint at step %d", step)
        case {"type": "warning", "message": text}:
            log.warning("%s", text)
        case {"type": "log", "message": text}:
            log.info("%s", text)
        case {"type": "done" | "stopped" as how}:
            log.info("the work is %s", how)
        case {"type": "failed", "message": text}:
            log.error("the work has failed: %s", text)


def failed_message(code: str, message: str) -> Json:
    """Return the last message of a child whose work failed."""
    return {"type": "failed", "code": code, "message": message}


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that an allocation failed; torch has no type of its own for a CPU's."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in ALLOCATION_FAILED)


def explain_failure(error: BaseException) -> Json:
    """Return the last message for an error of any kind of work, in words for whoever submitted the job."""
    match error:
        case AppError():
            return failed_message(error.code.replace("-", "_"), error.message)
        case _ if is_disk_full(error):
            return failed_message("no_space", "The worker's disk is full")
        case _ if is_out_of_memory(error):
            return failed_message("out_of_memory", "The job needs more memory than the worker has")
        case _:
            return failed_message("internal", f"{type(error).__name__}: {error}")


def run_work(work: WorkFunction, explain: Callable[[BaseException], Json] = explain_failure) -> None:
    """Read the request from stdin, do the work, and send its last message, or `explain`'s for an error."""
    writer = MessageWriter(os.fdopen(os.dup(sys.stdout.fileno()), "w"))
    # Whatever a library prints goes to stderr: it must not look like a message.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    logs.configure_process()
    request = json.loads(sys.stdin.readline())
    become_expendable()
    os.nice(NICENESS)
    stop = threading.Event()
    Lifeline(stop.set, grace_seconds=GRACE_SECONDS).start(request.get("parent"))
    if (memory_bytes := request.get("memory_bytes")) is not None:
        limit_growth(memory_bytes)  # of the work: the thread before has its stack already
    limit_decoding(MediaLimits(**request.get("media_limits", {})))

    def send(message: Json) -> None:
        with suppress(OSError):
            log_message(message)
        writer.send(message)

    try:
        log.info("the work begins")
        last = work(request, send, stop.is_set)
    except Exception as error:
        with suppress(OSError):  # a disk that has no room for the job may have none for the log
            log.exception("the work failed")
        last = explain(error)
    send(last)
