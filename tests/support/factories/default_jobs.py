"""Trainings of a task with its default options, in this process."""

from pathlib import Path
from typing import Any

import numpy as np

from app.hyperparameters.options import NETWORK, TRAINING
from app.ingest.readers import Mapping, open_source
from app.tasks import TASKS
from app.tasks.source import Faults
from app.typedefs import Json
from workers.training.run import train
from workers.training.stages import TrainingResult, TrainSpec


def train_with_defaults(
    task_name: str,
    file: Path,
    directory: Path,
    threads: int = 1,
    options: Json | None = None,
    **training: Any,
) -> TrainingResult:
    """The result of a job that sets nothing else, on the CPU; the file's name ends with its format.

    Its files are in `directory`.
    """
    task, faults = TASKS[task_name], Faults()
    reading = task.read(open_source(file, file.suffix[1:], Mapping.checked({}, ()), faults), faults)
    faults.check()
    np.savez(directory / "arrays.npz", allow_pickle=False, **reading.arrays)
    chosen = task.options.model_validate(options or {})
    defaults = task.defaults(reading.summary, chosen)
    spec = TrainSpec(
        task.name,
        NETWORK | defaults.network,
        TRAINING | defaults.training | {"device": "cpu"} | training,
        chosen.model_dump(mode="json"),
    )
    return train(
        spec, directory, directory / "out", on=lambda _: None, should_stop=lambda: False, threads=threads
    )
