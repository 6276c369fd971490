"""Which frames of a clip are read."""

import numpy as np
import numpy.typing as npt


def select_frames(count: int, frames: int, stride: int | None = None) -> npt.NDArray[np.int64]:
    """Numbers of at most `frames` of `count` frames, in rising order: evenly spread, or `stride` apart."""
    if stride is not None:
        return np.arange(0, count, stride)[:frames]
    if count <= frames:
        return np.arange(count)
    return ((np.arange(frames) + 0.5) * count / frames).astype(np.int64)
