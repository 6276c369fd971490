"""The training child: one job's training in a process of its own, owned by a supervisor."""

import logging
from collections.abc import Callable
from pathlib import Path

import torch

from app.typedefs import Json
from workers.process import child
from workers.process.child import failed_message
from workers.training.checkpointer import Checkpointer
from workers.training.device import DeviceMissing
from workers.training.loop import TrainingDiverged
from workers.training.run import train
from workers.training.stages import PREPARE, TrainSpec


def failure(error: BaseException) -> Json:
    """What a failed training means to the one who submitted it."""
    match error:
        case TrainingDiverged():
            return failed_message("diverged", str(error))
        case DeviceMissing():
            return failed_message("device_missing", str(error))
        case _ if isinstance(error, torch.OutOfMemoryError) or child.is_out_of_memory(error):
            needs = "The training needs more memory than the worker has"
            advice = "try a smaller batch_size, hidden_size or bptt_steps"
            return failed_message("out_of_memory", f"{needs}; {advice}")
        case _:
            return child.explain_failure(error)


def work(request: Json, on: Callable[[Json], None], should_stop: Callable[[], bool]) -> Json:
    """Train what the supervisor asks for."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    if request["resume"] is None:
        on({"type": "progress", "fraction": 0.0, "phase": PREPARE})
    outcome = train(
        TrainSpec(**request["spec"]),
        Path(request["data_dir"]),
        Path(request["out_dir"]),
        on=on,
        should_stop=should_stop,
        checkpointer=Checkpointer(Path(request["checkpoint_dir"]), request["checkpoint_seconds"], on),
        resume=None if request["resume"] is None else Path(request["resume"]),
        reported=tuple(request["last_epoch"]),
        threads=request["threads"],
    )
    if outcome.stopped:
        return {"type": "stopped"}
    result = {"metrics": outcome.metrics, "baseline": outcome.baseline, "parameters": outcome.parameters}
    return {"type": "done", **result}


def main() -> None:
    """Train what the request on stdin says."""
    child.run_work(work, failure)


if __name__ == "__main__":
    main()
