"""Sensor readings as inputs of a network, standardized over the training part."""

from dataclasses import dataclass

import numpy as np

from app.arrays import Arrays, Floats, Ints
from app.tasks.classification.options import ClassificationOptions
from app.tasks.classification.reading import VALUES
from app.tasks.shared.ragged import Ragged
from app.tasks.shared.splits import SplitRows
from app.typedefs import Json

MIN_DEVIATION = 1e-6  # a channel that deviates less does not vary
MAX_STANDARDIZED = 1e6
MIN_LONG_STEPS = 50  # of the usual sequence, for a network that begins with a memory as long


@dataclass(frozen=True)
class EncodedReadings:
    """All sequences of a data set as inputs of a network."""

    readings: Ragged  # (steps, channels) float32, standardized
    truncated: int  # how many sequences lost steps

    @property
    def lengths(self) -> Ints:
        """Steps of each sequence, (sequences,)."""
        return self.readings.lengths

    @property
    def width(self) -> int:
        """The number of channels."""
        return int(self.readings.values.shape[1])

    def network(self, train: Ints) -> Json:
        """The network's configuration for these training rows."""
        usual = int(np.median(self.lengths[train]))
        return {"memory_steps": usual} if usual >= MIN_LONG_STEPS else {}

    def gather(self, rows: Ints) -> tuple[Floats, Ints]:
        """Inputs (batch, time, channels) and lengths (batch,)."""
        return self.readings.padded(rows)


def encode_readings(
    arrays: Arrays, rows: SplitRows, options: ClassificationOptions, state: Json
) -> EncodedReadings:
    """All readings, standardized; puts mean and deviation of the training part into the state."""
    readings = Ragged.from_arrays(arrays, VALUES)
    max_steps = options.max_steps(VALUES)
    train = np.concatenate([readings[int(row)][:max_steps] for row in rows.train]).astype(np.float64)
    deviation = train.std(axis=0)
    state["mean"] = [round(float(value), 9) for value in train.mean(axis=0)]
    state["scale"] = [round(float(value), 9) if value > MIN_DEVIATION else 1.0 for value in deviation]
    standardized = [standardize(readings[row][:max_steps], state) for row in range(len(readings))]
    truncated = 0 if max_steps is None else int((readings.lengths > max_steps).sum())
    return EncodedReadings(Ragged.of(standardized, np.float32), truncated)


def standardize(readings: Floats, state: Json) -> Floats:
    """Readings (time, channels) on the scale on which the training part has mean 0 and deviation 1."""
    standardized = (readings - np.array(state["mean"])) / np.array(state["scale"])
    limited: Floats = np.clip(standardized, -MAX_STANDARDIZED, MAX_STANDARDIZED).astype(np.float32)
    return limited
