"""The training child: one job's training in a process of its own, owned by a supervisor.

It is told what to do in one line of JSON on stdin and answers in lines of JSON on stdout. SIGTERM asks it to
stop at the next step; the end of stdin means that the supervisor is gone.
"""

import json
import logging
import os
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, TextIO

import torch

from app import logs
from app.errors import AppError
from workers.device import DeviceMissing
from workers.lifeline import Lifeline
from workers.trainer import TrainSpec, train
from workers.training import TrainingDiverged

Json = dict[str, Any]

GRACE_SECONDS = 4.0  # from being asked to stop to being ended; the supervisor is quicker unless it is dead


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


def failure(error: BaseException) -> Json:
    """What a failed training means to the one who submitted it."""
    match error:
        case TrainingDiverged():
            code, message = "diverged", str(error)
        case DeviceMissing():
            code, message = "device_missing", str(error)
        case torch.OutOfMemoryError() | MemoryError():
            code = "out_of_memory"
            message = (
                "The training needs more memory than the worker has; try a smaller batch_size or hidden_size"
            )
        case AppError():
            code, message = error.code.replace("-", "_"), error.message
        case OSError() if error.errno == 28:
            code, message = "no_space", "The worker's disk is full"
        case _:
            code, message = "internal", f"{type(error).__name__}: {error}"
    return {"type": "failed", "code": code, "message": message}


def main() -> None:
    """Train what the supervisor asks for."""
    line = Line(os.fdopen(os.dup(sys.stdout.fileno()), "w"))
    os.dup2(
        sys.stderr.fileno(), sys.stdout.fileno()
    )  # whatever a library prints must not look like a message
    logs.configure(os.environ.get("RECURRA_LOG_LEVEL", "INFO"))
    request = json.loads(sys.stdin.readline())
    stop = threading.Event()
    Lifeline(stop.set, grace=GRACE_SECONDS).start()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        outcome = train(
            TrainSpec(**request["spec"]),
            Path(request["data_dir"]),
            Path(request["out_dir"]),
            on=line.send,
            should_stop=stop.is_set,
        )
    except Exception as error:  # noqa: BLE001 - the last frame of the process: everything becomes a message
        traceback.print_exc()
        line.send(failure(error))
        return
    if outcome.stopped:
        line.send({"type": "stopped"})
        return
    result = {"metrics": outcome.metrics, "baseline": outcome.baseline, "parameters": outcome.parameters}
    line.send({"type": "done", **result})


if __name__ == "__main__":
    main()
