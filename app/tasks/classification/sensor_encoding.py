"""Readings as sequences that a network reads, by what their training part taught; and what examples weigh."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.tasks.classification.options import Options
from app.tasks.classification.reading import VALUES
from app.tasks.contract import Arrays, Floats
from app.tasks.shared.ragged import Ragged
from app.tasks.shared.splits import Rows
from app.typedefs import Json

SMALL = 1e-6  # a channel's deviation, below which it does not vary


@dataclass(frozen=True)
class Measured:
    """Readings as a network reads them."""

    readings: Ragged  # (steps, channels) float32
    cuts: int  # sequences of which steps were left out

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """(sequences,)."""
        return self.readings.lengths

    @property
    def width(self) -> int:
        """Channels."""
        return int(self.readings.values.shape[1])

    def gather(self, rows: npt.NDArray[np.int64]) -> tuple[Floats, npt.NDArray[np.int64]]:
        """Inputs (batch, time, channels) and lengths (batch,)."""
        return self.readings.padded(rows)


def learn_scale(arrays: Arrays, rows: Rows, options: Options, state: Json) -> Measured:
    """All readings on the scale of the training ones, which goes into the state."""
    readings = Ragged.from_arrays(arrays, VALUES)
    longest = options.longest(VALUES)
    seen = np.concatenate([readings[int(row)][:longest] for row in rows.train]).astype(np.float64)
    spread = seen.std(axis=0)
    state["mean"] = [round(float(value), 9) for value in seen.mean(axis=0)]
    state["scale"] = [round(float(value), 9) if value > SMALL else 1.0 for value in spread]
    found = [scaled(readings[row][:longest], state) for row in range(len(readings))]
    cuts = 0 if longest is None else int((readings.lengths > longest).sum())
    return Measured(Ragged.of(found, np.float32), cuts)


def scaled(readings: Floats, state: Json) -> Floats:
    """Readings (time, channels) with mean 0 and deviation 1 over the training part."""
    found = (readings - np.array(state["mean"])) / np.array(state["scale"])
    limited: Floats = np.clip(found, -1e6, 1e6).astype(np.float32)
    return limited


def weights_of(labels: npt.NDArray[np.int64], state: Json, options: Options) -> Floats:
    """How much an example of each label counts, (labels,); the mean over these examples is 1."""
    asked, names = options.class_weights, state["labels"]
    counts = np.maximum(np.bincount(labels, minlength=len(names)), 1)
    weights = np.ones(len(names))
    if isinstance(asked, dict):
        weights = np.array([asked.get(name, 1.0) for name in names])
    elif asked == "balanced":
        weights = 1.0 / counts
    usual: Floats = (weights / weights[labels].mean()).astype(np.float32)
    return usual
