"""Log-mel filterbank energies of PCM audio, by kaldi-native-fbank."""

from importlib import import_module  # a process that reads no audio never loads the library
from typing import Any

import numpy as np
import numpy.typing as npt

SHIFT_MS, WINDOW_MS = 10, 25  # from frame to frame, and what a frame covers
FRAMES_A_SECOND = 1_000 // SHIFT_MS
LOW_HERTZ = 20.0
MIN_LOG_ENERGY = 2.0  # of 16-bit samples; digital silence is -16 without it, far from all other audio


def frame_count(samples: int, rate: int) -> int:
    """Frames of so many samples; there is always one."""
    shift = rate * SHIFT_MS // 1_000
    return max(1, (samples + shift // 2) // shift)


def has_room(rate: int, bins: int) -> bool:
    """Whether each of so many mel bands covers a frequency of the Fourier transform; else `log_mel` fails.

    The bands are triangles of one width on the mel scale (O'Shaughnessy 1987) from 20 Hz to half the rate,
    and the transform of a window has as many points as the next power of two.
    """
    window = rate * WINDOW_MS // 1_000
    points = 1 << (window - 1).bit_length()
    frequencies = _mel(np.arange(points // 2) * rate / points)  # (points / 2,)
    edges = np.linspace(_mel(LOW_HERTZ), _mel(rate / 2), bins + 2)  # (bins + 2,)
    first = np.searchsorted(frequencies, edges[:-2], "right")
    return bool((frequencies[np.minimum(first, len(frequencies) - 1)] < edges[2:]).all())


def _mel(hertz: Any) -> Any:
    return 1127.0 * np.log1p(np.asarray(hertz) / 700.0)


def log_mel(samples: npt.NDArray[np.int16], rate: int, bins: int) -> npt.NDArray[np.float32]:
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
