"""What a child process owes its supervisor: one JSON object a line, and a last one however it ends.

It is told what to do in one line of JSON on stdin and answers in lines of JSON on stdout. SIGTERM asks it to
stop at the next step; when the supervisor is gone it is killed, since nobody would keep what it makes.
"""

import json
import os
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

from app.errors import AppError
from app.infrastructure import logs
from app.infrastructure.disk import disk_full
from app.typedefs import Json
from workers.process.lifeline import Lifeline

Work = Callable[[Json, Callable[[Json], None], Callable[[], bool]], Json]

GRACE_SECONDS = 30.0  # from being asked to stop to being ended; the supervisor is quicker unless it is dead


class Line:
    """The way to the supervisor: one JSON object a line, written whole."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._lock = threading.Lock()

    def send(self, message: Json) -> None:
        """Say something."""
        with self._lock:
            self._file.write(json.dumps(message, allow_nan=False) + "\n")
            self._file.flush()


def failed(code: str, message: str) -> Json:
    """The last message of a child that could not do its work."""
    return {"type": "failed", "code": code, "message": message}


def failure(error: BaseException) -> Json:
    """What a failure of any kind of work means to the one who submitted it."""
    match error:
        case AppError():
            return failed(error.code.replace("-", "_"), error.message)
        case _ if disk_full(error):
            return failed("no_space", "The worker's disk is full")
        case MemoryError():
            return failed("out_of_memory", "The job needs more memory than the worker has")
        case _:
            return failed("internal", f"{type(error).__name__}: {error}")


def report(work: Work, explain: Callable[[BaseException], Json] = failure) -> None:
    """Do what stdin asks for: `work` gets it, a way to tell and whether to stop, and gives the last word."""
    line = Line(os.fdopen(os.dup(sys.stdout.fileno()), "w"))
    os.dup2(
        sys.stderr.fileno(), sys.stdout.fileno()
    )  # whatever a library prints must not look like a message
    logs.configure(os.environ.get("RECURRA_LOG_LEVEL", "INFO"))
    request = json.loads(sys.stdin.readline())
    stop = threading.Event()
    Lifeline(stop.set, grace=GRACE_SECONDS).start(request.get("parent"))
    try:
        last = work(request, line.send, stop.is_set)
    except Exception as error:  # noqa: BLE001 - the last frame of the process: everything becomes a message
        with suppress(OSError):  # a disk that has no room for the job may have none for the log
            traceback.print_exc()
        last = explain(error)
    line.send(last)
