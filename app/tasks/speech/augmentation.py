"""Random views of a clip for training: faster or slower, as of another voice, and with parts hidden."""

from dataclasses import dataclass

import numpy as np

from app.tasks.arrays import Array, Floats

MASK_FRAMES = 100  # one mask in time for each so many frames
FREQUENCY_MASKS = 2


@dataclass(frozen=True)
class Augmentation:
    """How far views may differ from the clip; shares of 1."""

    speed: float  # of time, Ko et al. (2015), "Audio augmentation for speech recognition"
    warp: float  # of frequency, Jaitly & Hinton (2013), "Vocal tract length perturbation"
    masking: float  # of frames and of bands that are hidden, Park et al. (2019), "SpecAugment"

    def view(self, frames: Floats, min_frames: int, rng: "np.random.Generator") -> Floats:
        """A random view of normalized frames (time, bins), with at least `min_frames` of them."""
        speed, warp = 1 + rng.uniform(-1, 1) * self.speed, 1 + rng.uniform(-1, 1) * self.warp
        count = max(round(len(frames) / speed), min(min_frames, len(frames)), 1)
        varied = interpolate(frames, np.linspace(0, len(frames) - 1, count)) if self.speed else frames.copy()
        if self.warp:
            bins = frames.shape[1]
            positions = np.minimum(np.arange(bins) * warp, bins - 1.0)
            varied = interpolate(varied.T, positions).T
        if self.masking:
            hide(varied, self.masking, rng)
        return np.ascontiguousarray(varied)


def interpolate(rows: Floats, positions: Array) -> Floats:
    """Rows (n, width) at fractional positions (m,), as (m, width)."""
    left = positions.astype(np.int64)
    right = np.minimum(left + 1, len(rows) - 1)
    share = (positions - left).astype(np.float32)[:, None]
    between: Floats = rows[left] * (1 - share) + rows[right] * share
    return between


def hide(frames: Floats, share: float, rng: "np.random.Generator") -> None:
    """Set random spans of normalized frames (time, bins) to zero, about half `share` in time and in bands."""
    time, bins = frames.shape
    for _ in range(FREQUENCY_MASKS):
        width = int(rng.integers(0, max(1, round(share * bins)) + 1))
        start = int(rng.integers(0, max(1, bins - width + 1)))
        frames[:, start : start + width] = 0.0
    masks = -(-time // MASK_FRAMES)
    for _ in range(masks):
        width = int(rng.integers(0, max(1, round(share * time / masks)) + 1))
        start = int(rng.integers(0, max(1, time - width + 1)))
        frames[start : start + width] = 0.0
