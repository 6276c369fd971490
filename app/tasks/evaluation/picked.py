"""Some examples of a data set: what tasks without windows share."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from app.arrays import Arrays, Ints
from app.errors import Problem
from app.tasks.contract import Instances
from app.tasks.evaluation.contract import TrainingData
from app.typedefs import Json

ALL_SCORES = "an evaluation reads the probabilities of all labels: leave it out"


class PickedInstances:
    """Some instances of a data set, each made when it is read."""

    def __init__(self, instances: Instances, rows: Ints) -> None:
        self._instances, self._rows = instances, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Any:
        return self._instances[int(self._rows[index])]


class PickedRows:
    """Rows (n,) of a data set as the examples of an evaluation, each a unit of its own."""

    def __init__(self, rows: Ints) -> None:
        self.rows = rows
        self.windows = [range(len(rows))]

    def units(self, examples: Sequence[int]) -> Ints:
        """See `EvaluationSet`."""
        return np.asarray(examples, np.int64)

    def identity(self, example: int) -> Json:
        """The number of the row in the data set."""
        return {"example": int(self.rows[example]), "window": None}


def without_windows(window: int) -> Arrays:
    """Raise `ValueError`: this task does not train anew for a window."""
    raise ValueError(f"there is nothing to train on before window {window}")


def check_scores(parameters: Any) -> list[Problem]:
    """A problem of parameters that cut off probabilities."""
    return [] if parameters.top_k is None else [Problem("/parameters/top_k", ALL_SCORES)]


def lacks(what: str) -> list[Problem]:
    """The problem of a data set without answers."""
    return [Problem("/dataset", f"{what}, so there is nothing to compare predictions with")]


def needed(training: TrainingData | None, baseline: str) -> TrainingData:
    """What a baseline learns from; raises `ValueError` without it, which a submitted evaluation has."""
    if training is None:
        raise ValueError(f"there is nothing to learn {baseline} from")
    return training
