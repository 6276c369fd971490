"""Random views of a clip for training, of which none changes what is to be seen."""

from dataclasses import dataclass

import numpy as np

from app.arrays import Array, Floats, Ints


@dataclass(frozen=True)
class ClipAugmentation:
    """How far a view may differ from its clip; 0 or False: not at all."""

    time: float = 0.2  # largest share of the clip that is left out at its ends
    shift: float = 0.1  # of the width and of the height, either way
    scale: float = 0.15  # of the size, either way
    stretch: float = 0.08  # of the height alone, either way
    contrast: float = 0.2  # of the deviation from black, either way
    brightness: float = 16.0  # of 255, either way
    erase: float = 0.4  # largest side of an erased rectangle, of the frame's
    erase_share: float = 0.3  # of the clips, in which a rectangle is erased
    mirror: bool = False  # half of the clips


def vary_selection(
    count: int, frames: int, augmentation: ClipAugmentation, rng: "np.random.Generator"
) -> Ints:
    """Numbers of at most `frames` of `count` frames, rising, spread over a random part of the clip."""
    picks = min(count, frames)
    span = max(count * (1 - augmentation.time * rng.random()), float(picks))
    start = (count - span) * rng.random()
    offsets = (np.arange(picks) + rng.random()) * span / picks
    return np.minimum((start + offsets).astype(np.int64), count - 1)


def vary_pixels(frames: Array, augmentation: ClipAugmentation, rng: "np.random.Generator") -> Array:
    """Frames (time, channels, height, width) uint8, all changed in the same way."""
    height, width = frames.shape[2:]
    zoom = 1 + augmentation.scale * rng.uniform(-1, 1)
    rows = resampling(
        height, zoom * (1 + augmentation.stretch * rng.uniform(-1, 1)), _shift(augmentation, rng)
    )
    columns = resampling(width, zoom, _shift(augmentation, rng))
    if augmentation.mirror and rng.random() < 0.5:
        columns = columns[::-1]
    varied = rows @ frames.astype(np.float32) @ columns.T  # (time, channels, height, width)
    varied *= 1 + augmentation.contrast * rng.uniform(-1, 1)
    varied += augmentation.brightness * rng.uniform(-1, 1)
    if rng.random() < augmentation.erase_share:
        _erase(varied, augmentation.erase, rng)
    pixels: Array = np.clip(np.rint(varied), 0, 255).astype(np.uint8)
    return pixels


def _shift(augmentation: ClipAugmentation, rng: "np.random.Generator") -> float:
    return augmentation.shift * rng.uniform(-1, 1)


def resampling(size: int, zoom: float, shift: float) -> Floats:
    """The matrix (size, size) that zooms and shifts a line of pixels by linear interpolation.

    The shift is in parts of the size. What comes from outside is as the pixel at the edge.
    """
    center = (size - 1) / 2
    source = (np.arange(size) - center) / zoom + center - shift * size
    source = np.clip(source, 0, size - 1)
    left = np.minimum(source.astype(np.int64), max(size - 2, 0))
    share = source - left
    matrix = np.zeros((size, size), np.float32)
    matrix[np.arange(size), left] += 1 - share
    matrix[np.arange(size), np.minimum(left + 1, size - 1)] += share
    return matrix


def _erase(frames: Floats, largest: float, rng: "np.random.Generator") -> None:
    """Fill a rectangle of all frames with a random gray, in place (Zhong et al. 2020, "Random erasing")."""
    sides = [max(1, round(size * largest * rng.uniform(0.3, 1))) for size in frames.shape[2:]]
    top, left = (
        int(rng.integers(size - side + 1)) for size, side in zip(frames.shape[2:], sides, strict=True)
    )
    frames[:, :, top : top + sides[0], left : left + sides[1]] = rng.uniform(0, 255)
