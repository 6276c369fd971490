"""Trainings of a task with its default options, in this process."""

from pathlib import Path
from typing import Any

import numpy as np

from app.hyperparameters.options import NETWORK, TRAINING
from app.ingest.readers import Mapping, open_source
from app.tasks import TASKS
from app.tasks.source import Faults
from workers.training.run import train
from workers.training.stages import TrainingResult, TrainSpec


def train_with_defaults(task_name: str, archive: Path, directory: Path, threads: int = 1) -> TrainingResult:
    """The result of a job that sets nothing, on the CPU; its files are in `directory`."""
    task, faults = TASKS[task_name], Faults()
    reading = task.read(open_source(archive, "zip", Mapping.checked({}, ()), faults), faults)
    faults.check()
    arrays: dict[str, Any] = reading.arrays
    np.savez(directory / "arrays.npz", **arrays)
    options = task.options()
    defaults = task.defaults(reading.summary, options)
    spec = TrainSpec(
        task.name,
        NETWORK | defaults.network,
        TRAINING | defaults.training | {"device": "cpu"},
        options.model_dump(mode="json"),
    )
    return train(
        spec, directory, directory / "out", on=lambda _: None, should_stop=lambda: False, threads=threads
    )
