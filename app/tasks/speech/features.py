"""Log-mel filterbank energies of PCM audio, by kaldi-native-fbank, and their normalization."""

import math
from importlib import import_module  # a web process that serves no speech never loads the library
from typing import Any

import numpy as np

from app.tasks.arrays import Array, Floats
from app.typedefs import Json

SHIFT_MS, WINDOW_MS = 10, 25  # from frame to frame, and what a frame covers
FRAMES_A_SECOND = 1_000 // SHIFT_MS
LOW_HERTZ = 20.0
MIN_LOG_ENERGY = 2.0  # of 16-bit samples; digital silence is -16 without it, far from all other audio
MIN_DEVIATION = 1e-3
MAX_NORMALIZED = 6.0


def frame_count(samples: int, rate: int) -> int:
    """Frames of so many samples; there is always one."""
    shift = rate * SHIFT_MS // 1_000
    return max(1, (samples + shift // 2) // shift)


def log_mel(samples: Array, rate: int, bins: int) -> Floats:
    """Log-mel energies (time, bins) of int16 samples, a frame every 10 ms (Povey window, no dither)."""
    library = import_module("kaldi_native_fbank")
    options = library.FbankOptions()
    options.frame_opts.samp_freq = rate
    options.frame_opts.frame_shift_ms, options.frame_opts.frame_length_ms = SHIFT_MS, WINDOW_MS
    options.frame_opts.dither = 0.0
    options.frame_opts.snip_edges = False
    options.mel_opts.num_bins = bins
    options.mel_opts.low_freq = LOW_HERTZ
    computer: Any = library.OnlineFbank(options)
    # In pieces: the library takes a list of Python's numbers, and other threads want their turn.
    for start in range(0, len(samples), rate):
        computer.accept_waveform(rate, samples[start : start + rate].tolist())
    missing = rate * WINDOW_MS // 1_000 - len(samples)
    if missing > 0:  # of a clip shorter than one window
        computer.accept_waveform(rate, [0] * missing)
    computer.input_finished()
    count = min(frame_count(len(samples), rate), computer.num_frames_ready)
    energies = np.empty((count, bins), np.float32)
    for index in range(count):
        energies[index] = computer.get_frame(index)
    return np.maximum(energies, MIN_LOG_ENERGY)


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
