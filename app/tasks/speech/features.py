"""The normalization of log-mel energies, and how many steps a network has for them."""

import math

import numpy as np

from app.arrays import Array, Floats
from app.typedefs import Json

MIN_DEVIATION = 1e-3
MAX_NORMALIZED = 6.0


class FeatureMoments:
    """Mean and deviation of each bin over many clips, added one by one."""

    def __init__(self, bins: int) -> None:
        self._count = 0
        self._sum, self._squares = np.zeros(bins), np.zeros(bins)

    def add(self, frames: Array) -> None:
        """Add the frames (time, bins) of a clip."""
        self._count += len(frames)
        self._sum += frames.sum(axis=0, dtype=np.float64)
        self._squares += np.square(frames, dtype=np.float64).sum(axis=0)

    def to_json(self) -> Json:
        """The mean and the deviation, as JSON."""
        mean = self._sum / max(self._count, 1)
        variance = self._squares / max(self._count, 1) - mean**2
        deviation = np.sqrt(np.maximum(variance, MIN_DEVIATION**2))
        return {"mean": mean.round(5).tolist(), "scale": deviation.round(5).tolist()}


def normalize(frames: Array, moments: Json, *, by_clip: bool) -> Floats:
    """Frames (time, bins) with mean 0 and deviation 1 over the training part.

    With `by_clip` the mean of the clip itself is removed instead, and with it most of what microphone and
    room add to every frame (cepstral mean normalization: Atal 1974).
    """
    mean = frames.mean(axis=0, dtype=np.float64) if by_clip else np.array(moments["mean"])
    scaled = (frames - mean) / np.array(moments["scale"])
    limited: Floats = np.clip(scaled, -MAX_NORMALIZED, MAX_NORMALIZED).astype(np.float32)
    return limited


def steps_of(frames: int, stride: int) -> int:
    """Steps of the network for so many frames."""
    return math.ceil(frames / stride)
