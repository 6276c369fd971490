"""Random views of a clip for training: faster or slower, as of another voice, and with parts hidden."""

from dataclasses import dataclass

import numpy as np

from app.arrays import Array, Floats, Ints

MASK_FRAMES = 100  # one mask in time for each so many frames
EXCHANGE_SHARE = 0.5  # of views whose pauses are exchanged
MIN_PAUSE_FRAMES = 8  # in which nobody speaks, or they are part of a word
LEVEL_FRAMES = 9  # that loudness is averaged over
QUIET_SHARE = 0.3  # of the way from quiet to loud
FREQUENCY_MASKS = 2


@dataclass(frozen=True)
class Augmentation:
    """How far views may differ from the clip; shares of 1."""

    speed: float  # of time, Ko et al. (2015), "Audio augmentation for speech recognition"
    warp: float  # of frequency, Jaitly & Hinton (2013), "Vocal tract length perturbation"
    masking: float  # of frames and of bands that are hidden, Park et al. (2019), "SpecAugment"
    pauses: bool  # exchange their lengths, so that silence does not tell which words begin or end a text

    def view(self, frames: Floats, min_frames: int, rng: "np.random.Generator") -> Floats:
        """A random view of normalized frames (time, bins), with at least `min_frames` of them."""
        if self.pauses and rng.random() < EXCHANGE_SHARE:
            frames = exchange_pauses(frames, rng)
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


def exchange_pauses(frames: Floats, rng: "np.random.Generator") -> Floats:
    """Frames (time, bins) of the same number whose pauses have each the length of another one of them."""
    starts, ends = find_pauses(frames)
    lengths = rng.permutation(ends - starts)
    parts, last = [], 0
    for start, end, length in zip(starts.tolist(), ends.tolist(), lengths.tolist(), strict=True):
        stretched = np.linspace(start, end - 1, length).round().astype(np.int64)
        parts += [np.arange(last, start), stretched]
        last = end
    exchanged: Floats = frames[np.concatenate([*parts, np.arange(last, len(frames))])]
    return exchanged


def find_pauses(frames: Floats) -> tuple[Ints, Ints]:
    """The first frame of each pause (pauses,) in frames (time, bins), and the one behind it."""
    loudness = np.pad(frames.mean(axis=1), LEVEL_FRAMES // 2, "edge")
    level = np.convolve(loudness, np.full(LEVEL_FRAMES, 1 / LEVEL_FRAMES), "valid")  # (time,)
    quiet, loud = np.percentile(level, [10, 90])
    is_quiet = level < quiet + QUIET_SHARE * (loud - quiet)
    edges = np.flatnonzero(np.diff(is_quiet, prepend=False, append=False))
    starts, ends = edges[::2], edges[1::2]
    long = ends - starts >= MIN_PAUSE_FRAMES
    return starts[long], ends[long]


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
